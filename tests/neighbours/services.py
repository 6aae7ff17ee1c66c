# SPDX-License-Identifier: Apache-2.0
"""A real Keystone, Glance, Neutron and Cinder from PyPI, on loopback ports; their databases are files of the test's."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.clients.clouds import REPOSITORY
from tests.ports import free_port

BIN = REPOSITORY / ".venv-neighbours" / "bin"
SERVE = Path(__file__).with_name("serve.py")
INSIDE = Path(__file__).with_name("inside")  # what runs in Python of .venv-neighbours, inside the services
PASSWORD = "neighbours"

_KEYSTONE = """
[DEFAULT]
log_file = {directory}/keystone.log
[database]
connection = sqlite:///{directory}/keystone.db
[fernet_tokens]
key_repository = {directory}/fernet
[credential]
key_repository = {directory}/credential
[cache]
enabled = false
[identity]
password_hash_rounds = 4
"""
_GLANCE = """
[DEFAULT]
log_file = {directory}/glance.log
enabled_backends = files:file
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[database]
connection = sqlite:///{directory}/glance.db
[paste_deploy]
flavor = keystone
config_file = {environment}/etc/glance/glance-api-paste.ini
[oslo_policy]
policy_file = {directory}/none.yaml
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
token_cache_time = -1
"""
_NEUTRON = """
[DEFAULT]
log_file = {directory}/neutron.log
state_path = {directory}/neutron
api_paste_config = {environment}/etc/neutron/api-paste.ini
auth_strategy = keystone
core_plugin = ml2
service_plugins = router
transport_url = fake://
dhcp_agent_notification = false
notify_nova_on_port_status_changes = {events}
notify_nova_on_port_data_changes = {events}
send_events_interval = 1
[oslo_concurrency]
lock_path = {directory}/neutron
[database]
connection = sqlite:///{directory}/neutron.db
[ml2]
type_drivers = flat,vlan,vxlan,local
project_network_types = vxlan
mechanism_drivers = bind_anywhere
extension_drivers = port_security,dns
[ml2_type_flat]
flat_networks = *
[ml2_type_vlan]
network_vlan_ranges = physnet1:100:199
[ml2_type_vxlan]
vni_ranges = 1:1000
[oslo_policy]
policy_file = {directory}/none.yaml
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = neutron
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
token_cache_time = 60
[nova]
auth_url = {keystone}
auth_type = password
username = neutron
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne
endpoint_type = public
"""
_CINDER = """
[DEFAULT]
log_file = {directory}/cinder.log
state_path = {directory}/cinder
host = cinder
api_paste_config = {environment}/etc/cinder/api-paste.ini
resource_query_filters_file = {environment}/etc/cinder/resource_filters.json
auth_strategy = keystone
transport_url = fake://
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {port}
osapi_volume_workers = 1
enabled_backends = files,fake
default_volume_type = files
report_interval = 2
glance_api_servers = {glance}
[files]
volume_driver = files.FilesDriver
volume_backend_name = files
nfs_shares_config = {directory}/shares
nfs_mount_point_base = {directory}/volumes
nfs_snapshot_support = true
nas_secure_file_operations = false
nas_secure_file_permissions = false
[fake]
volume_driver = cinder.tests.fake_driver.FakeLoggingVolumeDriver
volume_backend_name = fake
[oslo_concurrency]
lock_path = {directory}/cinder
[database]
connection = sqlite:///{directory}/cinder.db
[oslo_policy]
policy_file = {directory}/none.yaml
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = cinder
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
token_cache_time = 60
service_token_roles = service
service_token_roles_required = true
[nova]
auth_url = {keystone}
auth_type = password
username = cinder
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne
interface = public
"""


@dataclass
class Neighbours:
    """Start what is needed, then `close()`."""

    directory: Path
    keystone_port: int = field(default_factory=free_port)
    glance_port: int = field(default_factory=free_port)
    neutron_port: int = field(default_factory=free_port)
    cinder_port: int = field(default_factory=free_port)
    compute_port: int = field(default_factory=free_port)  # our own
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def keystone(self) -> str:
        """Keystone's URL."""
        return f"http://127.0.0.1:{self.keystone_port}/v3"

    @property
    def glance(self) -> str:
        """Glance's URL."""
        return f"http://127.0.0.1:{self.glance_port}"

    @property
    def neutron(self) -> str:
        """Neutron's URL, without /v2.0."""
        return f"http://127.0.0.1:{self.neutron_port}"

    @property
    def cinder(self) -> str:
        """Cinder's URL."""
        return f"http://127.0.0.1:{self.cinder_port}/v3"

    @property
    def volumes(self) -> Path:
        """Where Cinder's backend `files` keeps volumes, as a mount of NFS would show them on each host."""
        return self.directory / "volumes"

    def start_keystone(self) -> None:
        """With the user admin, whose password is PASSWORD."""
        config = self._write("keystone.conf", _KEYSTONE)
        for name in ("fernet", "credential"):
            (self.directory / name).mkdir(mode=0o700)
        manage = ("keystone-manage", "--config-file", str(config))
        owner = ("--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
        self._run(*manage, "db_sync")
        self._run(*manage, "fernet_setup", *owner)
        self._run(*manage, "credential_setup", *owner)
        urls = [part for kind in ("public", "internal", "admin") for part in (f"--bootstrap-{kind}-url", self.keystone)]
        region = ("--bootstrap-region-id", "RegionOne")
        self._run(*manage, "bootstrap", "--bootstrap-password", PASSWORD, *urls, *region)
        self._serve("keystone.wsgi.api", self.keystone_port, {"OS_KEYSTONE_CONFIG_FILES": str(config)}, self.keystone)

    def start_glance(self) -> None:
        """Asks that Keystone as its user glance, which must be there before the first request with a token."""
        config = self._write("glance-api.conf", _GLANCE)
        for name in ("images", "staging", "tasks"):
            (self.directory / name).mkdir()
        self._run("glance-manage", "--config-file", str(config), "db_sync")
        self._serve("glance.wsgi.api", self.glance_port, {"OS_GLANCE_CONFIG_DIR": str(self.directory)}, self.glance)

    def start_neutron(self, *, events: bool = False) -> None:
        """Asks that Keystone as its user neutron. ML2, whose ports are bound at once on every host (inside/binding.py),
        and routers and floating IPs as rows: no agent runs, and no packet flows. With `events` it tells the compute
        service of Keystone's catalog of ports that were plugged (os-server-external-events)."""
        config = self._write("neutron.conf", _NEUTRON, events=str(events).lower())
        (self.directory / "neutron").mkdir()
        self._run("python", str(INSIDE / "neutron_tables.py"), f"sqlite:///{self.directory}/neutron.db")
        self._plugin("neutron.ml2.mechanism_drivers", "bind_anywhere", "binding:BindAnywhere")
        environment = {"OS_NEUTRON_CONFIG_FILES": str(config), "PYTHONPATH": f"{INSIDE}:{self.directory}/plugins"}
        self._serve("neutron.wsgi.api", self.neutron_port, environment, self.neutron)

    def start_cinder(self) -> None:
        """Asks that Keystone as its user cinder. Its API, scheduler and volume service are one process
        (inside/cinder_services.py), with two backends: `files` (NFS's driver, whose share is a directory:
        inside/files.py) and `fake` (Cinder's own for tests, whose volumes nobody can reach)."""
        config = self._write("cinder.conf", _CINDER, port=str(self.cinder_port), glance=self.glance)
        for path in (self.directory / "cinder", self.volumes):
            path.mkdir()
        (self.directory / "shares").write_text("127.0.0.1:/volumes\n")
        self._run("cinder-manage", "--config-file", str(config), "db", "sync")
        command = [str(INSIDE / "cinder_services.py"), "--config-file", str(config)]
        self._begin("cinder", command, {"PYTHONPATH": str(INSIDE)}, f"http://127.0.0.1:{self.cinder_port}/")

    def close(self) -> None:
        """All end."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(30)

    def _write(self, name: str, text: str, **more: str) -> Path:
        path = self.directory / name
        about = {"directory": self.directory, "environment": BIN.parent, "keystone": self.keystone}
        path.write_text(text.format(**about, password=PASSWORD, **more))
        return path

    def _plugin(self, group: str, name: str, where: str) -> None:
        """An entry point, as a package of that name would bring it."""
        about = self.directory / "plugins" / f"neighbours_{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: neighbours-{name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {where}\n")

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run([BIN / name, *arguments], check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{name} {arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"

    def _serve(self, module: str, port: int, environment: dict[str, str], url: str) -> None:
        self._begin(module, [str(SERVE), module, str(port)], environment, url)

    def _begin(self, name: str, command: list[str], environment: dict[str, str], url: str) -> None:
        """A program in Python of .venv-neighbours, which soon answers at the URL."""
        log = self.directory / f"{name}.out"
        path = {"PATH": f"{BIN}:{os.environ['PATH']}"}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [BIN / "python", *command], env={**os.environ, **path, **environment}, stdout=output, stderr=output
            )
        self._running.append(process)
        until = time.monotonic() + 180
        while not _answers(url):
            if time.monotonic() > until or process.poll() is not None:
                pytest.fail(f"{name} does not answer: {log.read_text()[-3000:]}")
            time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.HTTPError as error:
        return error.code == 300
    except OSError:
        return False
    return True
