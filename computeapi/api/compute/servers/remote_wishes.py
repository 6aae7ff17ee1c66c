# SPDX-License-Identifier: Apache-2.0
"""What a new server's interfaces shall be, where the networks are a real Neutron's: looked at with its user's rights.

The server's host makes the ports (computeapi.compute.operations.remote).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from computeapi import errors
from computeapi.api.compute.servers.wishes import Wish
from computeapi.backends.network import ports
from computeapi.endpoint import Call


@dataclass(frozen=True, slots=True)
class Plan:
    """The interfaces of one server, and the ids of their security groups (None: the default one)."""

    wanted: list[ports.Wanted]
    groups: list[str] | None

    def payload(self, index: int) -> dict[str, Any]:
        """What goes along with the work, for one of the servers that are made."""
        wanted = ports.new_keys(self.wanted) if index else self.wanted
        return {"interfaces": [each.payload for each in wanted], "groups": self.groups}


def plan(call: Call, wish: Wish) -> Plan | None:
    """None where the network is embedded. Raises BadRequest, Conflict, Forbidden, QuotaExceeded, Unavailable."""
    neutron, context, project_id = call.services.neutron, call.context, call.project_id
    if neutron is None:
        return None
    try:
        groups = ports.group_ids(neutron, context, project_id, wish.security_groups)
        guarded = groups is not None
        if wish.requested is None:
            wanted = ports.only_network(neutron, context, project_id, guarded=guarded)
        else:
            asked = [(each.network_id, each.fixed_ip, each.port_id) for each in wish.requested]
            wanted = ports.choose(neutron, context, asked, project_id, guarded=guarded)
    except errors.NotFound as error:
        raise errors.BadRequest(error.message) from None
    new = sum(each.port_id is None for each in wanted)
    ports.check_quota(neutron, context, project_id, new * wish.least)
    return Plan(wanted, groups)
