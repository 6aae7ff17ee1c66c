# SPDX-License-Identifier: Apache-2.0
"""What a guest of libvirt's is not asked to do."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from computeapi.virt.base import HypervisorError
from computeapi.virt.libvirt.guest import Guest


class Domain:
    """A virDomain that stands still."""

    def __init__(self, reason: int) -> None:
        self.reason, self.resumed = reason, False

    def state(self, _flags: int) -> tuple[int, int]:
        """Paused."""
        return libvirt.VIR_DOMAIN_PAUSED, self.reason

    def resume(self) -> None:
        """It goes on."""
        self.resumed = True

    def agentSetResponseTimeout(self, _seconds: int, _flags: int) -> None:
        """No agent is there."""
        raise libvirt.libvirtError("no agent")

    def UUIDString(self) -> str:
        """An id."""
        return "00000000-0000-4000-8000-000000000000"


def unpaused(reason: int) -> Any:
    """A guest that stood still for this reason, after it was let go on."""
    domain = Domain(reason)
    Guest(domain).unpause()
    return domain


def test_a_guest_that_stands_still_goes_on() -> None:
    for reason in (libvirt.VIR_DOMAIN_PAUSED_USER, libvirt.VIR_DOMAIN_PAUSED_IOERROR):
        assert unpaused(reason).resumed


def test_what_went_on_elsewhere_does_not_go_on_here() -> None:
    """Its memory and disks are the other host's since: two would write to them."""
    for reason in (libvirt.VIR_DOMAIN_PAUSED_POSTCOPY, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED):
        with pytest.raises(HypervisorError, match="can't go on here"):
            unpaused(reason)
