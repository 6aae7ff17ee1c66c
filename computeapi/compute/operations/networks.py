# SPDX-License-Identifier: Apache-2.0
"""The networks that a host has made, beside those that there are."""

from __future__ import annotations

from computeapi.compute.guest import network_name
from computeapi.compute.operation import Tools
from computeapi.db.queries import network_changes


def forget_deleted(tools: Tools) -> int:
    """Take the host's networks away that were deleted: their addresses may be another's by now. How many went.

    Those that others made have names that are not made of their ids, and stay.
    """
    ours = {uuid: name for name, uuid in tools.driver.list_networks().items() if name == network_name(uuid)}
    with tools.db.read() as conn:
        gone = ours.keys() - network_changes.existing(conn, list(ours)) if ours else set()
    for uuid in gone:
        tools.driver.remove_network(ours[uuid])
    return len(gone)
