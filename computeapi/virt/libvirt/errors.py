# SPDX-License-Identifier: Apache-2.0
"""The one place where libvirt's errors become ours."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from computeapi.virt.base import (
    AgentUnavailable,
    DomainNotFound,
    HypervisorBusy,
    HypervisorError,
    HypervisorGone,
    NoSpace,
    StorageBusy,
)

_GONE_CODES = {libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN}
_GONE_DOMAINS = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}
_TRANSPORT_CODES = {libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_AUTH_FAILED}
_AGENT_CODES = {libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED}
_NO_SPACE = re.compile(r"no space left on device|not enough (free )?space", re.IGNORECASE)
#: libvirt's words for a pool or volume that it is at itself; there is no code for it.
STORAGE_BUSY = re.compile(r"asynchronous jobs running|still in use|being allocated|is being used")
#: A failed program's command line is long, and what the program said comes after it: a fault's message has 255 letters.
_COMMAND = re.compile(
    r"(?:internal error: )?Child process \(.*\) unexpected (?:exit status \d+|fatal signal \d+): (?=\S)", re.DOTALL
)
_NO_AGENT = re.compile(r"guest agent", re.IGNORECASE)

#: Codes for "that is gone already", by which removals are repeatable.
MISSING = frozenset(
    {
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
    }
)


def translate(error: libvirt.libvirtError, what: str) -> HypervisorError:
    """Our error for libvirt's, in libvirt's own words after `what` was being done."""
    code, domain = error.get_error_code(), error.get_error_domain()
    words = f"{what}: {_COMMAND.sub('', error.get_error_message() or str(error)).strip()}"
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return DomainNotFound(words)
    if code in _GONE_CODES or (domain in _GONE_DOMAINS and code in _TRANSPORT_CODES):
        return HypervisorGone(words)
    if (code == libvirt.VIR_ERR_SYSTEM_ERROR and error.get_int1() == errno.ENOSPC) or _NO_SPACE.search(words):
        return NoSpace(words)
    if domain == libvirt.VIR_FROM_STORAGE and STORAGE_BUSY.search(words):
        return StorageBusy(words)
    if code == libvirt.VIR_ERR_OPERATION_TIMEOUT:  # the guest's lock is another job's: it is being saved, say
        return HypervisorBusy(words)
    if code in _AGENT_CODES or (code != libvirt.VIR_ERR_INTERNAL_ERROR and _NO_AGENT.search(words)):
        return AgentUnavailable(words)
    return HypervisorError(words)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """libvirt's errors raised inside leave as ours."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error, what) from error


@contextmanager
def unless(*codes: int) -> Iterator[None]:
    """libvirt errors with these codes raised inside are no errors: what is asked for is so already."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in codes:
            raise
