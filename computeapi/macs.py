# SPDX-License-Identifier: Apache-2.0
"""Which MAC address an interface gets."""

from __future__ import annotations

import hashlib
import ipaddress

PREFIX = "fa:16:3e"  # OpenStack's


def mac_for(network_id: str, address: str) -> str:
    """The MAC address that goes with an IP address on a network; always the same.

    A DHCP server does not give a freed address to another MAC while the last owner's lease runs (dnsmasq: "not using
    configured address … because it is leased to …"), nor do neighbours forget it at once. With the same MAC for the
    same address a new server can have it immediately. Unique on a network of up to 2^24 addresses.
    """
    shift = int.from_bytes(hashlib.sha256(network_id.encode()).digest()[:3])
    number = (int(ipaddress.ip_address(address)) + shift) % (1 << 24)
    return f"{PREFIX}:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
