# SPDX-License-Identifier: Apache-2.0
"""Tempest, OpenStack's acceptance suite, against a cloud of its own on the simulator.

python -m tests.clients.acceptance [--concurrency N] REGEX...        (tools/tempest installs what it needs)
"""

from __future__ import annotations

import argparse
import configparser
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from computeapi import versions
from computeapi.api.network.discovery import EXTENSIONS
from tests.clients.clouds import REPOSITORY, Cloud

TEMPEST = REPOSITORY / ".venv-tempest"
PASSWORD = "acceptance"


class PairCloud(Cloud):
    """A cloud with a second host, for what moves servers."""

    second: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Both hosts."""
        super().start()
        with open(self.state / "second.log", "ab") as log:
            command = [sys.executable, "-m", "computeapi", "compute", "--host", "second"]
            self.second = subprocess.Popen(command, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log)
        self.wait_for(lambda: len(self.show("hypervisor", "list")) == 2, "the second host is ready", 90)

    def stop(self) -> None:
        """Both hosts."""
        if self.second is not None:
            self.second.terminate()
            self.second.wait(60)
            self.second = None
        super().stop()


def new_cloud(state: Path) -> Cloud:
    """A cloud on the simulator that tempest can work with: two hosts with the same volumes, a second image, a network
    that leads out."""
    os.environ["COMPUTEAPI_ADMIN_PASSWORD"] = PASSWORD
    settings = {"OS_VOLUME__VOLUME_DIRECTORY": str(state / "volumes")}
    cloud = PairCloud(state, ["--hypervisor", "simulator"], settings=settings)
    cloud.start()
    empty = state / "empty.raw"
    empty.write_bytes(bytes(2**20))
    agent = "hw_qemu_guest_agent=yes"
    cloud.openstack("image", "create", "tiny2", "--file", str(empty), "--public", "--property", agent)
    cloud.openstack("network", "create", "public", "--external")
    cloud.openstack("subnet", "create", "public", "--network", "public", "--subnet-range", "172.24.4.0/24", "--no-dhcp")
    return cloud


def write_conf(cloud: Cloud) -> Path:
    """tempest.conf for that cloud. False is said of what the simulator can't do, and only of that."""
    state = cloud.state
    options: dict[str, dict[str, Any]] = {
        "oslo_concurrency": {"lock_path": state / "tempest-locks"},
        "auth": {
            "admin_username": "admin",
            "admin_password": PASSWORD,
            "admin_project_name": "admin",
            "admin_domain_name": "Default",
        },
        "identity": {
            "uri_v3": f"{cloud.url}/identity/v3",
            "auth_version": "v3",
            "region": "RegionOne",
            "v3_endpoint_type": "public",
        },
        "identity-feature-enabled": {"access_rules": False, "trust": False, "domain_specific_drivers": False},
        "service_available": {"nova": True, "glance": True, "neutron": True, "cinder": True, "swift": False},
        "compute": {
            "image_ref": cloud.show("image", "show", "tiny")["id"],
            "image_ref_alt": cloud.show("image", "show", "tiny2")["id"],
            "flavor_ref": "0",
            "flavor_ref_alt": "1",
            "build_interval": 1,
            "build_timeout": 60,
            "min_compute_nodes": 2,
            "fixed_network_name": "private",
            "min_microversion": versions.MIN,
            "max_microversion": versions.MAX,
        },
        "compute-feature-enabled": {
            "change_password": True,
            "personality": True,
            "serial_console": True,
            "vnc_console": False,
            "metadata_service": True,
            "resize": True,
            "block_migration_for_live_migration": True,
            "volume_backed_live_migration": True,
            "live_migrate_back_and_forth": True,
            "swap_volume": True,
            "scheduler_enabled_filters": "all",
            "attach_encrypted_volume": False,
        },
        "image-feature-enabled": {"import_image": False},
        "network": {
            "public_network_id": cloud.show("network", "show", "public")["id"],
            "floating_network_name": "public",
        },
        "network-feature-enabled": {"api_extensions": ",".join(sorted(EXTENSIONS))},
        "validation": {"run_validation": False},
        "volume": {
            "disk_format": "qcow2",
            "min_microversion": versions.VOLUME_MIN,
            "max_microversion": versions.VOLUME_MAX,
            "vendor_name": "computeapi",
            "storage_protocol": "file",
        },
        "volume-feature-enabled": {"backup": False},
    }
    conf = configparser.ConfigParser(interpolation=None)
    conf.read_dict({name: {key: str(value) for key, value in values.items()} for name, values in options.items()})
    path = state / "tempest.conf"
    with path.open("w") as file:
        conf.write(file)
    return path


def run(
    cloud: Cloud, conf: Path, regexes: list[str], concurrency: int = 2, **more: Any
) -> subprocess.CompletedProcess[str]:
    """The tests whose names one of these finds."""
    site = next((TEMPEST / "lib").glob("python3*/site-packages"))
    suite = ["--test-path", str(site / "tempest" / "test_discover"), "--top-dir", str(site)]
    return subprocess.run(
        [str(TEMPEST / "bin" / "stestr"), *suite, "run", "--concurrency", str(concurrency), *regexes],
        cwd=cloud.state,
        env={**os.environ, "TEMPEST_CONFIG_DIR": str(conf.parent), "TEMPEST_CONFIG": conf.name},
        check=False,
        text=True,
        **more,
    )


def main() -> int:
    """Exit code of the run."""
    parser = argparse.ArgumentParser(prog="tools/tempest", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("regex", nargs="+", help="which tests: tempest.api.compute.flavors, …")
    parser.add_argument("--concurrency", type=int, default=2, metavar="N", help="so many at a time (default 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tempest-") as directory:
        cloud = new_cloud(Path(directory) / "state")
        try:
            return run(cloud, write_conf(cloud), options.regex, options.concurrency).returncode
        finally:
            cloud.stop()


if __name__ == "__main__":
    sys.exit(main())
