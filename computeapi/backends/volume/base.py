# SPDX-License-Identifier: Apache-2.0
"""The seam to volumes: embedded (files in the hosts' pools, our own Block Storage v3 over our tables) or a real Cinder.

`load()` in this package picks by the settings.

The life of an attachment, and who calls what:

    API      prepare()                  outside of any transaction: Cinder makes an attachment ("reserved")
             reserve(conn)              in the API's transaction, with the server's block device and its work
             abandon()                  where that transaction failed
    host     connect()                  where the host finds the volume
             attaching(conn)            in the transaction that writes that down
             attached(conn)             in the transaction that lands the work: "in-use"
    API      detaching(conn)            in the transaction that begins a detach
    host     disconnect(), let_go(conn) the guest has let go: "available" again

With `conn` the embedded service does its part in that transaction, so that nothing is half done; Cinder is asked in the
others. Each may be called again after a crash.

What a migration must know: a server's block_devices rows name its volumes (destination_type "volume"). Unless
`is_shared`, a volume's file is on one host (VolumeInfo.host), and the scheduler lets the server go nowhere else. Where
it may go, `connect` there says where that host finds the volume, which is written to the row (connection_json) before
the guest is defined there; a live migration leaves the file where it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from computeapi import errors
from computeapi.context import Context


@dataclass(frozen=True, slots=True)
class Attachment:
    """A server has the volume, or is about to. `device` is the guest's name for it where known: /dev/vdb."""

    id: str
    server_id: str
    device: str | None


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """A volume as the Compute API needs it. Sizes in GiB; `created_at` as stored text."""

    id: str
    project_id: str
    user_id: str
    name: str | None
    description: str | None
    status: str  # Cinder's: creating | available | reserved | attaching | in-use | detaching | error | …
    size_gb: int
    availability_zone: str | None
    bootable: bool
    volume_type: str | None
    snapshot_id: str | None
    source_volume_id: str | None
    created_at: str
    metadata: dict[str, str] = field(default_factory=dict)
    image_properties: dict[str, str] = field(default_factory=dict)  # of the image that it was made from
    image_id: str | None = None
    attachments: tuple[Attachment, ...] = ()
    host: str | None = None  # the only host whose guests can have it; None: any's
    message: str | None = None

    def check_available(self) -> None:
        """Raise BadRequest unless a server may get it."""
        if self.status != "available":
            raise errors.BadRequest(
                f"Invalid volume: volume '{self.id}' status must be 'available'. Currently in '{self.status}'"
            )


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A volume's snapshot as the Compute API needs it."""

    id: str
    volume_id: str
    name: str | None
    description: str | None
    status: str
    size_gb: int
    created_at: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class NewVolume:
    """A volume to be. One source at most; blank without."""

    size_gb: int | None  # None: the source's size
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    volume_type: str | None = None
    image_id: str | None = None
    snapshot_id: str | None = None
    source_volume_id: str | None = None
    host: str | None = None  # on this one; a hint
    image_properties: Mapping[str, str] = field(
        default_factory=dict
    )  # what is kept of the image: volume_image_metadata


@dataclass(frozen=True, slots=True)
class Connected:
    """Where the host finds a volume: the name of a file in its pools, or a path."""

    volume: str
    path: str = ""
    format: str = "qcow2"
    read_only: bool = False


