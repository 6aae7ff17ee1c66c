# SPDX-License-Identifier: Apache-2.0
"""A mechanism driver for Neutron's ML2 that binds each port at once, as if an agent on its host had done so."""

from __future__ import annotations

from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class BindAnywhere(api.MechanismDriver):  # type: ignore[misc]
    """By a bridge `brq…`, as with Linux bridges. The host `unbindable` reaches no network, all others each."""

    def initialize(self) -> None:
        """Nothing to prepare."""

    @property
    def connectivity(self) -> str:
        """Ethernet."""
        return str(portbindings.CONNECTIVITY_L2)

    def bind_port(self, context: Any) -> None:
        """Bind it, ACTIVE."""
        if context.host == "unbindable":
            return
        details = {portbindings.CAP_PORT_FILTER: True, "bridge_name": f"brq{context.current['network_id'][:11]}"}
        for segment in context.segments_to_bind:
            context.set_binding(
                segment[api.ID], portbindings.VIF_TYPE_BRIDGE, details, status=constants.PORT_STATUS_ACTIVE
            )
            return
