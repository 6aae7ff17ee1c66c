# SPDX-License-Identifier: Apache-2.0
"""Values that the tests of virt share."""

from __future__ import annotations

import struct

from computeapi.virt.base import DhcpHost, NetworkSpec

UUID = "0b5bd5a6-7a2f-4f7c-9c6c-0d8a3f1c2b10"
#: What a user may call a server: markup, quotes, line breaks, characters that XML cannot hold, paths, other scripts.
NASTY = "\"><&'</title><devices/>\n\x00\x1b ../../etc/passwd --flag $(id) \u00fc\u4e2d\U0001f600"

_NETWORK_ID = "7f2d1a52-5a0e-4f64-a4c5-2d0f8b1e9c11"
NETWORKS = {
    "nat": NetworkSpec(
        "net-7f2d1a52-5a",
        _NETWORK_ID,
        "br7f2d1a52-5a",
        "10.0.0.0/24",
        "10.0.0.1",
        domain="novalocal",
        dns=("192.0.2.53",),
        hosts=(
            DhcpHost("fa:16:3e:00:00:01", "10.0.0.5", "web"),
            DhcpHost("fa:16:3e:00:00:02", "10.0.0.6", "web"),
            DhcpHost("fa:16:3e:00:00:03", "10.0.0.7", "no host's name"),
        ),
    ),
    "open": NetworkSpec("net-open", _NETWORK_ID, "br-open", "10.1.0.0/16", "10.1.0.1", forward="open", mtu=1400),
    "closed": NetworkSpec(
        "net-closed", _NETWORK_ID, "br-closed", "10.2.0.0/28", "10.2.0.1", dhcp=False, forward="none"
    ),
    "served": NetworkSpec("net-served", _NETWORK_ID, "br-served", "10.3.0.0/28", "10.3.0.2", router="10.3.0.1"),
}


def qcow2_header(
    *, version: int = 3, size: int = 1 << 20, backing: bytes = b"", features: int = 0, encryption: int = 0
) -> bytes:
    """The first bytes of a qcow2 image that says these things of itself."""
    at = 512 if backing else 0
    start = struct.pack(">4sIQIIQI", b"QFI\xfb", version, at, len(backing), 16, size, encryption)
    rest = struct.pack(">Q", features) if version > 2 else b""
    return (start.ljust(72, b"\0") + rest).ljust(512, b"\0") + backing.ljust(512, b"\0")
