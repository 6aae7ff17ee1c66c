# SPDX-License-Identifier: Apache-2.0
"""For load balancers and supervisors, without a token: does this process live, and can it answer?"""

from __future__ import annotations

import functools
import logging
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from computeapi.db import schema
from computeapi.endpoint import Call, Reply

LOG = logging.getLogger("computeapi.api")

_needed = functools.cache(schema.newest)  # reads the migrations' files; they don't change under a process


def live(_call: Call) -> dict[str, Any]:
    """GET /healthcheck: the process lives, whatever else does."""
    return {"status": "ok"}


def ready(call: Call) -> Any:
    """GET /healthcheck/ready: the database answers, and its schema is this code's. Else 503, with why in a word."""
    try:
        with call.services.db.read() as conn:
            current = schema.revision_of(conn)
    except SQLAlchemyError as error:
        LOG.warning("not ready: the database does not answer: %s", type(error).__name__)
        return _unready("database")
    if current != _needed():
        LOG.warning("not ready: the database is at revision %s, this code needs %s", current, _needed())
        return _unready("schema")
    return {"status": "ok"}


def _unready(why: str) -> Reply:
    return Reply({"status": "unavailable", "reason": why}, status=503, headers={"Retry-After": "5"})
