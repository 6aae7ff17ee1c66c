# SPDX-License-Identifier: Apache-2.0
"""The real Neutron that a request's handler asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from computeapi.endpoint import Call

if TYPE_CHECKING:
    from computeapi.backends.network.neutron import Neutron


def neutron_of(call: Call) -> Neutron:
    """It; only where the settings name one."""
    return cast("Neutron", call.services.neutron)
