# SPDX-License-Identifier: Apache-2.0
"""Time as the database keeps it: UTC text of one width, so that text order is time order on every engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> str:
    """This moment: 2026-11-23T14:23:29.000000."""
    return text(datetime.now(UTC))


def text(moment: datetime) -> str:
    """A moment as the database keeps it; one with no zone is taken as UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds")


def shifted(seconds: float) -> str:
    """The moment `seconds` from now."""
    return text(datetime.now(UTC) + timedelta(seconds=seconds))


def parse(stored: str) -> datetime:
    """A stored time as an aware datetime."""
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)


def api(stored: str | None) -> str | None:
    """A stored time as most answers show it: 2026-11-23T14:23:29Z."""
    return stored[:19] + "Z" if stored else None


def parse_filter(value: str) -> str:
    """A client's ISO 8601 time (`changes-since`, `start`, `end`) as stored text. Raises ValueError."""
    return text(datetime.fromisoformat(value.strip().replace(" ", "+") if "T" in value else value.strip()))
