# SPDX-License-Identifier: Apache-2.0
"""Networks: embedded, rows of our own and libvirt's networks; or a real Neutron (setting [network] network_url).

The seam is not an interface with two sides: what a server has (networks, subnets, ports, addresses) is in the same rows
either way. With the embedded network they are the truth; with a Neutron they are what it said last, so that lists, the
metadata service and config drives ask nobody. `ports` does for a server what Neutron has to be asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from computeapi.settings import Settings

if TYPE_CHECKING:
    from computeapi.backends.network.neutron import Neutron


def load(settings: Settings) -> Neutron | None:
    """The Neutron that the settings name; None: the network is embedded."""
    if not settings.network_url:
        return None
    from computeapi.backends.network.neutron import Neutron  # keystoneauth1 takes 0.3 s to import
    from computeapi.backends.service_user import service_token

    return Neutron(settings.network_url, service_token(settings))
