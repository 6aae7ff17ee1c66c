# SPDX-License-Identifier: Apache-2.0
"""What is where: OpenStack's layout below /openstack, EC2's everywhere else (nova/api/metadata/base.py).

A folder's answer is the list of what is in it, a name a line; EC2's folders end with "/".
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, NamedTuple

from computeapi.compute import config_drive as drive
from computeapi.compute.config_drive import ConfigDriveData

TEXT, JSON = "text/plain; charset=UTF-8", "application/json"
PASSWORD = "password"  # noqa: S105  (a file's name)
#: EC2's versions, and what each has more than the one before.
_EC2: dict[str, tuple[str, ...]] = {
    "1.0": (
        *("ami-id", "ami-launch-index", "ami-manifest-path", "instance-id", "hostname", "local-ipv4"),
        *("reservation-id", "security-groups", "public-keys"),
    ),
    "2007-01-19": ("local-hostname", "public-hostname", "public-ipv4"),
    "2007-03-01": (),
    "2007-08-29": ("instance-type",),
    "2007-10-10": (),
    "2007-12-15": ("block-device-mapping",),
    "2008-02-01": ("placement",),
    "2008-09-01": ("instance-action",),
    "2009-04-04": (),
}
_NEWEST = {"ec2": list(_EC2)[-1], "openstack": drive.VERSIONS[-2]}


class Document(NamedTuple):
    """An answer."""

    body: bytes
    kind: str = TEXT


class Password(NamedTuple):
    """What is there is the server's encrypted password, to be read and written."""


def lookup(meta: ConfigDriveData, path: str) -> Document | Password | None:
    """What is at a path; None where there is nothing."""
    words = [word for word in posixpath.normpath("/" + path).split("/") if word]
    if words[:1] == ["openstack"]:
        return _openstack(meta, words[1:])
    return _ec2(meta, words[1:] if words[:1] == ["ec2"] else words)


def _openstack(meta: ConfigDriveData, words: list[str]) -> Document | Password | None:
    if not words:
        return _listing(drive.VERSIONS)
    if words[0] == "content":
        return None  # the files that came with the request are on the config drive alone
    version = _NEWEST["openstack"] if words[0] == drive.LATEST else words[0]
    if version not in drive.VERSIONS:
        return None
    found = dict(drive.of_version(meta, version))
    if len(words) == 1:
        return _listing(_names(found, version))
    if len(words) > 2:
        return None
    if words[1] == PASSWORD:
        return Password() if version >= drive.GRIZZLY else None
    body = found.get(words[1])
    return None if body is None else Document(body, JSON if words[1].endswith(".json") else TEXT)


def _names(found: Mapping[str, bytes], version: str) -> list[str]:
    """With the password at Nova's place: behind the meta data and the user data."""
    names = list(found)
    if version >= drive.GRIZZLY:
        names.insert(2 if "user_data" in found else 1, PASSWORD)
    return names


def _ec2(meta: ConfigDriveData, words: list[str]) -> Document | None:
    if not words:
        return _listing([*_EC2, drive.LATEST])
    version = _NEWEST["ec2"] if words[0] == drive.LATEST else words[0]
    if version not in _EC2:
        return None
    known = [name for since, names in _EC2.items() if since <= version for name in names]
    every = drive.ec2_meta_data(meta)
    found: Any = {"meta-data": {name: every[name] for name in known if name in every}}
    if meta.user_data is not None:
        found["user-data"] = meta.user_data
    for word in words[1:]:
        if not isinstance(found, Mapping) or word not in found or word == "_name":
            return None
        found = found[word]
    return Document(_shown(found))


def _shown(found: Any) -> bytes:
    """A value as itself, a list line by line, a folder as its names."""
    if isinstance(found, bytes):
        return found
    if isinstance(found, list):
        return _lines(found)
    if not isinstance(found, Mapping):
        return str(found).encode()
    return _lines([_entry(name, value) for name, value in found.items() if name != "_name"])


def _entry(name: str, value: Any) -> str:
    """A name in a folder's list. Keys are told as "0=their name"."""
    if isinstance(value, Mapping):
        return str(value.get("_name", f"{name}/"))
    return name


def _lines(words: list[str]) -> bytes:
    return "\n".join(words).encode()


def _listing(words: Any) -> Document:
    return Document(_lines(list(words)))
