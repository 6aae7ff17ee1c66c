# SPDX-License-Identifier: Apache-2.0
"""What `{server_id}` in a URL names."""

from __future__ import annotations

import re

from computeapi import errors
from computeapi.db.queries import servers
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call

_UUID = re.compile(r"[0-9A-Fa-f-]{36}")


def load(call: Call) -> ServerRow:
    """The server that the URL names, if it is of the caller's project (an administrator finds any).

    Raises NotFound, worded like Nova's InstanceNotFound, for all else: a deleted one, another project's, no UUID.
    """
    server_id = call.params["server_id"]
    if _UUID.fullmatch(server_id):
        project_id = None if call.context.is_admin else call.project_id
        with call.services.db.read() as conn:
            server = servers.get(conn, server_id, project_id)
        if server is not None:
            return server
    raise errors.NotFound(f"Instance {server_id} could not be found.")
