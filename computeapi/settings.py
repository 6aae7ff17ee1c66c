# SPDX-License-Identifier: Apache-2.0
"""The settings: one table (the fields of Settings), read from computeapi.conf and the environment by oslo.config.

Section and option names are those operators know from nova.conf where Nova has the like. Precedence: environment
(COMPUTEAPI_* below, or oslo.config's OS_<SECTION>__<OPTION>), then the file, then the default. The commented sample
etc/computeapi.conf.sample is made from this table.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oslo_config import cfg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError


def _option(
    default: Any,
    section: str,
    help_text: str,
    *,
    env: str = "",
    choices: tuple[str, ...] = (),
    secret: bool = False,
    least: int = 0,
    form: tuple[Callable[[str], bool], str] | None = None,
) -> Any:
    """`least`: of a number. `form`: of a text, what says whether it has it, and what that is."""
    about = {"section": section, "help": help_text, "env": env, "choices": choices, "secret": secret}
    return field(default=default, repr=not secret, metadata={**about, "least": least, "form": form})


def _is_address(text: str) -> bool:
    """Of HOST:PORT, [IPv6]:PORT."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    return bool(host) and (bracketed or ":" not in host) and port.isdecimal() and 0 < int(port) < 65536


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _is_database(text: str) -> bool:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return False
    known = {"sqlite": url.database, "postgresql": True, "postgresql+psycopg": True}
    return bool(known.get(url.drivername))


def _are_networks(text: str) -> bool:
    try:
        return all(ip_network(part.strip()) for part in text.split(","))
    except ValueError:
        return False


_ADDRESS = (_is_address, "an address and a port, such as 127.0.0.1:8774")
_DATABASE = (_is_database, "a URL such as postgresql://user:password@host/name")
_NETWORKS = (_are_networks, "networks with commas between, such as 10.0.0.0/8, fd00::/8")
_URL = (_is_url, "a URL that begins with http:// or https://")


