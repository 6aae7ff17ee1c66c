# SPDX-License-Identifier: Apache-2.0
"""What is measured: each row of SCENARIOS is a line of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from tools.bench.data import Cloud, public_key
from tools.bench.load import Request, Turn

Make = Callable[[Cloud, int], list[tuple[str, str, Any, int]]]  # (method, path below /v2.1, body, status), by number


@dataclass(frozen=True, slots=True)
class Scenario:
    """`aim` and `nova` are CPU milliseconds of the workers a turn (one request, or a pair of them); `most` turns."""

    name: str
    make: Make
    aim: float | None = None
    nova: float | None = None
    most: int = 4000


def _get(path: str) -> Make:
    return lambda cloud, _number: [("GET", path.format(server=cloud.server_id), None, 200)]


def _keypair_pair(_cloud: Cloud, number: int) -> list[tuple[str, str, Any, int]]:
    body = {"keypair": {"name": f"bench-{number}", "public_key": public_key(number)}}
    return [("POST", "/os-keypairs", body, 200), ("DELETE", f"/os-keypairs/bench-{number}", None, 202)]


def _metadata(cloud: Cloud, number: int) -> list[tuple[str, str, Any, int]]:
    body = {"metadata": {"role": "web", "stage": "production", "number": str(number)}}
    return [("PUT", f"/servers/{cloud.server_id}/metadata", body, 200)]


def _create_server(cloud: Cloud, number: int) -> list[tuple[str, str, Any, int]]:
    server = {
        "name": f"bench-{number}",
        "imageRef": cloud.image_id,
        "flavorRef": cloud.flavor_id,
        "networks": [{"uuid": cloud.network_id}],
        "key_name": "key-0",
        "metadata": {"role": "web"},
    }
    return [("POST", "/servers", {"server": server}, 202)]


SCENARIOS = (
    Scenario("version document", _get("/")),
    Scenario("flavors/detail", _get("/flavors/detail"), aim=0.6, nova=12),
    Scenario("servers/{id}", _get("/servers/{server}"), aim=0.6, nova=22),
    Scenario("servers?limit=1000", _get("/servers?limit=1000"), most=600),
    Scenario("servers/detail?limit=100", _get("/servers/detail?limit=100"), aim=2.5, nova=305, most=1500),
    Scenario("servers/detail?limit=1000", _get("/servers/detail?limit=1000"), aim=20, nova=3000, most=250),
    Scenario("keypair create + delete", _keypair_pair, aim=2, nova=24, most=1500),
    Scenario("PUT servers/{id}/metadata", _metadata, most=2000),
    Scenario("POST servers", _create_server, most=400),
)


def turns(scenario: Scenario, cloud: Cloud, address: tuple[str, int], first: int = 0) -> Callable[[int], Turn]:
    """The requests of a scenario as they go over the wire, numbered from `first`."""
    host = f"{address[0]}:{address[1]}"
    head = f"HTTP/1.1\r\nHost: {host}\r\nX-Auth-Token: {cloud.token}\r\nAccept: application/json\r\n"

    def one(method: str, path: str, body: Any, status: int) -> Request:
        start = f"{method} /v2.1{path} {head}"
        if body is None:
            return Request(f"{start}\r\n".encode(), status)
        data = orjson.dumps(body)
        more = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        return Request((start + more).encode() + data, status)

    return lambda number: [one(*each) for each in scenario.make(cloud, first + number)]
