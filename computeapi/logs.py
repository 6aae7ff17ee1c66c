# SPDX-License-Identifier: Apache-2.0
"""Log lines: the standard library's logging, with the request's id, project and server where they are known."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

_KNOWN = ("request_id", "user_id", "project_id", "server")


class Formatter(logging.Formatter):
    """2026-11-23T14:23:29.123Z INFO computeapi.api [req-… user project] text"""

    def format(self, record: logging.LogRecord) -> str:
        """One line (and a traceback, where there is one)."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        facts = " ".join(str(value) for name in _KNOWN if (value := getattr(record, name, None)))
        line = f"{moment}Z {record.levelname} {record.name} [{facts or '-'}] {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(debug: bool = False) -> None:
    """Log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for noisy in ("alembic", "sqlalchemy", "oslo_policy", "keystoneauth", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
