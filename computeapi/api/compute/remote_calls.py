# SPDX-License-Identifier: Apache-2.0
"""The real Neutron that a request's handler asks, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from computeapi.endpoint import Call

if TYPE_CHECKING:
    from computeapi.backends.network.neutron import Neutron


def is_remote(call: Call) -> bool:
    """Whether the networks are a real Neutron's."""
    return call.services.neutron is not None


def neutron_of(call: Call) -> Neutron:
    """It; only where the settings name one."""
    return cast("Neutron", call.services.neutron)
