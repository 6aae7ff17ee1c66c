# SPDX-License-Identifier: Apache-2.0
"""os-networks: nova-network's API over the rows that the Networking API has too. Up to 2.35.

Keys, checks and codes: the reference, and Nova before it dropped nova-network (nova/network/manager.py). A network
that is made for no project is everybody's, as with nova's flat managers; one that was disassociated waits to be added.
"""

from __future__ import annotations

import ipaddress
import uuid
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import nova_networks as queries
from computeapi.db.queries.network_changes import Block
from computeapi.endpoint import Call, Endpoint, endpoint
from computeapi.policy import ADMIN, PROJECT_READER, rule

LAST = "2.35"
NETWORKS = "os_compute_api:os-networks"
ASSOCIATE = "os_compute_api:os-networks-associate"

RULES = [
    rule(f"{NETWORKS}:list", PROJECT_READER, "List networks.", ("GET", "/os-networks")),
    rule(f"{NETWORKS}:show", PROJECT_READER, "Show a network.", ("GET", "/os-networks/{id}")),
    rule(NETWORKS, ADMIN, "Make, delete and add networks.", ("POST", "/os-networks")),
    rule(ASSOCIATE, ADMIN, "Say whose a network is.", ("POST", "/os-networks/{id}/action")),
]

# --- schemas ---

_PLAIN = "^[0-9a-fA-F:./]+$"  # and no IPv6 scope
CIDR: p.Schema = {"anyOf": [{"type": "null"}, {"type": "string", "format": "cidr", "pattern": _PLAIN}]}
_ADDRESS: p.Schema = {"anyOf": [{"type": "null"}, {"type": "string", "format": "ip", "pattern": _PLAIN}]}
_DEVICE: p.Schema = {"type": ["string", "null"], "pattern": "^([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14})?$"}
_FLAG: p.Schema = {**p.boolean, "type": ["boolean", "string", "null"], "enum": [*p.boolean["enum"], None]}
_VLAN: p.Schema = {"type": ["integer", "string", "null"], "pattern": "^[0-9]{1,4}$", "minimum": 0, "maximum": 4094}

LABEL: p.Schema = {"type": "string", "minLength": 1, "maxLength": 255}
CREATE: p.Schema = p.wrapped(
    "network",
    p.obj(
        {
            "label": LABEL,
            "cidr": CIDR,
            "cidr_v6": CIDR,
            "fixed_cidr": CIDR,
            "project_id": {"type": ["string", "null"], "pattern": "^[a-zA-Z0-9_.-]{1,64}$"},
            "mtu": {"type": ["integer", "string", "null"], "pattern": "^[0-9]{1,5}$", "minimum": 68, "maximum": 65535},
            "bridge": _DEVICE,
            "bridge_interface": _DEVICE,
            "vlan": _VLAN,
            "vlan_start": _VLAN,
            "vpn_start": {"type": ["integer", "string", "null"], "maxLength": 64},
            "ipam": _FLAG,
            "multi_host": _FLAG,
            "enable_dhcp": _FLAG,
            "share_address": _FLAG,
            "priority": {
                "type": ["integer", "string", "null"],
                "pattern": "^[0-9]{1,9}$",
                "minimum": 0,
                "maximum": 2**31 - 1,
            },
            **dict.fromkeys(
                ("gateway", "gateway_v6", "dhcp_server", "dns1", "dns2", "allowed_start", "allowed_end"), _ADDRESS
            ),
        },
        "label",
    ),
)
ADD: p.Schema = p.obj({"id": {"type": ["string", "null"], "maxLength": 255}}, "id")
_ASSOCIATE_HOST: p.Schema = p.obj({"associate_host": p.hostname}, "associate_host")

# --- view ---

# Keys whose values only the network's own row has, and what stands there where nobody said anything.
_EXTRA: dict[str, Any] = {
    "bridge_interface": None,
    "injected": False,
    "multi_host": False,
    "priority": None,
    "rxtx_base": None,
    "share_address": False,
    "vpn_public_address": None,
    "vpn_public_port": None,
    "vpn_private_address": None,
}