class VolumeBackend(ABC):
    """Volumes as the caller's context may see them.

    Raises errors.NotFound, BadRequest (a status that forbids it), Forbidden, QuotaExceeded, and Unavailable where the
    service is away.
    """

    @abstractmethod
    def show(self, context: Context, volume_id: str) -> VolumeInfo:
        """One volume."""

    @abstractmethod
    def list(self, context: Context, limit: int | None = None, offset: int = 0) -> Sequence[VolumeInfo]:
        """The project's volumes, newest first."""

    @abstractmethod
    def create(self, context: Context, new: NewVolume) -> VolumeInfo:
        """A new volume, which is being made."""

    @abstractmethod
    def delete(self, context: Context, volume_id: str) -> None:
        """Begin to delete a volume that nobody has."""

    @abstractmethod
    def show_snapshot(self, context: Context, snapshot_id: str) -> SnapshotInfo:
        """One snapshot."""

    @abstractmethod
    def list_snapshots(self, context: Context, limit: int | None = None, offset: int = 0) -> Sequence[SnapshotInfo]:
        """The project's snapshots, newest first."""

    @abstractmethod
    def create_snapshot(
        self, context: Context, volume_id: str, name: str | None, description: str | None, *, force: bool = False
    ) -> SnapshotInfo:
        """A new snapshot, which is being made. `force`: also of a volume that a guest has."""

    @abstractmethod
    def delete_snapshot(self, context: Context, snapshot_id: str) -> None:
        """Begin to delete a snapshot."""

    @abstractmethod
    def assist_create(self, conn: Connection, context: Context, volume_id: str, snapshot_id: str) -> None:
        """Begin a snapshot of that id, of a volume that a guest has. Raises BadRequest where that can't be."""

    @abstractmethod
    def assist_delete(self, conn: Connection, context: Context, volume_id: str, snapshot_id: str) -> None:
        """Begin to delete one, or what is still being made of it. Raises BadRequest, NotFound."""

    # --- attachments ---

    @abstractmethod
    def prepare(self, context: Context, volume_id: str, server_id: str) -> str:
        """An attachment's id, for a server (the API's id). Nothing is to be relied on before `reserve`."""

    @abstractmethod
    def abandon(self, context: Context, attachment_id: str) -> None:
        """What `prepare` made is not wanted."""

    @abstractmethod
    def reserve(
        self, conn: Connection, context: Context, volume_id: str, attachment_id: str, server_id: str, device: str | None
    ) -> None:
        """The volume is this attachment's, and nobody else's. Raises BadRequest where it is not available."""

    @abstractmethod
    def connect(self, context: Context, volume_id: str, attachment_id: str, host: str) -> Connected:
        """Where `host` finds the volume. Raises BadRequest where it can't reach it."""

    @abstractmethod
    def attaching(self, conn: Connection, volume_id: str, attachment_id: str) -> None:
        """The guest is about to get it."""

    @abstractmethod
    def attached(self, conn: Connection, volume_id: str, attachment_id: str) -> None:
        """The guest has it."""

    @abstractmethod
    def detaching(self, conn: Connection, context: Context, volume_id: str, attachment_id: str) -> None:
        """The guest is about to let go of it. Raises BadRequest where it is not in use."""

    @abstractmethod
    def disconnect(self, context: Context, volume_id: str, attachment_id: str) -> None:
        """The guest has let go of it; nothing of the attachment is needed any more."""

    @abstractmethod
    def let_go(self, conn: Connection, volume_id: str, attachment_id: str, *, deletes: str | None = None) -> None:
        """The attachment is no more. `deletes`: the request by which the volume goes as well. Either may be gone."""

    # --- volumes that are made together with a server ---

    @property
    @abstractmethod
    def made_by_host(self) -> bool:
        """Whether the server's host makes the volume's file; else somebody does, and `show` tells when."""

    @abstractmethod
    def create_for_server(self, conn: Connection, context: Context, new: NewVolume, volume_id: str, host: str) -> str:
        """A new volume for a server of that host, found again by `volume_id` (which it may have); its id."""

    @abstractmethod
    def made(self, conn: Connection, volume_id: str) -> None:
        """Its file is there."""

    @abstractmethod
    def forget(self, conn: Connection, volume_id: str) -> None:
        """The volume is not wanted after all; the host has removed its file."""

    @property
    @abstractmethod
    def is_shared(self) -> bool:
        """Whether every host reaches every volume."""
