# SPDX-License-Identifier: Apache-2.0
"""The journal: every action on a server, which is at once the API's action log and the work to do.

pending ──claim──> running ──> finished | failed
   │                  └─ owner died: taken up again (attempt + 1)
   └─ delete overtook: cancelled
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, LongText, Name, Time, Uuid

PENDING = "pending"
RUNNING = "running"
FINISHED = "finished"
FAILED = "failed"
CANCELLED = "cancelled"


class Action(Base):
    """One action (os-instance-actions) and, while open, the work it stands for.

    `queue` (the host that shall do it) and `lane` (the server or volume, whose work goes in order) are NULL once it is
    closed, so that their indexes hold open rows only. `running` is the lane while somebody works on it: unique, so that
    nobody else can. A server's lane is its key, a volume's is its key's negative: they are never the same.
    """

    __tablename__ = "actions"
    __table_args__ = (
        Index("ix_actions_server", "server_id", "id"),
        Index("ix_actions_queue", "queue", "id"),
        Index("ix_actions_lane", "lane", "id"),
        Index("ix_actions_request", "request_id"),
        UniqueConstraint("running"),
    )

    id: Mapped[Key]
    server_id: Mapped[BigInt | None] = mapped_column(ForeignKey("servers.id"))
    server_uuid: Mapped[Uuid | None]
    volume_key: Mapped[BigInt | None]  # volumes.id, of work on a volume: then there is no server
    request_id: Mapped[str] = mapped_column(String(64))
    project_id: Mapped[Id | None]
    user_id: Mapped[Id | None]
    name: Mapped[str] = mapped_column(String(64))  # as the API shows it: create, reboot, stop …
    operation: Mapped[str] = mapped_column(String(64))  # the STEPS to run
    hidden: Mapped[int] = mapped_column(default=0)  # a question to the host, not shown in the log
    state: Mapped[str] = mapped_column(String(16), default=PENDING)
    queue: Mapped[Name | None]
    lane: Mapped[BigInt | None]
    running: Mapped[BigInt | None]
    epoch: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    unwinding: Mapped[int] = mapped_column(default=0)  # 1: a step failed, undoing
    cancel: Mapped[int] = mapped_column(default=0)  # 1: delete waits behind; stop at the next step
    payload: Mapped[LongText | None]  # encrypted JSON; erased when closed
    lands_json: Mapped[Json] = mapped_column(default="{}")  # {"ok": {column: value}, "failed": {column: value}}
    result_json: Mapped[Json | None]  # a question's answer
    message: Mapped[LongText | None]  # why it failed
    created_at: Mapped[Time]
    started_at: Mapped[Time | None]
    updated_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]


class ActionEvent(Base):
    """One step of an action: begun, and how it ended."""

    __tablename__ = "action_events"
    __table_args__ = (UniqueConstraint("action_id", "seq"),)

    id: Mapped[Key]
    action_id: Mapped[BigInt] = mapped_column(ForeignKey("actions.id", ondelete="CASCADE"))
    seq: Mapped[int]
    name: Mapped[Name]
    undo: Mapped[int] = mapped_column(default=0)
    host: Mapped[Name | None]
    started_at: Mapped[Time]
    finished_at: Mapped[Time | None]
    result: Mapped[str | None] = mapped_column(String(16))  # Success | Error
    details: Mapped[LongText | None]
