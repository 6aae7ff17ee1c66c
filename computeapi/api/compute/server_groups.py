# SPDX-License-Identifier: Apache-2.0
"""os-server-groups (nova/api/openstack/compute/server_groups.py): servers that sit together, or apart.

A server gets into a group by the scheduler hint `group` when it is made. The soft policies come with 2.15.
"""

from __future__ import annotations

import uuid
from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.db.queries import quotas
from computeapi.db.queries import server_groups as queries
from computeapi.db.queries.server_groups import GroupRow
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule
from computeapi.versions import Versioned

Json = dict[str, Any]

# --- RULES ---

GROUPS = "os_compute_api:os-server-groups:"
_ONE = "/os-server-groups/{server_group_id}"

RULES = [
    rule(GROUPS + "index", PROJECT_READER, "List the server groups of one's project.", ("GET", "/os-server-groups")),
    rule(GROUPS + "index:all_projects", ADMIN, "List those of all projects.", ("GET", "/os-server-groups")),
    rule(GROUPS + "show", PROJECT_READER, "See a server group.", ("GET", _ONE)),
    rule(GROUPS + "create", PROJECT_MEMBER, "Create a server group.", ("POST", "/os-server-groups")),
    rule(GROUPS + "delete", PROJECT_MEMBER, "Delete a server group.", ("DELETE", _ONE)),
]

# --- SCHEMAS ---


def _create(*policies: str) -> Json:
    one: Json = {"type": "array", "items": {"type": "string", "enum": [*policies]}, "minItems": 1, "uniqueItems": True}
    one["maxItems"] = 1
    return p.wrapped("server_group", p.obj({"name": p.name, "policies": one}, "name", "policies"))


CREATE = Versioned(
    _create("anti-affinity", "affinity"),
    {"2.15": _create("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")},
)
_LIST = {"all_projects": p.Q_ANY, "limit": p.Q_INTEGER, "offset": p.Q_INTEGER}
LIST_QUERY = p.query(_LIST, multi=tuple(_LIST))

# --- VIEW ---


def _view(group: GroupRow, members: list[str]) -> Json:
    return {
        "id": group.uuid,
        "name": group.name,
        "policies": [group.policy],
        "members": members,
        "metadata": {},
    }


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-server-groups: of the project; with `all_projects` an administrator sees all, others their own."""
    project_id: str | None = call.project_id
    if "all_projects" in call.query and call.allows(GROUPS + "index:all_projects"):
        project_id = None
    with call.services.db.snapshot() as conn:
        groups = queries.page(conn, project_id, _limit(call), _offset(call))
        members = queries.members(conn, [group.id for group in groups])
    return {"server_groups": [_view(group, members[group.id]) for group in groups]}


def _limit(call: Call) -> int:
    return links.page_size(call) or call.services.settings.max_limit  # 0 is no limit here, as in Nova


def _offset(call: Call) -> int:
    text = links.last(call, "offset")
    if text is not None and len(text) > 18:
        raise errors.BadRequest("offset is too large")
    return int(text or 0)


def load(call: Call) -> GroupRow:
    """The group in the URL, if it is of the caller's project (an administrator finds any)."""
    with call.services.db.read() as conn:
        project_id = None if call.context.is_admin else call.project_id
        return queries.find(conn, call.params["server_group_id"], project_id)


def show(call: Call) -> Json:
    """GET /os-server-groups/{id}."""
    group: GroupRow = call.target
    with call.services.db.read() as conn:
        return {"server_group": _view(group, queries.members(conn, [group.id])[group.id])}


def create(call: Call) -> Json:
    """POST /os-server-groups. Raises QuotaExceeded."""
    body, db = call.body["server_group"], call.services.db
    group = GroupRow(
        id=0,
        uuid=str(uuid.uuid4()),
        project_id=call.project_id,
        user_id=call.context.user_id,
        name=body["name"].strip(),
        policy=body["policies"][0],
        max_per_host=1,
    )
    with db.write() as conn:
        db.lock(conn, quotas.lock_name(call.project_id))
        for limits, used in quotas.accounts(conn, call.services.settings, call.project_id, call.context.user_id):
            if 0 <= limits["server_groups"] <= used["server_groups"]:
                raise errors.QuotaExceeded("Quota exceeded, too many server groups.")
        queries.create(conn, group)
    return {"server_group": _view(group, [])}


def remove(call: Call) -> None:
    """DELETE /os-server-groups/{id}: its servers stay."""
    with call.services.db.write() as conn:
        queries.remove(conn, queries.find(conn, call.target.uuid, call.target.project_id, lock=True))
