# SPDX-License-Identifier: Apache-2.0
"""The actions shelve, unshelve and shelveOffload (nova/api/openstack/compute/shelve.py; nova/compute/api.py)."""

from __future__ import annotations

from computeapi import lifecycle
from computeapi.api.compute.servers import images
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, PROJECT_MEMBER, rule

_URL = ("POST", "/servers/{server_id}/action")
_TAIL = "-shelved"
_LONGEST = 255  # characters of an image's name

RULES = [
    rule("os_compute_api:os-shelve:shelve", PROJECT_MEMBER, "Put a server aside.", _URL),
    rule("os_compute_api:os-shelve:unshelve", PROJECT_MEMBER, "Take a shelved server back.", _URL),
    rule("os_compute_api:os-shelve:shelve_offload", ADMIN, "Take a shelved server off its host.", _URL),
]


def shelve(call: Call) -> None:
    """Switch the server off and keep its disk as an image, "<name>-shelved"; off the host by the setting."""
    server: ServerRow = call.target
    if not server.image_id:  # its volume is kept as it is
        with call.services.db.write() as conn:
            lifecycle.begin(conn, call.services, call.context, server, "shelve")
        return
    images.start(call, "shelve", server.name[: _LONGEST - len(_TAIL)] + _TAIL, {}, {})


def unshelve(call: Call) -> None:
    """Start the server where it is, or on a host that has room. None has: it stays as it is, and its log says why."""
    with call.services.db.write() as conn:
        lifecycle.start_unshelve(conn, call.services, call.context, call.target)
