# SPDX-License-Identifier: Apache-2.0
"""A real Cinder behind the seam: its v3 API, asked by keystoneauth1.

What a user asks for is asked with the user's own token, so what the caller may see and do is Cinder's to say. What a
host does for a guest is asked as the service user of [identity], which also goes along as the service token: without
it Cinder lets nobody end an attachment that a guest has (its bug 2004555).

With a connection of the database at hand Cinder is asked as well where there is no other moment: to let go, shortly,
and what fails is logged, not raised, since the guest is gone by then.
"""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import requests
from keystoneauth1.session import Session
from sqlalchemy import Connection

from computeapi import clock, errors
from computeapi.backends.service_user import BRIEFLY, ERRORS, ask, context_token, in_path
from computeapi.backends.volume.base import (
    Attachment,
    Connected,
    NewVolume,
    SnapshotInfo,
    VolumeBackend,
    VolumeInfo,
)
from computeapi.context import Context

LOG = logging.getLogger("computeapi.volumes")

VERSION = "volume 3.44"  # the attachments API with os-complete
TIMEOUT = 60  # seconds without a byte
INITIATOR = Path("/etc/iscsi/initiatorname.iscsi")

_ERRORS = ERRORS | {413: errors.QuotaExceeded}  # Cinder's over-limit