def view(row: Any, subnets: dict[int, Any], *, admin: bool) -> dict[str, Any]:
    """A network; the half that says how it is made is an administrator's."""
    four: Any = subnets.get(4)
    six: Any = subnets.get(6)
    block = ipaddress.ip_network(four.cidr) if four else None
    servers = [*(orjson.loads(four.dns_json) if four else []), None, None]
    shown = {
        "id": row.uuid,
        "label": row.name,
        "cidr": four.cidr if four else None,
        "netmask": str(block.netmask) if block else None,
        "gateway": four.gateway if four else None,
        "broadcast": str(block.broadcast_address) if block else None,
        "dns1": servers[0],
        "dns2": servers[1],
        "cidr_v6": six.cidr if six else None,
        "gateway_v6": six.gateway if six else None,
        "netmask_v6": str(ipaddress.ip_network(six.cidr).prefixlen) if six else None,
    }
    if not admin:
        return shown
    extra = {**_EXTRA, **orjson.loads(row.extra_json)}
    return shown | {
        **{name: extra[name] for name in _EXTRA},
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "deleted_at": None,
        "deleted": False,
        "bridge": row.bridge,
        "vlan": row.vlan,
        "dhcp_start": _dhcp_start(block, four),
        "project_id": row.project_id,
        "host": row.host,
        "mtu": row.mtu,
        "dhcp_server": extra.get("dhcp_server") or (four.gateway if four else None),
        "enable_dhcp": bool((four or six).dhcp) if four or six else False,
    }


def _dhcp_start(block: Block | None, four: Any) -> str | None:
    if block is None:
        return None
    pools = orjson.loads(four.pools_json)
    if pools:
        return str(pools[0]["start"])
    first = block.network_address + four.first_offset
    return str(first + 1 if str(first) == four.gateway else first)


# --- handlers ---


def is_admin(call: Call) -> bool:
    """Whether the caller sees all networks, and all of them."""
    return call.allows("context_is_admin")


def scope(call: Call) -> str | None:
    """The project whose networks (and the shared ones) the caller sees; None: all."""
    return None if is_admin(call) else call.project_id


def not_found() -> errors.NotFound:
    """What Nova says of a network that is not there."""
    return errors.NotFound("Network not found")


def find(call: Call, conn: Connection, *, everyones: bool = False) -> Any:
    """The network in the URL. Raises NotFound."""
    row = queries.find(conn, call.params["network_id"], None if everyones else scope(call))
    if row is None:
        raise not_found()
    return row


def index(call: Call) -> dict[str, Any]:
    """GET /os-networks."""
    admin = is_admin(call)
    with call.services.db.snapshot() as conn:
        rows = queries.page(conn, scope(call), links.page_size(call), links.last(call, "marker"))
        if rows is None:
            raise errors.BadRequest(f"marker [{links.last(call, 'marker')}] not found")
        subnets = queries.subnets_of(conn, [row.id for row in rows])
    return {"networks": [view(row, subnets.get(row.id, {}), admin=admin) for row in rows]}


def show(call: Call) -> dict[str, Any]:
    """GET /os-networks/{network_id}."""
    with call.services.db.snapshot() as conn:
        row = find(call, conn)
        return {"network": view(row, queries.subnets_of(conn, [row.id]).get(row.id, {}), admin=is_admin(call))}


def create(call: Call) -> dict[str, Any]:
    """POST /os-networks. Raises BadRequest (malformed, out of range) and Conflict (CIDR or VLAN taken)."""
    body = call.body["network"]
    network_uuid = str(uuid.uuid4())
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "nova networks")
        make(conn, network_uuid, body)
        row = queries.find(conn, network_uuid, None)
        assert row is not None
        return {"network": view(row, queries.subnets_of(conn, [row.id])[row.id], admin=is_admin(call))}


