# SPDX-License-Identifier: Apache-2.0
"""libvirt's errors as ours."""

from __future__ import annotations

import errno
from pathlib import Path

import libvirt
import pytest

from computeapi.states import PowerState
from computeapi.virt import load
from computeapi.virt.base import AgentUnavailable, DomainNotFound, HypervisorError, HypervisorGone, NoSpace
from computeapi.virt.libvirt.errors import translate
from computeapi.virt.libvirt.guest import power_state


def error(code: int, words: str = "in libvirt's words", domain: int = 10, number: int = 0) -> libvirt.libvirtError:
    made = libvirt.libvirtError("a call failed")
    made.err = (code, domain, words, 2, None, None, None, number, 0)
    return made


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        (error(libvirt.VIR_ERR_NO_DOMAIN), DomainNotFound),
        (error(libvirt.VIR_ERR_RPC), HypervisorGone),
        (error(libvirt.VIR_ERR_SYSTEM_ERROR, domain=libvirt.VIR_FROM_RPC), HypervisorGone),
        (error(libvirt.VIR_ERR_INTERNAL_ERROR, domain=libvirt.VIR_FROM_RPC), HypervisorGone),
        (error(libvirt.VIR_ERR_SYSTEM_ERROR, number=errno.ENOSPC), NoSpace),
        (error(libvirt.VIR_ERR_INTERNAL_ERROR, "qemu: write failed: No space left on device"), NoSpace),
        (error(libvirt.VIR_ERR_AGENT_UNRESPONSIVE), AgentUnavailable),
        (error(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured"), AgentUnavailable),
        (error(libvirt.VIR_ERR_OPERATION_INVALID), HypervisorError),
        (error(libvirt.VIR_ERR_INTERNAL_ERROR), HypervisorError),
    ],
)
def test_translate(given: libvirt.libvirtError, ours: type[HypervisorError]) -> None:
    made = translate(given, "guest 1: starting")
    assert type(made) is ours
    assert str(made) == f"guest 1: starting: {given.get_error_message()}"


def test_a_command_line_does_not_hide_the_reason() -> None:
    told = "internal error: Child process (/usr/bin/qemu-img create -f qcow2 -o compat=0.10 /disks/x 1024K) unexpected "
    told += "exit status 1: qemu-img: /disks/x: Could not write qcow2 header: No space left on device\n"
    made = translate(error(libvirt.VIR_ERR_INTERNAL_ERROR, told), "making the disk x")
    assert type(made) is NoSpace
    words = "making the disk x: qemu-img: /disks/x: Could not write qcow2 header: No space left on device"
    assert str(made) == words


@pytest.mark.parametrize(
    ("state", "reason", "saved", "ours"),
    [
        ("RUNNING", 1, False, PowerState.RUNNING),
        ("BLOCKED", 0, False, PowerState.RUNNING),
        ("PAUSED", libvirt.VIR_DOMAIN_PAUSED_USER, False, PowerState.PAUSED),
        ("PAUSED", libvirt.VIR_DOMAIN_PAUSED_IOERROR, False, PowerState.PAUSED),
        ("PAUSED", libvirt.VIR_DOMAIN_PAUSED_SAVE, False, PowerState.RUNNING),
        ("PAUSED", libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, False, PowerState.RUNNING),
        ("SHUTDOWN", 1, False, PowerState.RUNNING),
        ("SHUTOFF", 0, False, PowerState.SHUTDOWN),
        ("SHUTOFF", libvirt.VIR_DOMAIN_SHUTOFF_SAVED, True, PowerState.SUSPENDED),
        ("CRASHED", 0, False, PowerState.CRASHED),
        ("PMSUSPENDED", 0, False, PowerState.SUSPENDED),
        ("NOSTATE", 0, False, PowerState.NOSTATE),
    ],
)
def test_power_state(state: str, reason: int, saved: bool, ours: PowerState) -> None:
    assert power_state(getattr(libvirt, f"VIR_DOMAIN_{state}"), reason, saved) == ours


def test_no_libvirtd(tmp_path: Path) -> None:
    uri = f"qemu+unix:///system?socket={tmp_path}/none"
    driver = load("libvirt", uri=uri, virt_type="qemu", state_dir=tmp_path / "state", host="h")
    for call in (driver.host_info, driver.list_guests, driver.list_volumes, lambda: driver.watch(print)):
        with pytest.raises(HypervisorGone, match="none"):
            call()
    driver.close()