def private(path: str, flags: int) -> int:
    """For `open(…, opener=private)`: a new file is its owner's alone (mode 0600), whatever the umask."""
    return os.open(path, flags, 0o600)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything an operator can set. Times are in seconds unless the name says otherwise."""

    state_dir: str = _option(
        "state",
        "DEFAULT",
        "Directory for the database, images, disks, console logs, keys and sockets.",
        env="COMPUTEAPI_STATE_DIR",
    )
    listen: str = _option(
        "127.0.0.1:8774", "DEFAULT", "Address and port of the API.", env="COMPUTEAPI_LISTEN", form=_ADDRESS
    )
    public_url: str = _option(
        "",
        "DEFAULT",
        "URL that clients reach the API by, without a path. Empty: what the request's Host header says.",
        form=_URL,
    )
    host: str = _option("", "DEFAULT", "Name of this compute host. Empty: the machine's host name.")
    my_ip: str = _option(
        "", "DEFAULT", "Address of this compute host, as os-hypervisors shows it. Empty: that of its way out."
    )
    debug: bool = _option(False, "DEFAULT", "Log more.")
    log_format: str = _option(
        "text", "DEFAULT", "Log lines as text or as a JSON object each.", choices=("text", "json")
    )
    log_dir: str = _option(
        "",
        "DEFAULT",
        "Directory of api.log, compute.log, console.log; renamed, they are made anew. Empty: standard error.",
        env="COMPUTEAPI_LOG_DIR",
    )
    workers: int = _option(0, "api", "API worker processes. 0: two a core.")
    threads: int = _option(4, "api", "Threads a worker process.", least=1)
    client_timeout: int = _option(
        30,
        "api",
        "How long a client may take to send a request, or pause while it sends an image or reads an answer.",
        least=1,
    )
    max_limit: int = _option(1000, "api", "The most items one page of a list has (Nova: [api] max_limit).", least=1)
    query_timeout: int = _option(
        10, "api", "How long a request waits for an answer that only the host can give.", least=1
    )
    connection: str = _option("", "database", "SQLAlchemy URL. Empty: SQLite in the state directory.", form=_DATABASE)
    retention_days: int = _option(
        0, "database", "Deleted servers, finished actions and what else is done is kept so many days. 0: for ever."
    )
    sqlite_synchronous: str = _option(
        "NORMAL",
        "database",
        "SQLite's synchronous mode. FULL survives a power cut without losing the last commits.",
        choices=("NORMAL", "FULL"),
    )
    console_listen: str = _option(
        "127.0.0.1:6080",
        "console",
        "Address and port of the console proxy.",
        env="COMPUTEAPI_CONSOLE_LISTEN",
        form=_ADDRESS,
    )
    console_base_url: str = _option(
        "",
        "console",
        "URL that browsers reach this host's console proxy by. Empty: http:// and console_listen.",
        form=_URL,
    )
    console_web_dir: str = _option(
        "",
        "console",
        "Where noVNC and the like lie (tools/lib/console-web). Empty: console-web in the state directory.",
    )
    allowed_origins: str = _option(
        "", "console", "Host names, with commas between, whose pages may open consoles beside the proxy's own."
    )
    spice: bool = _option(True, "console", "Give guests a SPICE screen beside VNC's, where this host's QEMU has SPICE.")
    token_ttl: int = _option(600, "consoleauth", "How long a console's URL is good.", least=1)
    policy_file: str = _option("policy.json", "oslo_policy", "Policy overrides, relative to the working directory.")
    hypervisor: str = _option("libvirt", "compute", "What runs the guests.", choices=("libvirt", "simulator"))
    operation_threads: int = _option(
        8,
        "compute",
        "Operations a compute service runs at once; three in four of them may be copying disks or images.",
        least=1,
    )
    max_attempts: int = _option(
        5, "compute", "How often an operation is taken up again after its process died.", least=1
    )
    heartbeat_interval: int = _option(5, "compute", "How often a compute service says that it lives.", least=1)
    service_down_time: int = _option(60, "compute", "Silence after which a compute service counts as down.", least=1)
    shutdown_timeout: int = _option(60, "compute", "How long os-stop waits for the guest before it pulls the plug.")
    reboot_timeout: int = _option(60, "compute", "How long a soft reboot waits for the guest before it resets it.")
    reclaim_instance_interval: int = _option(
        0, "compute", "Keep deleted servers this long (SOFT_DELETED) before they go. 0: delete at once."
    )
    allow_resize_to_same_host: bool = _option(
        True, "compute", "A resize may stay on the server's host, and does where there is room."
    )
    instances_path: str = _option(
        "", "compute", "Directory of this host's disks and console logs, on libvirt's host. Empty: the state directory."
    )
    resize_confirm_window: int = _option(
        0, "compute", "A resize that its owner neither confirms nor reverts is confirmed after so long. 0: never."
    )
    shelved_offload_time: int = _option(
        0, "compute", "A shelved server is taken off its host after so long. 0: at once. -1: never.", least=-1
    )
    cpu_allocation_ratio: float = _option(16.0, "compute", "Virtual CPUs a physical one may carry.")
    ram_allocation_ratio: float = _option(1.5, "compute", "Guest memory a byte of the host's may carry.")
    disk_allocation_ratio: float = _option(1.0, "compute", "Guest disk a byte of the host's may carry.")
    host_power_command: str = _option(
        "",
        "compute",
        "Program for the power of hosts, called with reboot, shutdown or startup and the host's name. Empty: none.",
    )
    instance_usage_audit_period: str = _option(
        "month", "compute", "How long a usage audit's period is: hour, day, month or year, with an offset: month@15."
    )
    cells: bool = _option(True, "cells", "Answer os-cells; else 501.")
    cell_name: str = _option("nova", "cells", "Name of the local cell: of all hosts that are in no other.")
    default_availability_zone: str = _option("nova", "compute", "Zone of hosts in no aggregate that names one.")
    connection_uri: str = _option("qemu:///system", "libvirt", "libvirt's URI.")
    migration_uri: str = _option(
        "", "libvirt", "libvirt's URI as other hosts reach it, for moves of servers. Empty: connection_uri, if remote."
    )
    live_migration_inbound_addr: str = _option(
        "", "libvirt", "Address where this host takes migrating guests. Empty: libvirt's own choice."
    )
    live_migration_completion_timeout: int = _option(
        800, "libvirt", "How long a live migration may take; then live_migration_timeout_action. 0: for ever."
    )
    live_migration_timeout_action: str = _option(
        "abort",
        "libvirt",
        "abort: the guest stays. force_complete: by post-copy where that is permitted, else the guest is paused.",
        choices=("abort", "force_complete"),
    )
    live_migration_permit_auto_converge: bool = _option(
        True, "libvirt", "Slow a guest down that changes its memory quicker than it can be sent."
    )
    live_migration_permit_post_copy: bool = _option(
        False, "libvirt", "A live migration may end by post-copy: the guest is lost where the network fails then."
    )
    live_migration_tunnelled: bool = _option(False, "libvirt", "Send guests through libvirt's own connection.")
    live_migration_bandwidth: int = _option(0, "libvirt", "The most that a live migration sends, MiB/s. 0: all it can.")
    live_migration_downtime: int = _option(
        500, "libvirt", "How long a guest may stand still at the end of its live migration, milliseconds."
    )
    virt_type: str = _option("auto", "libvirt", "auto: KVM where it works.", choices=("auto", "kvm", "qemu"))
    device_spec: str = _option(
        "", "pci", "PCI devices that os-pci shows: a JSON list of objects with vendor_id, product_id, address (with *)."
    )
    alias: str = _option(
        "",
        "pci",
        "PCI devices that flavors may ask for by `pci_passthrough:alias`: a JSON list of objects with name, vendor_id, "
        "product_id, device_type.",
    )
    api_metrics_listen: str = _option(
        "",
        "metrics",
        "Address and port of the API's Prometheus metrics, such as 127.0.0.1:9284. Empty: none.",
        form=_ADDRESS,
    )
    compute_metrics_listen: str = _option(
        "", "metrics", "Address and port of the compute service's, such as 127.0.0.1:9285. Empty: none.", form=_ADDRESS
    )
    token_expiration: int = _option(3600, "identity", "How long a token lives.", least=1)
    identity_url: str = _option(
        "", "identity", "A real Keystone's URL (…/v3). Empty: the embedded identity service answers.", form=_URL
    )
    login_attempts: int = _option(
        10, "identity", "Failed log-ins a user and address may have a minute (a process). 0: no limit."
    )
    proxies: int = _option(
        0, "identity", "Reverse proxies before the API whose X-Forwarded-For is believed when log-ins are counted."
    )
    identity_username: str = _option("computeapi", "identity", "Our user in the real Keystone; has the role service.")
    identity_password: str = _option("", "identity", "Its password.", secret=True)
    identity_project_name: str = _option("service", "identity", "The project it logs in to.")
    identity_domain_name: str = _option("Default", "identity", "The domain of that user and project.")
    identity_interface: str = _option("internal", "identity", "The Keystone endpoint that tokens are validated at.")
    identity_cafile: str = _option("", "identity", "CA certificates (PEM) for the real Keystone. Empty: the system's.")
    token_cache_time: int = _option(
        60, "identity", "How long a token that the real Keystone confirmed is not asked about again."
    )
    image_url: str = _option("", "image", "A real Glance's URL. Empty: the embedded image service answers.", form=_URL)
    volume_url: str = _option(
        "", "volume", "A real Cinder's URL (…/v3). Empty: the embedded volume service answers.", form=_URL
    )
    volume_directory: str = _option(
        "",
        "volume",
        "A directory that all hosts share, for volumes. Empty: each keeps its own, which only its guests can have.",
    )
    max_image_size_gb: int = _option(100, "image", "The largest image that may be uploaded.", least=1)
    metadata_port: int = _option(
        8775, "compute", "Port of this host that guests are led to when they ask 169.254.169.254. 0: nobody answers."
    )
    force_config_drive: bool = _option(True, "compute", "Give every server a config drive.")
    network_url: str = _option(
        "",
        "network",
        "A real Neutron's URL. Empty: the embedded network service answers, on libvirt's networks.",
        form=_URL,
    )
    vif_plugging_timeout: int = _option(
        0, "network", "How long a new server waits until the real Neutron has plugged its interfaces. 0: it does not."
    )
    vif_plugging_is_fatal: bool = _option(True, "network", "A new server that waited for that in vain is in error.")
    ovs_bridge: str = _option(
        "br-int", "network", "The hosts' Open vSwitch bridge, where the real Neutron does not name it."
    )
    dhcp_domain: str = _option("novalocal", "network", "Domain of guests' host names.")
    default_floating_pool: str = _option(
        "nova", "network", "The external network that floating IPs come from where none is named."
    )
    vpn_image_id: str = _option("", "cloudpipe", "The image of projects' VPN servers. Empty: there are none.")
    vpn_flavor: str = _option("m1.tiny", "cloudpipe", "The id of the flavor that they have.")
    public_interface: str = _option(
        "eth0", "network", "The hosts' way out, as os-floating-ips-bulk shows it where nobody said another."
    )
    allow_overlapping_ips: bool = _option(
        False,
        "network",
        "Networks may have the same addresses, though a host can have only one of them with a gateway: servers of "
        "another fail there. The simulator's may in any case.",
    )
    project_networks: str = _option(
        "10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.0.2.0/24, 192.168.0.0/16, 198.18.0.0/15, 198.51.100.0/24, "
        "203.0.113.0/24, 2001:db8::/32, fc00::/7, "
        "172.0.0.0/24, 2003::/48",  # the last two: the examples of the reference (os-tenant-networks) and of tempest
        "network",
        "Of which addresses projects may make networks with a gateway. Each host with one of these is that gateway and "
        "sends there what it has for these addresses: leave out where the cloud itself is (database, hosts, name "
        "servers). Not asked of administrators, nor by the simulator.",
        form=_NETWORKS,
    )
    vlan_interface: str = _option(
        "",
        "network",
        "The hosts' interface on which networks with a VLAN are tagged, where their bridge_interface says no other. "
        "Empty: their bridges are each host's own.",
    )
    network_namespace: str = _option(
        "", "libvirt", "Name of the network namespace that libvirt's networks are in. Empty: where libvirtd itself is."
    )
    quota_instances: int = _option(10, "quota", "Servers a project.", least=-1)
    quota_cores: int = _option(20, "quota", "Virtual CPUs a project.", least=-1)
    quota_ram: int = _option(51200, "quota", "Guest memory a project, in MiB.", least=-1)
    quota_key_pairs: int = _option(100, "quota", "Key pairs a user.", least=-1)
    quota_metadata_items: int = _option(128, "quota", "Metadata items a server or image.", least=-1)
    quota_injected_files: int = _option(5, "quota", "Personality files a server.", least=-1)
    quota_injected_file_content_bytes: int = _option(10240, "quota", "Bytes in a personality file.", least=-1)
    quota_injected_file_path_length: int = _option(255, "quota", "Characters in a personality file's path.", least=-1)
    quota_server_groups: int = _option(10, "quota", "Server groups a project.", least=-1)
    quota_server_group_members: int = _option(10, "quota", "Servers a server group.", least=-1)
    quota_volumes: int = _option(10, "quota", "Volumes a project.", least=-1)
    quota_snapshots: int = _option(10, "quota", "Snapshots of volumes a project.", least=-1)
    quota_gigabytes: int = _option(1000, "quota", "GiB of volumes and their snapshots a project.", least=-1)
    quota_fixed_ips: int = _option(-1, "quota", "Fixed IPs a project. -1: no limit.", least=-1)
    quota_floating_ips: int = _option(10, "quota", "Floating IPs a project.", least=-1)
    quota_networks: int = _option(100, "quota", "Networks a project.", least=-1)
    quota_security_groups: int = _option(10, "quota", "Security groups a project.", least=-1)
    quota_security_group_rules: int = _option(20, "quota", "Rules a security group.", least=-1)

    @property
    def state_path(self) -> Path:
        """The state directory, absolute."""
        return Path(self.state_dir).absolute()

    def log_file(self, part: str | None) -> Path | None:
        """Where a part of the program logs; None: to standard error."""
        return Path(self.log_dir).absolute() / f"{part}.log" if self.log_dir and part else None

    @property
    def path(self) -> Path:
        """The settings file in force, or where it would be."""
        return Path(os.environ.get("COMPUTEAPI_CONF") or self.state_path / "computeapi.conf")

    @property
    def may_overlap(self) -> bool:
        """Whether networks may have the same addresses."""
        return self.allow_overlapping_ips or self.hypervisor == "simulator"

    @property
    def instances_dir(self) -> Path:
        """Where this host keeps its servers' disks and console logs."""
        return Path(self.instances_path or self.state_dir).absolute()

    @property
    def database_url(self) -> str:
        """The database's URL; SQLite in the state directory unless set."""
        return self.connection or f"sqlite:///{self.state_path / 'computeapi.db'}"

    @property
    def console_url(self) -> str:
        """Where browsers reach this host's console proxy, without a slash at its end."""
        return (self.console_base_url or f"http://{self.console_listen}").rstrip("/")

    @property
    def host_name(self) -> str:
        """The name this compute host registers by."""
        return self.host or socket.gethostname()

    @property
    def host_address(self) -> str:
        """The address of this compute host. Nothing is sent to find it out."""
        if self.my_ip:
            return self.my_ip
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))
                return str(probe.getsockname()[0])
            except OSError:  # no way out
                return "127.0.0.1"

    def secret(self, name: str) -> bytes:
        """A key of our own, kept in the state directory (mode 0600) and made on first use: 32 random bytes.

        API nodes and compute services of one cloud must have the same keys; copy the directory `keys`.
        """
        path = self.state_path / "keys" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f".{name}.{secrets.token_hex(4)}")
            draft.touch(mode=0o600)
            draft.write_bytes(secrets.token_bytes(32))
            try:
                os.link(draft, path)  # the first of several processes wins
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_bytes()