def make(conn: Connection, network_uuid: str, body: dict[str, Any]) -> None:
    """The rows of a network as nova's clients describe it."""
    blocks = [ipaddress.ip_network(body[name], strict=False) for name in ("cidr", "cidr_v6") if body.get(name)]
    if not blocks:
        raise errors.BadRequest("Network could not be created: a cidr or cidr_v6 is needed.")
    vlan = _number(body.get("vlan")) or _number(body.get("vlan_start")) or None
    if vlan is not None and changes.vlan_taken(conn, vlan, None):
        raise errors.Conflict(f"Detected existing vlan with id {vlan}")
    if body.get("bridge") and changes.bridge_taken(conn, body["bridge"]):
        raise errors.Conflict(f"Detected existing network with bridge {body['bridge']}")
    project_id = body.get("project_id")
    extra = {name: body[name] for name in ("bridge_interface", "dhcp_server") if body.get(name) is not None}
    extra |= {"priority": int(body["priority"])} if body.get("priority") is not None else {}
    extra |= {name: p.truth(body[name]) for name in ("multi_host", "share_address") if body.get(name) is not None}
    key = queries.insert_network(
        conn,
        uuid=network_uuid,
        name=body["label"],
        project_id=project_id,
        shared=int(project_id is None),
        bridge=body.get("bridge") or changes.bridge_name(network_uuid),
        vlan=vlan,
        mtu=_number(body.get("mtu")),
        extra_json=orjson.dumps(extra).decode(),
    )
    for block in blocks:  # two at most
        _make_subnet(conn, key, block, body, project_id)


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _make_subnet(conn: Connection, key: int, block: Block, body: dict[str, Any], project_id: str | None) -> None:
    if block.prefixlen > block.max_prefixlen - 2 or block.prefixlen == 0 or block.is_multicast or block.is_loopback:
        raise errors.BadRequest(f"{block} is not a valid IP network.")
    other = changes.overlapping(conn, block)
    if other is not None:
        raise errors.Conflict(f"Requested cidr ({block}) conflicts with existing cidr ({other})")
    four = block.version == 4
    gateway = body.get("gateway" if four else "gateway_v6") or str(block.network_address + 1)
    first = last = server = None
    if four:
        first, last = (_within(block, body.get(name)) for name in ("allowed_start", "allowed_end"))
        server = body.get("dhcp_server")
    _within(block, gateway)
    _within(block, server)
    if first is not None and last is not None and first > last:
        raise errors.BadRequest(f"{body['allowed_start']} is behind {body['allowed_end']}.")
    pools = changes.default_pools(block, gateway, first, last)
    if server and server != gateway:
        pools = changes.without(block, pools, server)
    dns = [body[name] for name in ("dns1", "dns2") if body.get(name)] if four else []
    subnet_key, _uuid = changes.insert_subnet(
        conn,
        key,
        block,
        gateway,
        pools,
        project_id=project_id,
        dhcp=int(p.truth(body["enable_dhcp"]) if body.get("enable_dhcp") is not None else True),
        dns_json=orjson.dumps(dns).decode(),
    )
    if server and server != gateway:
        changes.reserve(conn, subnet_key, block, server)


def _within(block: Block, address: str | None) -> int | None:
    """An address as its offset. Raises BadRequest where no host of the network may have it."""
    if address is None:
        return None
    wanted = ipaddress.ip_address(address)
    first, last = changes.host_range(block)
    if wanted not in block or not first <= (offset := changes.offset_of(block, address)) <= last:
        raise errors.BadRequest(f"{address} is not within {block}.")
    return offset


def delete(call: Call) -> None:
    """DELETE /os-networks/{network_id}. Raises Conflict where servers, or a project, have it."""
    with call.services.db.write() as conn:
        row = find(call, conn, everyones=True)
        if row.project_id is not None or not changes.delete_network(conn, row.id):
            raise errors.Conflict(f"Network {row.uuid} is still in use.")


def add(call: Call) -> None:
    """POST /os-networks/add: a network becomes the caller's project's; the oldest free one where none is named."""
    with call.services.db.write() as conn:
        wanted = call.body["id"] or queries.free_network(conn)
        if wanted is None:
            raise errors.BadRequest("No more networks available.")
        row = queries.find(conn, wanted, None)
        if row is None:
            raise errors.BadRequest(f"Network could not be found for uuid {wanted}")
        queries.set_owner(conn, row.id, project_id=call.project_id, shared=0)


def _owned(**columns: Any) -> Any:
    def handler(call: Call) -> None:
        with call.services.db.write() as conn:
            queries.set_owner(conn, find(call, conn, everyones=True).id, **columns)

    return handler


def associate_host(call: Call) -> None:
    """The network is that host's."""
    with call.services.db.write() as conn:
        queries.set_owner(conn, find(call, conn, everyones=True).id, host=call.body["associate_host"])


def _row(handler: Any, rule_name: str, body: p.Schema | None = None) -> Endpoint:
    return endpoint(handler, rule_name, body=body if body is not None else {}, status=202, until=LAST)


ACTIONS: dict[str, Endpoint] = {
    "disassociate": _row(_owned(project_id=None, shared=0, host=None), NETWORKS),
    "associate_host": _row(associate_host, ASSOCIATE, _ASSOCIATE_HOST),
    "disassociate_host": _row(_owned(host=None), ASSOCIATE),
    "disassociate_project": _row(_owned(project_id=None, shared=0), ASSOCIATE),
}
