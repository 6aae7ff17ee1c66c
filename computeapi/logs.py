# SPDX-License-Identifier: Apache-2.0
"""Log lines: the standard library's logging; each line says whose request and which server it is about.

What is said once by `about` (a request, an action) or `know` stands in every line that the same thread logs after it,
whichever module logs. As text or as JSON, to standard error or to a file that may be rotated by renaming it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

import orjson

Facts = dict[str, str | None]

_NAMES = ("request_id", "user_id", "project_id", "server")
_NONE: Facts = {}
_FACTS: ContextVar[Facts] = ContextVar("facts", default=_NONE)
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", *_NAMES}


def about(**facts: str | None) -> None:
    """From now on this thread's lines are about this request_id, user_id, project_id, server, and nothing else."""
    _FACTS.set(facts)


def know(**facts: str | None) -> None:
    """More about the same."""
    known = _FACTS.get()
    if known is _NONE:
        _FACTS.set(facts)
    else:
        known.update(facts)


@contextmanager
def subject(**facts: str | None) -> Iterator[None]:
    """`about`, until the end of the block."""
    token = _FACTS.set(facts)
    try:
        yield
    finally:
        _FACTS.reset(token)


def _facts(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    known, own = _FACTS.get(), record.__dict__
    for name in _NAMES:
        value = own.get(name) or known.get(name)
        if value:
            yield name, str(value)


def _moment(created: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(created))}.{int(created % 1 * 1000):03d}Z"


class TextFormatter(logging.Formatter):
    """2026-11-23T14:23:29.123Z INFO computeapi.api [req-… user project server] text"""

    def format(self, record: logging.LogRecord) -> str:
        """One line (and a traceback, where there is one). What a client sent can't begin another line."""
        facts = " ".join(value for _name, value in _facts(record)) or "-"
        line = f"{_moment(record.created)} {record.levelname} {record.name} [{facts}] {record.getMessage()}"
        if not line.isprintable():
            line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """An object a line: time, level, logger, message, what it is about, and what the line itself says (`extra`)."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, traceback included."""
        line: dict[str, Any] = {
            "time": _moment(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **dict(_facts(record)),
            **{name: value for name, value in record.__dict__.items() if name not in _PLAIN},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except orjson.JSONEncodeError:  # text that is no UTF-8
            return json.dumps(line, default=str)


class _File(WatchedFileHandler):
    """A file that is opened anew once it was renamed; what is written past logging (a crash's last words) follows."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        super().__init__(path)
        self._lead()

    def reopenIfNeeded(self) -> None:
        """Before each line."""
        before = self.stream
        super().reopenIfNeeded()
        if self.stream is not before:
            self._lead()

    def _lead(self) -> None:
        for stream in (sys.__stdout__, sys.__stderr__):
            if self.stream is not None and stream is not None:
                stream.flush()
                os.dup2(self.stream.fileno(), stream.fileno())


def configure(debug: bool = False, style: str = "text", file: Path | None = None) -> None:
    """Log as the settings say: `style` "text" or "json", to `file` (None: standard error)."""
    handler = logging.StreamHandler(sys.stderr) if file is None else _File(file)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for noisy in ("alembic", "sqlalchemy", "oslo_policy", "keystoneauth", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
