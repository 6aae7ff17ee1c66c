# SPDX-License-Identifier: Apache-2.0
"""MAC addresses that go with IP addresses."""

from __future__ import annotations

import ipaddress
import re

from computeapi.macs import mac_for


def test_unique_on_a_network_and_always_the_same() -> None:
    addresses = [str(address) for address in ipaddress.ip_network("10.0.0.0/18")]
    macs = {mac_for("net-1", address) for address in addresses}
    assert len(macs) == len(addresses)
    assert all(re.fullmatch(r"fa:16:3e(:[0-9a-f]{2}){3}", mac) for mac in macs)
    assert mac_for("net-1", "10.0.0.5") == mac_for("net-1", "10.0.0.5") != mac_for("net-2", "10.0.0.5")
    assert mac_for("net-1", "2001:db8::5").startswith("fa:16:3e")
