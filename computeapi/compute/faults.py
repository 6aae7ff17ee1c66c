# SPDX-License-Identifier: Apache-2.0
"""What this host can't make as it shall be: in its row, for `computeapi status` and the metrics, and in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from computeapi import journal
from computeapi.compute.operation import Tools
from computeapi.db.queries import host_faults

LOG = logging.getLogger("computeapi.compute")


def note(tools: Tools, kind: str, found: Mapping[str, str]) -> set[str]:
    """These (what: why) are the faults of that kind now; which of them are new. Raises Fenced."""
    with tools.db.read() as conn:
        before = host_faults.of_host(conn, tools.host)
    if host_faults.is_same(before, kind, found):
        return set()
    with tools.db.write() as conn:
        if not host_faults.write(conn, tools.host, tools.epoch, kind, found):
            raise journal.Fenced(f"host {tools.host}")
    had = {each["what"] for each in before.get(kind, ())}
    for what in sorted(found.keys() - had):
        LOG.error("%s is not as it shall be on this host, and is tried again every now and then: %s", what, found[what])
    for what in sorted(had - found.keys()):
        LOG.info("%s is as it shall be again", what)
    return found.keys() - had
