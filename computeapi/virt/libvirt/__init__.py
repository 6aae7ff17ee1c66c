# SPDX-License-Identifier: Apache-2.0
"""Real guests, through libvirt. Nothing outside this package imports `libvirt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from computeapi.virt.base import Hypervisor, HypervisorError


def load(*, uri: str, virt_type: str, state_dir: Path, host: str, **options: Any) -> Hypervisor:
    """The libvirt at `uri`; `options` are those of LibvirtHypervisor.

    Raises HypervisorError where libvirt's Python library is missing.
    """
    try:
        from computeapi.virt.libvirt.driver import LibvirtHypervisor
    except ImportError as error:
        raise HypervisorError(f"libvirt's Python library cannot be used: {error}") from error
    return LibvirtHypervisor(uri=uri, virt_type=virt_type, state_dir=state_dir, host=host, **options)
