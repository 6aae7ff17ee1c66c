# SPDX-License-Identifier: Apache-2.0
"""What the body of POST /servers asks for, read and checked as far as that goes without asking anybody.

Checks and sentences: nova/api/openstack/compute/servers.py (create) and nova/compute/api.py.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from computeapi import errors, host_query
from computeapi.api import parameters as p
from computeapi.api.compute.servers.passwords import generate_password
from computeapi.db.queries.addresses import Requested

MAX_AT_ONCE = 1000  # servers a request, where the quota has no limit
_MAX_NUMBER = 10**12
_RESERVATION_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wish:
    """A readable body of POST /servers."""

    name: str
    image_id: str | None  # None: boots from a block device
    flavor_id: str
    least: int
    most: int
    admin_password: str
    reservation_id: str
    wants_reservation: bool
    zone: str | None
    host: str | None  # forced by `zone:host`
    node: str | None  # forced by `zone:host:node` or `zone::node`
    requested: list[Requested] | None  # interfaces; None: the one network there is
    security_groups: list[str]
    personality: list[dict[str, str]]
    hints: dict[str, Any]
    config_drive: bool


def read(body: dict[str, Any]) -> Wish:
    """The wish. Raises BadRequest."""
    server = body["server"]
    least = _number(server.get("min_count", 1))
    most = _number(server.get("max_count", least))
    if least > most:
        raise errors.BadRequest("min_count must be <= max_count")
    zone, host, node = _zone(server.get("availability_zone"))
    return Wish(
        name=server["name"].strip(),
        image_id=_image_id(server),
        flavor_id=str(server["flavorRef"]).rsplit("/", 1)[-1],
        least=least,
        most=most,
        admin_password=server.get("adminPass") or generate_password(),
        reservation_id="r-" + "".join(secrets.choice(_RESERVATION_LETTERS) for _ in range(8)),
        wants_reservation=p.truth(server.get("return_reservation_id", False)),
        zone=zone,
        host=host,
        node=node,
        requested=_networks(server.get("networks"), most),
        security_groups=_security_groups(server),
        personality=server.get("personality") or [],
        hints=_hints(body),
        config_drive=p.truth(server.get("config_drive", False)),
    )


def _number(value: Any) -> int:
    """A count, however many digits the client sends."""
    text = str(value)
    number = int(text) if len(text) <= 12 else _MAX_NUMBER
    if number < 1:
        raise errors.BadRequest("min_count and max_count must be > 0")
    return number


def _zone(text: str | None) -> tuple[str | None, str | None, str | None]:
    """Zone, host and node of `zone`, `zone:host`, `zone:host:node` and `zone::node`."""
    parts = (text or "").split(":")
    if len(parts) > 3:
        raise errors.BadRequest("Invalid input received: Unable to parse availability_zone")
    zone, host, node = (part or None for part in [*parts, "", ""][:3])
    return zone, host, node


def _image_id(server: dict[str, Any]) -> str | None:
    reference = server.get("imageRef")
    if reference:
        return str(uuid.UUID(reference.rsplit("/", 1)[-1]))
    if server.get("block_device_mapping") or server.get("block_device_mapping_v2"):
        return None
    raise errors.BadRequest("Missing imageRef attribute")


def _networks(networks: list[dict[str, Any]] | None, most: int) -> list[Requested] | None:
    if not networks:
        return None
    requested: list[Requested] = []
    ports: set[str] = set()
    for item in networks:
        address, port = item.get("fixed_ip"), item.get("port")
        if port:
            if port in ports:
                raise errors.BadRequest(
                    f"Port ID '{port}' was specified twice: you cannot attach a port multiple times."
                )
            if address:
                raise errors.BadRequest(
                    f"Specified Fixed IP '{address}' cannot be used with port '{port}': the two cannot be specified "
                    "together."
                )
            ports.add(port)
            requested.append(Requested(port_id=port))
        elif "uuid" not in item:
            raise errors.BadRequest("Bad network format: missing 'uuid'")
        elif not _UUID.fullmatch(item["uuid"]):
            raise errors.BadRequest(f"Bad networks format: network uuid is not in proper format ({item['uuid']})")
        else:
            requested.append(Requested(network_id=item["uuid"], fixed_ip=address))
    if most > 1 and any(item.fixed_ip for item in requested):
        raise errors.BadRequest(
            "Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is specified."
        )
    if most > 1 and ports:
        raise errors.BadRequest(
            "Failed to launch instances: Unable to launch multiple instances with a single configured port ID. "
            "Please launch your instance one by one with different ports."
        )
    return requested


def _security_groups(server: dict[str, Any]) -> list[str]:
    names = [item["name"] for item in server.get("security_groups") or [] if item.get("name")]
    return list(dict.fromkeys(names)) or ["default"]


def _hints(body: dict[str, Any]) -> dict[str, Any]:
    hints = body.get("os:scheduler_hints", body.get("OS-SCH-HNT:scheduler_hints")) or {}
    _check_hints(hints)
    return {name: value for name, value in hints.items() if not name.startswith("_nova")}


def _check_hints(hints: dict[str, Any]) -> None:
    """What Nova leaves to the scheduler, whose servers end in ERROR then."""
    if query := hints.get("query"):
        try:
            host_query.read(query if isinstance(query, str) else "{}")
        except ValueError as error:
            raise errors.BadRequest(f"The scheduler hint query can't be read: {error}.") from None
    if "build_near_host_ip" in hints:
        try:
            ipaddress.ip_network(f"{hints['build_near_host_ip']}{hints.get('cidr', '/24')}", strict=False)
        except ValueError:
            raise errors.BadRequest("The scheduler hints build_near_host_ip and cidr are no network.") from None


def check_personality(files: list[dict[str, str]], limits: dict[str, int]) -> None:
    """Raise QuotaExceeded for too many files, too long a path, or too much (decoded) content."""
    if not files:
        return
    if 0 <= limits["injected_files"] < len(files):
        raise errors.QuotaExceeded("Personality file limit exceeded")
    path, content = limits["injected_file_path_bytes"], limits["injected_file_content_bytes"]
    if 0 <= path < max(len(item["path"]) for item in files):
        raise errors.QuotaExceeded(f"Personality file path exceeds maximum {path}")
    if 0 <= content < max(len(base64.b64decode(item["contents"])) for item in files):
        raise errors.QuotaExceeded(f"Personality file content exceeds maximum {content}")


def host_name(name: str, server_id: str, number: int | None) -> str:
    """The guest's name for itself: `name` as far as host names go, numbered where several are made.

    Nova's sanitize_hostname, kept to ASCII: up to 63 of a-z, 0-9 and "-"; "Server-<id>" where nothing is left.
    """
    clean = re.sub(r"[ _.]", "-", name[:63])
    clean = re.sub(r"[^a-zA-Z0-9-]", "", clean).lower().strip("-")
    if not clean:
        return f"Server-{server_id}"
    tail = "" if number is None else f"-{number}"
    return clean[: 63 - len(tail)] + tail
