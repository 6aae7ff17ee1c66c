# SPDX-License-Identifier: Apache-2.0
"""What the API asks a host while a client waits."""

from __future__ import annotations

from typing import Any

from computeapi.compute.operation import Work


def console_output(work: Work) -> str:
    """The end of the guest's serial console."""
    return work.driver.console_output(work.server.uuid, work.entry.payload.get("lines"))


def check_console(work: Work) -> None:
    """Whether the guest has a console of that kind now."""
    work.driver.check_console(work.server.uuid, work.entry.payload["kind"])


def diagnostics(work: Work) -> dict[str, Any]:
    """The hypervisor's figures of the guest."""
    return work.driver.diagnostics(work.server.uuid)


def set_password(work: Work) -> None:
    """Set the administrator's password in the guest, by its agent."""
    work.driver.set_password(work.server.uuid, work.entry.payload["user"], work.entry.payload["password"])
