# SPDX-License-Identifier: Apache-2.0
"""Real guests, through libvirt. Nothing outside this package imports `libvirt`."""

from __future__ import annotations

from pathlib import Path

from computeapi.virt.base import Hypervisor, HypervisorError


def load(
    *,
    uri: str,
    virt_type: str,
    state_dir: Path,
    host: str,
    pool: str = "computeapi",
    network_namespace: str = "",
    spice: bool = True,
    volume_directory: str = "",
) -> Hypervisor:
    """The libvirt at `uri`, with its disks in the storage pool `pool`, and its networks in that network namespace
    (empty: where libvirtd is). `spice`: guests have a SPICE screen as well. Volumes are in `volume_directory`, which
    other hosts share (empty: among its disks).

    Raises HypervisorError where libvirt's Python library is missing.
    """
    try:
        from computeapi.virt.libvirt.driver import LibvirtHypervisor
    except ImportError as error:
        raise HypervisorError(f"libvirt's Python library cannot be used: {error}") from error
    return LibvirtHypervisor(
        uri=uri,
        virt_type=virt_type,
        state_dir=state_dir,
        host=host,
        pool=pool,
        network_namespace=network_namespace,
        spice=spice,
        volume_directory=volume_directory,
    )
