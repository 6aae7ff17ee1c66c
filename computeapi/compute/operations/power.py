# SPDX-License-Identifier: Apache-2.0
"""Switching a guest on and off, pausing and suspending it."""

from __future__ import annotations

import time
from contextlib import suppress

from computeapi import clock, states
from computeapi.compute import base_image
from computeapi.compute.operation import Operation, Step, Work
from computeapi.compute.operations.build import define, plug
from computeapi.states import PowerState
from computeapi.virt.base import DomainNotFound, HypervisorError

_ASK_AGAIN = 10.0  # seconds: a guest that was booting did not hear the first power button


def _now(work: Work, state: PowerState) -> None:
    work.landing["power_state"] = int(state)


def _is_off(work: Work) -> bool:
    return work.driver.state(work.server.uuid) in (PowerState.SHUTDOWN, PowerState.CRASHED)


def shut_down(work: Work, seconds: int) -> bool:
    """Ask the guest to power off, again now and then; False if it does not within `seconds`."""
    asked = -_ASK_AGAIN

    def off() -> bool:
        nonlocal asked
        if _is_off(work):
            return True
        if time.monotonic() - asked > _ASK_AGAIN:
            asked = time.monotonic()
            work.driver.shutdown(work.server.uuid)
        return False

    return work.wait(off, seconds)


def stop(work: Work) -> None:
    """Gracefully where the guest runs and obeys, else by pulling the plug."""
    try:
        if work.driver.state(work.server.uuid) == PowerState.RUNNING:
            shut_down(work, work.tools.settings.shutdown_timeout)
        work.driver.power_off(work.server.uuid)
    except DomainNotFound:
        if work.server.vm_state != states.ERROR:
            raise
    _now(work, PowerState.SHUTDOWN)
    work.landing["terminated_at"] = None


def power_off(work: Work) -> None:
    """Pull the plug; a guest that the host does not know is off."""
    with suppress(DomainNotFound):
        work.driver.power_off(work.server.uuid)
    _now(work, PowerState.SHUTDOWN)


def start(work: Work) -> None:
    """The guest runs."""
    try:
        work.driver.start(work.server.uuid)
    except HypervisorError:
        if not base_image.restore(work):
            raise
        work.driver.start(work.server.uuid)
    _now(work, PowerState.RUNNING)
    work.landing["launched_at"] = work.server.launched_at or clock.now()


def reboot_soft(work: Work) -> None:
    """Down by the guest's own doing; one that does not obey is switched off."""
    work.save(task_state=states.REBOOT_STARTED)
    if not shut_down(work, work.tools.settings.reboot_timeout):
        work.driver.power_off(work.server.uuid)


def power_off_known(work: Work) -> None:
    """Off, if the host knows the guest at all: hard reboot mends a guest that is missing."""
    work.save(task_state=states.REBOOT_STARTED_HARD)
    with suppress(DomainNotFound):
        work.driver.power_off(work.server.uuid)


def pause(work: Work) -> None:
    """The guest's CPUs stop."""
    work.driver.pause(work.server.uuid)
    _now(work, PowerState.PAUSED)


def unpause(work: Work) -> None:
    """The guest's CPUs go on."""
    work.driver.unpause(work.server.uuid)
    _now(work, PowerState.RUNNING)


def suspend(work: Work) -> None:
    """The guest's memory goes to disk."""
    work.driver.suspend(work.server.uuid)
    _now(work, PowerState.SUSPENDED)


_PLUG = Step("network", plug)
_START = Step("start", start)

START = Operation((_PLUG, _START))
STOP = Operation((Step("stop", stop),))
SOFT_DELETE = Operation((Step("power_off", power_off),))
REBOOT_SOFT = Operation((Step("shutdown", reboot_soft), _PLUG, _START))
REBOOT_HARD = Operation((Step("power_off", power_off_known), _PLUG, Step("define", define), _START))
PAUSE = Operation((Step("pause", pause),))
UNPAUSE = Operation((Step("unpause", unpause),))
SUSPEND = Operation((Step("suspend", suspend),))
RESUME = Operation((_PLUG, _START))
