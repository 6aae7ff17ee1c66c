# SPDX-License-Identifier: Apache-2.0
"""A server's addresses: /servers/{id}/ips[/{label}] (nova/api/openstack/compute/ips.py)."""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api.compute.servers.view import plain_addresses
from computeapi.endpoint import Call


def index(call: Call) -> dict[str, Any]:
    """GET …/ips: by network."""
    return {"addresses": plain_addresses(call.target.addresses_json)}


def show(call: Call) -> dict[str, Any]:
    """GET …/ips/{label}: on one network."""
    label = call.params["label"]
    addresses = plain_addresses(call.target.addresses_json)
    if label not in addresses:
        raise errors.NotFound("Instance is not a member of specified network")
    return {label: addresses[label]}
