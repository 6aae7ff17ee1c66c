# SPDX-License-Identifier: Apache-2.0
"""Statements about images. Who may see which image is decided here (glance/db/sqlalchemy/api.py is the model).

An administrator sees all; everybody sees public and community ones, their own, and those shared with their project.
A list leaves out others' community images unless they are asked for, and shared ones that were not accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    String,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    false,
    func,
    insert,
    null,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError

from computeapi import clock, errors
from computeapi.context import Context
from computeapi.db.models import Image, ImageMember, ImageProperty, ImageTag
from computeapi.db.queries.common import insert_key


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image with its properties and tags (sorted). Sizes in bytes, min_disk in GiB, min_ram in MiB."""

    key: int
    uuid: str
    name: str | None
    status: str
    visibility: str
    owner: str | None
    disk_format: str | None
    container_format: str | None
    size: int | None
    virtual_size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    min_disk: int
    min_ram: int
    protected: int
    os_hidden: int
    created_at: str
    updated_at: str
    deleted: int
    properties: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    @property
    def project_id(self) -> str | None:
        """The owner, by the name that policy asks for."""
        return self.owner


_COLUMNS = (
    Image.id,
    Image.uuid,
    Image.name,
    Image.status,
    Image.visibility,
    Image.owner,
    Image.disk_format,
    Image.container_format,
    Image.size,
    Image.virtual_size,
    Image.checksum,
    Image.os_hash_algo,
    Image.os_hash_value,
    Image.min_disk,
    Image.min_ram,
    Image.protected,
    Image.os_hidden,
    Image.created_at,
    Image.updated_at,
    Image.deleted,
)

# What NULL counts as when sorting, so that a page can begin after it.
SORT_KEYS: dict[str, ColumnElement[Any]] = {
    "name": func.coalesce(Image.name, ""),
    "status": Image.status.expression,
    "container_format": func.coalesce(Image.container_format, ""),
    "disk_format": func.coalesce(Image.disk_format, ""),
    "size": func.coalesce(Image.size, 0),
    "id": Image.uuid.expression,
    "created_at": Image.created_at.expression,
    "updated_at": Image.updated_at.expression,
}


@dataclass(slots=True)
class Wanted:
    """Which images a list has. `where` are conditions on columns; `sort` has (name in SORT_KEYS, "asc" | "desc")."""

    where: list[ColumnElement[bool]] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    visibility: str | None = None  # None: all but others' community images; "all"
    member_status: str = "accepted"  # of those shared with the caller; "all"
    sort: Sequence[tuple[str, str]] = (("created_at", "desc"),)
    limit: int = 25
    marker: str | None = None
    deleted: bool = False  # deleted ones too


# --- seeing ---


def visible(context: Context, member_status: str = "all") -> ColumnElement[bool]:
    """The condition under which `context` may know of an image."""
    if context.is_admin:
        return true()
    return _visible_to(context.project_id, member_status)


def _visible_to(project_id: Any, member_status: str = "all") -> ColumnElement[bool]:
    """The same for who is no administrator; the project may be a bindparam."""
    anyones = Image.visibility.in_(("public", "community"))
    if project_id is None:
        return anyones
    shared = exists().where(ImageMember.image_key == Image.id, ImageMember.member == project_id)
    if member_status != "all":
        shared = shared.where(ImageMember.status == member_status)
    return or_(anyones, Image.owner == project_id, and_(Image.visibility == "shared", shared))


def find(
    conn: Connection, context: Context, uuid: str, *, lock: bool = False, deleted: bool = False
) -> ImageRow | None:
    """The image, if `context` may know of it. `lock` keeps others from changing it until the transaction ends."""
    statement = _find(context.is_admin, context.project_id is not None, lock, deleted)
    rows = _whole(conn, conn.execute(statement, {"uuid": uuid, "project_id": context.project_id}).all())
    return rows[0] if rows else None


@cache
def _find(everyones: bool, of_project: bool, lock: bool, deleted: bool) -> Select[*tuple[Any, ...]]:
    statement = select(*_COLUMNS).where(Image.uuid == bindparam("uuid"))
    if not everyones:
        statement = statement.where(_visible_to(bindparam("project_id") if of_project else None))
    if not deleted:
        statement = statement.where(Image.deleted == 0)
    return statement.with_for_update() if lock else statement


