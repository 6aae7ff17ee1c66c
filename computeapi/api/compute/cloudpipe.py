# SPDX-License-Identifier: Apache-2.0
"""os-cloudpipe: a VPN server for a project, from the image that the operator configured. Up to 2.35; admins only.

Keys, checks and codes: Nova before it dropped nova-network (nova/api/openstack/compute/cloudpipe.py). The server gets a
certificate of the project's own authority in its user data, its key as an injected file, and a security group that lets
the VPN in.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from computeapi import clock, errors, states
from computeapi.api import parameters as p
from computeapi.api.compute import certificates, fping
from computeapi.api.compute.servers.create import create as create_server
from computeapi.context import Context
from computeapi.db.queries import certificates as queries
from computeapi.db.queries import security_groups
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

LAST = "2.35"
CLOUDPIPE = "os_compute_api:os-cloudpipe"
RULES = [
    rule(
        CLOUDPIPE,
        ADMIN,
        "See, make and configure projects' VPN servers.",
        ("GET", "/os-cloudpipe"),
        ("POST", "/os-cloudpipe"),
        ("PUT", "/os-cloudpipe/configure-project"),
    )
]
PORT = 1194  # OpenVPN's

# --- schemas ---

_PROJECT: p.Schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9-]*$"}
CREATE = p.wrapped("cloudpipe", p.obj({"project_id": _PROJECT}))
_ADDRESS: p.Schema = {"type": "string", "oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_PORT: p.Schema = {"type": ["integer", "string"], "pattern": "^[0-9]{1,5}$", "minimum": 1, "maximum": 65535}
CONFIGURE = p.wrapped("configure_project", p.obj({"vpn_ip": _ADDRESS, "vpn_port": _PORT}, "vpn_ip", "vpn_port"))

_USER_DATA = """#!/bin/sh
umask 077
mkdir -p /etc/openvpn
cat >/etc/openvpn/ca.crt <<'END'
{root}END
cat >/etc/openvpn/server.crt <<'END'
{certificate}END
cat >/etc/openvpn/server.conf <<'END'
port {port}
proto udp
dev tun
topology subnet
server 10.8.0.0 255.255.255.0
ca /etc/openvpn/ca.crt
cert /etc/openvpn/server.crt
key /etc/openvpn/server.key
dh none
keepalive 10 60
persist-key
persist-tun
END
if command -v openvpn >/dev/null; then openvpn --daemon --config /etc/openvpn/server.conf; fi
"""

_KEY_FILE = "/etc/openvpn/server.key"

# --- handlers ---


def _image(call: Call) -> str:
    image_id = call.services.settings.vpn_image_id
    if not image_id:
        raise errors.BadRequest("No image is configured for VPN servers ([cloudpipe] vpn_image_id).")
    return image_id


def index(call: Call) -> dict[str, Any]:
    """GET /os-cloudpipe: each with its state, found out by pinging it."""
    image_id = call.services.settings.vpn_image_id
    if not image_id:
        return {"cloudpipes": []}
    with call.services.db.snapshot() as conn:
        rows = queries.vpn_servers(conn, image_id, None)
        outside = queries.vpn_addresses(conn, {row.project_id for row in rows})
    by_host: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row.host and row.address and row.project_id in outside:
            by_host.setdefault(row.host, {})[row.uuid] = [row.address]
    alive = set[str]().union(*fping.answers(call, by_host)) if by_host else set()
    return {"cloudpipes": [_view(row, outside.get(row.project_id), row.uuid in alive) for row in rows]}


def _view(row: Any, outside: tuple[str, int] | None, alive: bool) -> dict[str, Any]:
    if row.vm_state == states.BUILDING:
        state = "pending"
    elif outside is None:
        state = "invalid"  # nobody said where it is reached
    else:
        state = "running" if alive else "down"
    return {
        "project_id": row.project_id,
        "instance_id": row.uuid,
        "created_at": clock.api(row.created_at),
        "internal_ip": row.address,
        "public_ip": outside[0] if outside else None,
        "public_port": outside[1] if outside else None,
        "state": state,
    }


def create(call: Call) -> dict[str, Any]:
    """POST /os-cloudpipe: the project's VPN server, made if it has none."""
    image_id = _image(call)
    project_id = call.body["cloudpipe"].get("project_id", call.project_id)
    with call.services.db.read() as conn:
        known = queries.vpn_servers(conn, image_id, project_id)
    if known:
        return {"instance_id": known[0].uuid}
    return {"instance_id": _launch(call, image_id, project_id)}


def _launch(call: Call, image_id: str, project_id: str) -> str:
    name = f"{project_id}-vpn"
    group = _ensure_group(call, project_id, name)
    root, certificate, key = certificates.issue(call, project_id, call.context.user_id, name, server=True)
    script = _USER_DATA.format(root=root, certificate=certificate, port=PORT)
    server = {
        "name": name,
        "imageRef": image_id,
        "flavorRef": call.services.settings.vpn_flavor,
        "user_data": base64.b64encode(script.encode()).decode(),
        # User data stays in the database as it is; what is injected goes through the journal, sealed, and is erased.
        "personality": [{"path": _KEY_FILE, "contents": base64.b64encode(key.encode()).decode()}],
        "security_groups": [{"name": group}],
        "metadata": {"cloudpipe": "true"},
    }
    context = Context(call.context.request_id, call.context.user_id, project_id, call.context.roles)
    made = create_server(replace(call, context=context, body={"server": server}))
    return str(made.body["server"]["id"])


def _ensure_group(call: Call, project_id: str, name: str) -> str:
    """The id of the project's group that lets the VPN and echo requests in."""
    with call.services.db.write() as conn:
        call.services.db.lock(conn, f"cloudpipe {project_id}")
        found = security_groups.named(conn, project_id, [name])[name]
        if found:
            return str(found[0].uuid)
        key, group_uuid = security_groups.insert_group(conn, project_id, name, "The way in to the project's VPN server")
        way_in = {"direction": security_groups.INGRESS, "ethertype": "IPv4", "remote_cidr": "0.0.0.0/0"}
        for rule_ in ({"protocol": "udp", "port_min": PORT, "port_max": PORT}, {"protocol": "icmp"}):
            security_groups.insert_rule(conn, key, project_id, way_in | rule_)
        return group_uuid


def configure(call: Call) -> None:
    """PUT (and POST) /os-cloudpipe/configure-project: where the VPN of the caller's project is reached."""
    given = call.body["configure_project"]
    with call.services.db.write() as conn:
        call.services.db.lock(conn, f"cloudpipe {call.project_id}")
        queries.put_vpn_address(conn, call.project_id, given["vpn_ip"], int(given["vpn_port"]))
