# SPDX-License-Identifier: Apache-2.0
"""Floating IPs and the way out, as nftables: libvirt's own NAT lets nothing in, so networks are `open`.

The addresses themselves stand on the host's loopback with a label of ours: it answers for them on every link.
"""

from __future__ import annotations

from collections.abc import Iterator

from computeapi.virt.firewall import Firewall
from computeapi.virt.libvirt.filters import METADATA, distinct, elements

LABEL = "lo:fip"  # of the addresses that are ours to remove


def definitions(firewall: Firewall) -> Iterator[str]:
    """Sets and maps of the table inet."""
    pairs = firewall.floating
    inward = elements(f"{pair.address} : {pair.fixed}" for pair in pairs)
    outward = elements(f"{pair.fixed} : {pair.address}" for pair in pairs)
    yield f"map fixed {{ type ipv4_addr : ipv4_addr;{inward} }}"
    yield f"map floating {{ type ipv4_addr : ipv4_addr;{outward} }}"
    inside = distinct(network.cidr for network in firewall.networks if network.cidr)
    yield f"set inside {{ type ipv4_addr; flags interval;{elements(inside)} }}"


def chains(firewall: Firewall) -> Iterator[str]:
    """The chains that translate: in, from the host itself, and out."""
    port = firewall.metadata_port
    asked = f"  iifname @bridges ip daddr {METADATA} tcp dport 80 redirect to :{port}\n" if port else ""
    yield f"chain pre {{\n  type nat hook prerouting priority dstnat;\n{asked}  dnat ip to ip daddr map @fixed\n}}"
    yield "chain own {\n  type nat hook output priority -100;\n  dnat ip to ip daddr map @fixed\n}"
    yield (
        "chain post {\n  type nat hook postrouting priority srcnat;\n"
        # A guest that asks for another's floating address: the answer has to come back this way.
        "  ct status dnat snat ip to ip saddr map @floating\n"
        "  ct status dnat ip saddr @inside masquerade\n"
        "  ip saddr @inside ip daddr @inside return\n"
        "  ip saddr @inside ip daddr 224.0.0.0/4 return\n"
        "  ip saddr @inside ip daddr 255.255.255.255 return\n"
        "  snat ip to ip saddr map @floating\n"
        "  ip saddr @inside masquerade\n}"
    )