class CinderVolumes(VolumeBackend):
    """Volumes of the Cinder at `url` (with /v3). `mounts` is where shares of drivers like nfs are mounted."""

    def __init__(
        self,
        url: str,
        service: Callable[[], str],
        token: Callable[[Context], str] = context_token,
        mounts: str = "",
    ) -> None:
        self._url = url.rstrip("/")
        self._service, self._token, self._mounts = service, token, mounts
        self._session = Session(timeout=TIMEOUT)

    @property
    def is_shared(self) -> bool:
        """Every host reaches every volume: Cinder's drivers see to it."""
        return True

    # --- volumes ---

    def show(self, context: Context, volume_id: str) -> VolumeInfo:
        """One volume."""
        return _info(self._ask(context, "GET", f"/volumes/{_id(volume_id, 'Volume')}")["volume"])

    def list(self, context: Context, limit: int | None = None, offset: int = 0) -> Sequence[VolumeInfo]:
        """The project's volumes."""
        return [_info(each) for each in self._pages(context, "volumes", limit, offset)]

    def create(self, context: Context, new: NewVolume) -> VolumeInfo:
        """A new volume."""
        body = {
            "size": new.size_gb,
            "name": new.name,
            "description": new.description,
            "metadata": dict(new.metadata),
            "availability_zone": new.availability_zone,
            "volume_type": new.volume_type,
            "imageRef": new.image_id,
            "snapshot_id": new.snapshot_id,
            "source_volid": new.source_volume_id,
        }
        wanted = {name: value for name, value in body.items() if value is not None}
        return _info(self._ask(context, "POST", "/volumes", {"volume": wanted})["volume"])

    def delete(self, context: Context, volume_id: str) -> None:
        """Begin to delete it."""
        self._ask(context, "DELETE", f"/volumes/{_id(volume_id, 'Volume')}")

    # --- snapshots ---

    def show_snapshot(self, context: Context, snapshot_id: str) -> SnapshotInfo:
        """One snapshot."""
        return _snapshot(self._ask(context, "GET", f"/snapshots/{_id(snapshot_id, 'Snapshot')}")["snapshot"])

    def list_snapshots(self, context: Context, limit: int | None = None, offset: int = 0) -> Sequence[SnapshotInfo]:
        """The project's snapshots."""
        return [_snapshot(each) for each in self._pages(context, "snapshots", limit, offset)]

    def create_snapshot(
        self, context: Context, volume_id: str, name: str | None, description: str | None, *, force: bool = False
    ) -> SnapshotInfo:
        """Begin to make one."""
        body = {"volume_id": volume_id, "name": name, "description": description, "force": force}
        return _snapshot(self._ask(context, "POST", "/snapshots", {"snapshot": body})["snapshot"])

    def delete_snapshot(self, context: Context, snapshot_id: str) -> None:
        """Begin to delete it."""
        self._ask(context, "DELETE", f"/snapshots/{_id(snapshot_id, 'Snapshot')}")

    def assist_create(self, conn: Connection, context: Context, volume_id: str, snapshot_id: str) -> None:
        """Refused: no guest is made to write to another file."""
        raise errors.BadRequest(f"Invalid volume: Snapshots of volume {volume_id} can't be made with a guest's help.")

    def assist_delete(self, conn: Connection, context: Context, volume_id: str, snapshot_id: str) -> None:
        """Refused: there is none."""
        raise errors.NotFound(f"Snapshot {snapshot_id} could not be found.")

    # --- attachments ---

    def prepare(self, context: Context, volume_id: str, server_id: str) -> str:
        """A new attachment: the volume is reserved."""
        body = {"attachment": {"volume_uuid": volume_id, "instance_uuid": server_id}}
        return str(self._ask(context, "POST", "/attachments", body)["attachment"]["id"])

    def abandon(self, context: Context, attachment_id: str) -> None:
        """The attachment ends."""
        self._end(context, attachment_id)

    def reserve(
        self, conn: Connection, context: Context, volume_id: str, attachment_id: str, server_id: str, device: str | None
    ) -> None:
        """`prepare` did."""

    def connect(self, context: Context, volume_id: str, attachment_id: str, host: str) -> Connected:
        """Cinder gives the host the volume, and has it in use from here on. Raises BadRequest for unknown drivers."""
        path = f"/attachments/{attachment_id}"
        body = {"attachment": {"connector": connector(host)}}
        found = self._ask(context, "PUT", path, body, as_service=True)
        where = self._connected(found["attachment"]["connection_info"], volume_id)
        self._ask(context, "POST", f"{path}/action", {"os-complete": {}}, as_service=True)
        return where

    def _connected(self, info: Mapping[str, Any], volume_id: str) -> Connected:
        kind, name = info.get("driver_volume_type"), str(info.get("name") or f"volume-{volume_id}")
        read_only = info.get("access_mode") == "ro"
        if info.get("device_path"):
            return Connected(name, str(info["device_path"]), "raw", read_only)
        if info.get("export") and self._mounts:
            share = hashlib.md5(str(info["export"]).encode(), usedforsecurity=False).hexdigest()
            return Connected(name, f"{self._mounts}/{share}/{name}", str(info.get("format") or "raw"), read_only)
        if kind == "local":
            return Connected(name, "", str(info.get("format") or "raw"), read_only)
        raise errors.BadRequest(f"Volume {volume_id} can't be reached: this host knows no driver '{kind}'.")

    def attaching(self, conn: Connection, volume_id: str, attachment_id: str) -> None:
        """`connect` said so."""

    def attached(self, conn: Connection, volume_id: str, attachment_id: str) -> None:
        """`connect` said so."""

    def detaching(self, conn: Connection, context: Context, volume_id: str, attachment_id: str) -> None:
        """Cinder need not know before it is done."""

    def disconnect(self, context: Context, volume_id: str, attachment_id: str) -> None:
        """The attachment ends; the volume is available again."""
        self._end(context, attachment_id)

    def let_go(self, conn: Connection, volume_id: str, attachment_id: str, *, deletes: str | None = None) -> None:
        """The attachment ends where it did not yet; and the volume goes."""
        context = Context("", "", None, frozenset())
        try:
            if attachment_id:
                self._end(context, attachment_id, timeout=BRIEFLY)
            if deletes:
                self._ask(context, "DELETE", f"/volumes/{volume_id}", as_service=True, timeout=BRIEFLY)
        except errors.NotFound:
            pass
        except errors.Error as error:
            LOG.warning("volume %s was not let go (attachment %s): %s", volume_id, attachment_id, error.message)

    def _end(self, context: Context, attachment_id: str, timeout: float = TIMEOUT) -> None:
        with suppress(errors.NotFound):
            self._ask(context, "DELETE", f"/attachments/{attachment_id}", as_service=True, timeout=timeout)

    # --- volumes that are made together with a server ---

    @property
    def made_by_host(self) -> bool:
        """No: Cinder makes them."""
        return False

    def create_for_server(self, conn: Connection, context: Context, new: NewVolume, volume_id: str, host: str) -> str:
        """Refused: a host has no token of the user's, whose volume it would have to be. Raises BadRequest."""
        raise errors.BadRequest(
            "With this volume service a server boots from a volume that is there already; make the volume first."
        )

    def made(self, conn: Connection, volume_id: str) -> None:
        """Cinder knows."""

    def forget(self, conn: Connection, volume_id: str) -> None:
        """The volume goes."""
        self.let_go(conn, volume_id, "", deletes="forget")

    # --- HTTP ---

    def _pages(self, context: Context, noun: str, limit: int | None, offset: int) -> Sequence[Mapping[str, Any]]:
        """As many pages of a list as it takes."""
        found: list[Mapping[str, Any]] = []
        query: dict[str, str] = {"offset": str(offset)} if offset else {}
        while True:
            if limit is not None:
                query["limit"] = str(limit - len(found))
            page = self._ask(context, "GET", f"/{noun}/detail", params=query)
            found += page[noun]
            if f"{noun}_links" not in page or not page[noun] or (limit is not None and len(found) >= limit):
                return found
            query = {"marker": found[-1]["id"]}

    def _ask(
        self,
        context: Context,
        method: str,
        path: str,
        body: Any = None,
        *,
        as_service: bool = False,
        timeout: float = TIMEOUT,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """Cinder's answer as JSON. Raises the error that its status stands for."""
        token = self._service() if as_service else self._token(context)
        headers = {"OpenStack-API-Version": VERSION}
        if as_service:
            headers["X-Service-Token"] = token
        more: dict[str, Any] = {"json": body} if body is not None else {}
        if params:
            more["params"] = dict(params)
        more |= {"headers": headers, "timeout": timeout}
        answer = ask(self._session, self._url, context, token, method, path, service="volume", **more)
        if answer.status_code >= 400:
            raise _error(answer)
        return cast(Any, answer.json()) if answer.content else None


def connector(host: str) -> dict[str, Any]:
    """What Cinder's drivers want to know of a host that is to have a volume."""
    about: dict[str, Any] = {
        "host": host,
        "multipath": False,
        "platform": platform.machine(),
        "os_type": "linux",
        "do_local_attach": False,
    }
    with suppress(OSError):  # no iSCSI here
        for line in INITIATOR.read_text().splitlines():
            if line.startswith("InitiatorName="):
                about["initiator"] = line.partition("=")[2].strip()
    return about


def _id(text: str, word: str) -> str:
    """An id, which is put into a path. Raises NotFound for what can be none."""
    return in_path(text, f"{word} {text} could not be found.")


def _time(text: str | None) -> str:
    return clock.parse_filter(text) if text else clock.now()


def _info(volume: Mapping[str, Any]) -> VolumeInfo:
    return VolumeInfo(
        id=volume["id"],
        project_id=volume.get("os-vol-tenant-attr:tenant_id") or "",
        user_id=volume.get("user_id") or "",
        name=volume.get("name"),
        description=volume.get("description"),
        status=volume["status"],
        size_gb=volume["size"],
        availability_zone=volume.get("availability_zone"),
        bootable=volume.get("bootable") == "true",
        volume_type=volume.get("volume_type"),
        snapshot_id=volume.get("snapshot_id"),
        source_volume_id=volume.get("source_volid"),
        created_at=_time(volume.get("created_at")),
        metadata=volume.get("metadata") or {},
        image_properties=volume.get("volume_image_metadata") or {},
        image_id=(volume.get("volume_image_metadata") or {}).get("image_id"),
        attachments=tuple(
            Attachment(each["attachment_id"], each["server_id"], each.get("device"))
            for each in volume.get("attachments", [])
            if each.get("server_id")
        ),
    )


def _snapshot(snapshot: Mapping[str, Any]) -> SnapshotInfo:
    return SnapshotInfo(
        id=snapshot["id"],
        volume_id=snapshot["volume_id"],
        name=snapshot.get("name"),
        description=snapshot.get("description"),
        status=snapshot["status"],
        size_gb=snapshot["size"],
        created_at=_time(snapshot.get("created_at")),
    )


def _error(answer: requests.Response) -> errors.Error:
    kind = _ERRORS.get(answer.status_code)
    if kind is None:
        return errors.Unavailable("The volume service failed; try again later.")
    try:
        (fault,) = answer.json().values()
        message = fault["message"]
    except (ValueError, AttributeError, TypeError, KeyError):
        message = None
    return kind(message if isinstance(message, str) else None)