def page(conn: Connection, context: Context, wanted: Wanted) -> list[ImageRow]:
    """A page of the images that `context` may list. Raises BadRequest for a marker that is no such image."""
    statement = select(*_COLUMNS).where(visible(context, wanted.member_status), *wanted.where)
    if wanted.visibility is None:
        statement = statement.where(or_(Image.visibility != "community", _own(context)))
    elif wanted.visibility != "all":
        statement = statement.where(Image.visibility == wanted.visibility)
    if not wanted.deleted:
        statement = statement.where(Image.deleted == 0)
    for name, value in wanted.properties.items():
        statement = statement.where(
            exists().where(
                ImageProperty.image_key == Image.id, ImageProperty.name == name, ImageProperty.value == value
            )
        )
    for tag in wanted.tags:
        statement = statement.where(exists().where(ImageTag.image_key == Image.id, ImageTag.tag == tag))
    order = _total(wanted.sort)
    if wanted.marker is not None:
        statement = statement.where(_after(order, _marker(conn, context, wanted, order)))
    statement = statement.order_by(*(column.desc() if down else column.asc() for column, down in order))
    return _whole(conn, conn.execute(statement.limit(wanted.limit)).all())


def _own(context: Context) -> ColumnElement[bool]:
    return false() if context.project_id is None else Image.owner == context.project_id


Order = list[tuple[ColumnElement[Any], bool]]  # column, descending?


def _total(sort: Sequence[tuple[str, str]]) -> Order:
    """The order, made total by created_at and id in the direction of the last."""
    last = sort[-1][1] if sort else "desc"
    directions: dict[str, str] = {}
    for name, direction in [*sort, ("created_at", last), ("id", last)]:
        directions.setdefault(name, direction)
    return [(SORT_KEYS[name], direction == "desc") for name, direction in directions.items()]


def _marker(conn: Connection, context: Context, wanted: Wanted, order: Order) -> Sequence[Any]:
    statement = select(*(column for column, _down in order)).where(Image.uuid == wanted.marker, visible(context))
    if not wanted.deleted:
        statement = statement.where(Image.deleted == 0)
    found = conn.execute(statement).first()
    if found is None:
        raise errors.BadRequest(f"No image found with ID {wanted.marker}")
    return tuple(found)


def _after(order: Order, values: Sequence[Any]) -> ColumnElement[bool]:
    """What comes after the row with these values: (a > A) or (a = A and b > B) or …"""
    choices: list[ColumnElement[bool]] = []
    same: list[ColumnElement[bool]] = []
    for (column, down), value in zip(order, values, strict=True):
        choices.append(and_(*same, column < value if down else column > value))
        same.append(column == value)
    return or_(*choices)


_PARTS: CompoundSelect[int, str, str | None] = union_all(
    select(ImageProperty.image_key, ImageProperty.name.label("name"), ImageProperty.value).where(
        ImageProperty.image_key.in_(bindparam("keys", expanding=True))
    ),
    select(ImageTag.image_key, ImageTag.tag, cast(null(), String)).where(
        ImageTag.image_key.in_(bindparam("keys", expanding=True))
    ),
).order_by("name")


def _whole(conn: Connection, rows: Sequence[Any]) -> list[ImageRow]:
    """Rows with their properties and tags: one more query, however many rows."""
    keys = [row[0] for row in rows]
    if not keys:
        return []
    properties: dict[int, dict[str, str]] = {key: {} for key in keys}
    tags: dict[int, list[str]] = {key: [] for key in keys}
    for key, name, value in conn.execute(_PARTS, {"keys": keys}):
        if value is None:
            tags[key].append(name)
        else:
            properties[key][name] = value
    return [ImageRow(*(*row, properties[row[0]], tags[row[0]])) for row in rows]


# --- changing ---


def create(conn: Connection, values: Mapping[str, Any], properties: Mapping[str, str], tags: Iterable[str]) -> None:
    """A new image (status queued). Raises Conflict where the id is or was taken."""
    moment = clock.now()
    row = {"status": "queued", "visibility": "shared", "created_at": moment, "updated_at": moment, **values}
    taken = errors.Conflict(f"Image ID {row['uuid']} already exists!")
    if conn.execute(select(Image.id).where(Image.uuid == row["uuid"])).first():
        raise taken
    try:
        key = insert_key(conn, insert(Image).values(**row))
    except IntegrityError:
        raise taken from None
    _write_properties(conn, key, properties)
    _write_tags(conn, key, tags)


def change(conn: Connection, key: int, values: Mapping[str, Any], *, statuses: tuple[str, ...] = ()) -> bool:
    """Write columns, and when. False where the image is gone or (`statuses`) in none of these any more."""
    statement = update(Image).where(Image.id == key, Image.deleted == 0)
    if statuses:
        statement = statement.where(Image.status.in_(statuses))
    return bool(conn.execute(statement.values(**values, updated_at=clock.now())).rowcount)


def replace_properties(conn: Connection, key: int, properties: Mapping[str, str]) -> None:
    """Make these the image's properties."""
    conn.execute(delete(ImageProperty).where(ImageProperty.image_key == key))
    _write_properties(conn, key, properties)


def replace_tags(conn: Connection, key: int, tags: Iterable[str]) -> None:
    """Make these the image's tags."""
    conn.execute(delete(ImageTag).where(ImageTag.image_key == key))
    _write_tags(conn, key, tags)


