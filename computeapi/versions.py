# SPDX-License-Identifier: Apache-2.0
"""Microversions: the list, the negotiation, and the windows that rows, schemas and fields stand in.

When you add one, also change: the rows of ROUTES, the schemas (`Versioned`) and the view FIELDS it touches, the wire
tests of those nouns, and CHANGELOG.md. `tools/microversions --check` fails until docs/microversions.md is made anew.

Behaviour of the headers: nova/api/openstack/api_version_request.py and wsgi.py; OpenStack API-SIG microversion
specification. The version document advertises MIN and MAX: what is really implemented, never more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from computeapi import errors

# minor version → what it changed. Newest last, no gaps.
VERSIONS: dict[int, str] = {
    1: "The first version: what /v2 had, with strict validation.",
    2: "Keypairs have a type (ssh or x509); creating one answers 201, deleting one 204.",
    3: "Servers show hostname, launch_index, kernel_id, ramdisk_id, root_device_name, reservation_id and user_data; "
    "attached volumes show delete_on_termination.",
}


class Version(NamedTuple):
    """A microversion; compared like the tuple it is."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


MIN = Version(2, min(VERSIONS))
MAX = Version(2, max(VERSIONS))
LEGACY = Version(2, 0)  # the /v2 endpoint: no microversions; treated like 2.1 by every window
FOREVER = Version(99, 0)

# The Block Storage API counts its own: 3.0 to what its rows, schemas and views (computeapi/api/volume) know. Versions
# in between that are about things which are not served there (groups, clusters, backups, messages) change nothing.
# docs/volumes.md says what there is.
VOLUME_MIN = Version(3, 0)
VOLUME_MAX = Version(3, 67)

_PATTERN = re.compile(r"([1-9]\d*)\.([1-9]\d*|0)")


def parse(text: str) -> Version:
    """A version from its text, "2.31". Raises ValueError."""
    found = _PATTERN.fullmatch(text)
    if not found:
        raise ValueError(text)
    return Version(int(found[1]), int(found[2]))


def negotiate(openstack: str | None, legacy: str | None) -> Version:
    """The version a request asks for by `OpenStack-API-Version` or `X-OpenStack-Nova-API-Version`; 2.1 with neither.

    Raises BadRequest for what is no version and VersionNotAcceptable for one we do not have (Nova's sentences).
    """
    text = _requested("compute", openstack)
    if text is None and legacy is not None:
        text = legacy.strip().lower()
    return _chosen(text, MIN, MAX)


def negotiate_volume(openstack: str | None) -> Version:
    """The same for the Block Storage API (`OpenStack-API-Version: volume 3.27`); 3.0 without. Cinder's sentences."""
    return _chosen(_requested("volume", openstack), VOLUME_MIN, VOLUME_MAX)


def _chosen(text: str | None, low: Version, high: Version) -> Version:
    if text is None:
        return low
    if text == "latest":
        return high
    try:
        version = parse(text)
    except ValueError:
        raise errors.BadRequest(
            f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        ) from None
    if not low <= version <= high:
        raise errors.VersionNotAcceptable(
            f"Version {version} is not supported by the API. Minimum is {low} and maximum is {high}.",
            asked=str(version),
        )
    return version


def _requested(service: str, openstack: str | None) -> str | None:
    for part in (openstack or "").split(","):
        words = part.strip().split()
        if len(words) == 2 and words[0].lower() == service:
            return words[1].lower()
    return None


@dataclass(frozen=True, slots=True)
class Window:
    """From which version to which (both included) something is there."""

    since: Version = MIN
    until: Version = FOREVER

    def __contains__(self, version: Version) -> bool:
        return self.since <= max(version, MIN) <= self.until


def window(since: str | None = None, until: str | None = None) -> Window:
    """A Window from texts: `window("2.2")` is from 2.2 on, `window(until="2.35")` ends there."""
    return Window(parse(since) if since else MIN, parse(until) if until else FOREVER)


class Versioned:
    """A value that changes by version: a base, and what each later version makes of it.

    `Versioned(base, {"2.2": newer, "2.10": newest})`. Looked up by `at()`, resolved at import.
    """

    __slots__ = ("_steps",)

    def __init__(self, base: Any, changes: Mapping[str, Any] | None = None) -> None:
        steps = [(MIN, base)] + [(parse(text), value) for text, value in (changes or {}).items()]
        if [version for version, _ in steps] != sorted({version for version, _ in steps}):
            raise ValueError("versions must rise, each once")
        self._steps = steps

    def at(self, version: Version) -> Any:
        """The value in force at `version`."""
        found = self._steps[0][1]
        for since, value in self._steps:
            if version < since:
                break
            found = value
        return found

    def map(self, change: Any) -> Versioned:
        """The same windows with `change(value)` in each."""
        made = Versioned(None)
        made._steps = [(version, change(value)) for version, value in self._steps]
        return made

    def values(self) -> list[tuple[Version, Any]]:
        """Every (first version, value)."""
        return list(self._steps)
