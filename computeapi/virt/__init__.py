# SPDX-License-Identifier: Apache-2.0
"""What runs the guests. `load()` makes the implementation that the setting `[compute] hypervisor` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from computeapi.virt.base import Hypervisor


def load(kind: str, *, uri: str, virt_type: str, state_dir: Path | None, host: str, **options: Any) -> Hypervisor:
    """The hypervisor of one compute host.

    `kind` is "libvirt" or "simulator"; `uri` is libvirt's (the simulator has none); `virt_type` is "auto", "kvm" or
    "qemu"; `state_dir` is where disks and console logs (or the simulator's guests) are kept, None is a simulator in
    memory only; `host` names the compute host. `options` go to the implementation's constructor.

    Raises HypervisorError where a library is missing, ValueError for an unknown kind.
    """
    if kind == "simulator":
        from computeapi.virt.simulator import SimulatedHypervisor

        return SimulatedHypervisor(host, state_dir=state_dir, **options)
    if kind == "libvirt":
        if state_dir is None:
            raise ValueError("the libvirt hypervisor needs a state directory")
        # Here and not above, so that the simulator runs where libvirt's library is not installed.
        from computeapi.virt.libvirt import load as load_libvirt

        return load_libvirt(uri=uri, virt_type=virt_type, state_dir=state_dir, host=host, **options)
    raise ValueError(f"unknown hypervisor {kind!r}: expected 'libvirt' or 'simulator'")