def _write_properties(conn: Connection, key: int, properties: Mapping[str, str]) -> None:
    if properties:
        conn.execute(
            insert(ImageProperty),
            [{"image_key": key, "name": name, "value": value} for name, value in properties.items()],
        )


def _write_tags(conn: Connection, key: int, tags: Iterable[str]) -> None:
    rows = [{"image_key": key, "tag": tag} for tag in sorted(set(tags))]
    if rows:
        conn.execute(insert(ImageTag), rows)


def destroy(conn: Connection, key: int) -> bool:
    """Mark an image deleted, and forget its members. False where it is already."""
    conn.execute(delete(ImageMember).where(ImageMember.image_key == key))
    moment = clock.now()
    return change(conn, key, {"status": "deleted", "deleted": 1, "deleted_at": moment})


# --- the files' side ---


@dataclass(frozen=True, slots=True)
class FileState:
    """What a row says of its image's file."""

    key: int
    uuid: str
    status: str
    checksum: str | None
    deleted: int

    @property
    def whole(self) -> bool:
        """There is a file with all the bytes."""
        return not self.deleted and self.checksum is not None and self.status not in ("queued", "saving")

    @property
    def unfinished(self) -> bool:
        """Some process says it is writing the file."""
        return not self.deleted and self.checksum is None and self.status in ("saving", "uploading")


_FILE_STATE = (Image.id, Image.uuid, Image.status, Image.checksum, Image.deleted)


def file_states(conn: Connection, uuids: Sequence[str]) -> dict[str, FileState]:
    """What the rows of these ids say of their files."""
    rows = conn.execute(select(*_FILE_STATE).where(Image.uuid.in_(uuids)))
    return {row.uuid: row for row in (FileState(*row) for row in rows)}


def unfinished(conn: Connection) -> list[FileState]:
    """Every image whose file some process says it is writing."""
    rows = conn.execute(
        select(*_FILE_STATE).where(
            Image.status.in_(("saving", "uploading")), Image.checksum.is_(None), Image.deleted == 0
        )
    )
    return [FileState(*row) for row in rows]


NO_BYTES: dict[str, Any] = {
    "status": "queued",
    "size": None,
    "virtual_size": None,
    "checksum": None,
    "os_hash_algo": None,
    "os_hash_value": None,
}


def named(conn: Connection, owner: str | None, name: str, checksum: str) -> str | None:
    """The id of the owner's newest active image of that name and md5 checksum; owner None: nobody's."""
    statement = (
        select(Image.uuid)
        .where(Image.owner == owner, Image.name == name, Image.checksum == checksum)
        .where(Image.status == "active", Image.deleted == 0)
        .order_by(Image.id.desc())
        .limit(1)
    )
    return conn.execute(statement).scalar_one_or_none()


def hide_others(conn: Connection, owner: str | None, name: str, but: str) -> None:
    """Set os_hidden on the owner's images of that name, but one."""
    statement = update(Image).where(Image.owner == owner, Image.name == name, Image.uuid != but, Image.deleted == 0)
    conn.execute(statement.values(os_hidden=1, updated_at=clock.now()))


# --- members ---


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A project that an image is shared with, and what it said to that."""

    member: str
    status: str
    created_at: str
    updated_at: str


_MEMBER = (ImageMember.member, ImageMember.status, ImageMember.created_at, ImageMember.updated_at)


def members(conn: Connection, key: int, only: str | None = None) -> list[MemberRow]:
    """An image's members in the order they came; `only` that project."""
    statement = select(*_MEMBER).where(ImageMember.image_key == key).order_by(ImageMember.id)
    if only is not None:
        statement = statement.where(ImageMember.member == only)
    return [MemberRow(*row) for row in conn.execute(statement)]


def add_member(conn: Connection, key: int, member: str) -> MemberRow:
    """Share an image with a project (status pending). Raises Conflict where it is already."""
    row = MemberRow(member, "pending", moment := clock.now(), moment)
    if members(conn, key, member):
        raise errors.Conflict
    try:
        conn.execute(
            insert(ImageMember).values(
                image_key=key, member=member, status="pending", created_at=moment, updated_at=moment
            )
        )
    except IntegrityError:
        raise errors.Conflict from None
    return row


def answer_member(conn: Connection, key: int, member: str, status: str) -> bool:
    """Write what a project says to being shared with. False where it is no member."""
    statement = update(ImageMember).where(ImageMember.image_key == key, ImageMember.member == member)
    return bool(conn.execute(statement.values(status=status, updated_at=clock.now())).rowcount)


def remove_member(conn: Connection, key: int, member: str) -> bool:
    """Share no more. False where it is no member."""
    statement = delete(ImageMember).where(ImageMember.image_key == key, ImageMember.member == member)
    return bool(conn.execute(statement).rowcount)