_TYPES = {"str": cfg.StrOpt, "int": cfg.IntOpt, "float": cfg.FloatOpt, "bool": cfg.BoolOpt}


def list_opts() -> list[tuple[str, list[Any]]]:
    """The options by section, for oslo-config-generator."""
    sections: dict[str, list[Any]] = {}
    for item in fields(Settings):
        extra: dict[str, Any] = {"choices": list(item.metadata["choices"])} if item.metadata["choices"] else {}
        if item.type in ("int", "float"):
            extra["min"] = item.metadata["least"]
        kind = _TYPES[str(item.type)]
        option = kind(
            item.name, default=item.default, help=item.metadata["help"], secret=item.metadata["secret"], **extra
        )
        sections.setdefault(item.metadata["section"], []).append(option)
    return list(sections.items())


#: What `load` raises where the settings can't be read or have a value that is none.
Unreadable = cfg.Error


def load(
    files: list[str] | None = None, environ: Mapping[str, str] = os.environ, *, may_be_missing: bool = False
) -> Settings:
    """Settings from `files` (default: $COMPUTEAPI_CONF, or computeapi.conf in the state directory if it is there).

    Raises Unreadable, also where $COMPUTEAPI_CONF names no file: to go on without would be another cloud.
    """
    conf = cfg.ConfigOpts()
    for section, options in list_opts():
        conf.register_opts(options, group=None if section == "DEFAULT" else section)
    if files is None:
        standard = environ.get("COMPUTEAPI_CONF") or str(
            Path(environ.get("COMPUTEAPI_STATE_DIR", "state")) / "computeapi.conf"
        )
        named = bool(environ.get("COMPUTEAPI_CONF")) and not may_be_missing
        files = [standard] if named or Path(standard).exists() else []
    try:
        conf(args=[], project="computeapi", default_config_files=files)
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{files[0]}: {error}") from error
    return Settings(**{item.name: _value(conf, item, environ) for item in fields(Settings)})


def _value(conf: cfg.ConfigOpts, item: Field[Any], environ: Mapping[str, str]) -> Any:
    """What is in force of one option. Raises Unreadable."""
    about = item.metadata
    where = f"[{about['section']}] {item.name}"
    scope = conf if about["section"] == "DEFAULT" else conf[about["section"]]
    try:
        value = environ.get(about["env"]) or scope[item.name]
    except cfg.ConfigFileValueError as error:
        raise Unreadable(f"{where}: {str(error).partition('is not valid: ')[2]}") from error
    has_form, form = about["form"] or (lambda _: True, "")
    if (value or item.default) and not has_form(value):
        by = f" (${about['env']})" if environ.get(about["env"]) else ""
        shown = "what is set" if item.name == "connection" else repr(value)  # it may have a password
        raise Unreadable(f"{where}{by}: {shown} is not {form}")
    return value
