# SPDX-License-Identifier: Apache-2.0
"""The network namespace that libvirt's networks are in: what runs there, and our nftables tables in it.

The whole of both tables is written in one transaction: what was before is in force until the moment when what comes
after is. Nothing but these two tables, the loopback's addresses with our label, and what is in our networks' bridges is
touched.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from computeapi.virt.base import HypervisorError, HypervisorGone, NetworkSpec
from computeapi.virt.firewall import Applied, Firewall, Floating, PacketRule, find_refused, without
from computeapi.virt.libvirt import filters, listeners, nat

LOG = logging.getLogger(__name__)
Found = TypeVar("Found")
TABLE = "computeapi"
_ALIAS = "computeapi"  # of the devices that are ours to remove
_SECONDS = 30  # that a command may take
_END_SECONDS = 5.0  # that a dnsmasq may take to end
_SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtnetworkd-sock", "/run/libvirt/virtqemud-sock")
_BRIDGED = tuple(Path("/proc/sys/net/bridge", name) for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"))
_PINGS = 128  # at once
_ARGUMENTS = re.compile(r"[0-9a-fA-F.:]{2,45}")


def ruleset(firewall: Firewall) -> str:
    """Both tables, as nft reads them. Format: nft(8)."""
    inner = [
        *filters.definitions(firewall),
        *nat.definitions(firewall),
        *filters.chains(firewall),
        *nat.chains(firewall),
    ]
    return "\n".join(
        (
            *_table("inet", inner),
            *_table("bridge", list(filters.spoofing(firewall))),
            "",
        )
    )


def _table(family: str, inner: Sequence[str]) -> Iterable[str]:
    yield f"table {family} {TABLE}"  # so that there is one to delete
    yield f"delete table {family} {TABLE}"
    yield f"table {family} {TABLE} {{"
    yield from inner
    yield "}"


def _but(firewall: Firewall, missing: Container[str]) -> Firewall:
    return without(firewall, {pair for pair in firewall.floating if pair.address in missing})


class HostNetwork:
    """The namespace, found by its name or by libvirtd's socket in `uri`."""

    def __init__(self, uri: str, namespace: str = "") -> None:
        self._uri, self._namespace = uri, namespace
        self._lock = threading.Lock()
        self._applied = ""  # the tables that we wrote last
        self._had = Firewall()  # what they say
        self._missing: set[str] = set()  # floating addresses that the host could not have
        self._listed = ""  # as nft lists them since
        self._links = threading.Lock()  # a VLAN's device that is in no bridge yet is not forgotten
        self._usable: bool | None = None
        self.useless = ""  # why it may not

    def usable(self) -> bool:
        """Whether this process may filter there. Where not, the log says why, once."""
        if self._usable is None:
            try:
                self._prepare()
                self._usable = True
            except HypervisorGone:
                return False  # not now
            except HypervisorError as error:
                self.useless = f"no security groups and floating IPs on this host: {error}"
                LOG.warning("%s", self.useless)
                self._usable = False
        return self._usable

    def _prepare(self) -> None:
        if urlsplit(self._uri).netloc:
            raise HypervisorError(f"libvirt's networks are on another machine ({self._uri})")
        if not shutil.which("nft"):
            raise HypervisorError("nftables is not installed")
        self.run("nft", "list", "tables")
        if not _BRIDGED[0].exists() and shutil.which("modprobe"):
            subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True, timeout=_SECONDS)
        for path in _BRIDGED:
            if (
                self.run("cat", str(path)).strip() != "1"
            ):  # without root it was set before (etc/computeapi-compute.service)
                self.run("tee", str(path), text="1")

    def apply(self, read: Callable[[], Firewall]) -> Applied:
        """Make it so, but for what is refused. `read` is called when nobody else is at it, so that the last to read is
        the last to write."""
        with self._lock:
            firewall = read()
            asked = {pair.address for pair in firewall.floating}
            missing = {each: why for each in sorted(asked & self._missing) if (why := self._why_not(each))}
            applied = self._write(_but(firewall, missing))
            if not applied.whole:
                missing |= self._set_addresses({pair.address for pair in self._had.floating})
                if missing:  # nothing is translated for an address that the host does not have
                    self._put(_but(self._had, missing))
            self._missing = set(missing)
            return replace(applied, firewall=firewall, floating={**applied.floating, **missing})

    def _write(self, firewall: Firewall) -> Applied:
        try:
            self._put(firewall)
        except HypervisorGone:
            raise
        except HypervisorError as error:
            return self._write_the_rest(firewall, error)
        return Applied(firewall)

    def _write_the_rest(self, firewall: Firewall, error: HypervisorError) -> Applied:
        """What is refused shall not keep the others from what is theirs."""
        refused = find_refused(firewall, self._refuses)
        if refused:
            try:
                self._put(without(firewall, refused))
            except HypervisorGone:
                raise
            except HypervisorError as other:
                refused, error = {}, other
        if not refused:
            lost = [pair.address for pair in firewall.floating if pair not in self._had.floating]
            return Applied(firewall, dict.fromkeys(lost, str(error)), whole=str(error))
        return Applied(
            firewall,
            {pair.address: why for pair, why in refused.items() if isinstance(pair, Floating)},
            {rule: why for rule, why in refused.items() if isinstance(rule, PacketRule)},
        )

    def _put(self, firewall: Firewall) -> None:
        text = ruleset(firewall)
        if text != self._applied or not self._in_force():
            self._applied = ""
            self.run("nft", "-f", "-", text=text)
            self._listed = self._list()
            self._applied, self._had = text, firewall

    def _refuses(self, firewall: Firewall) -> str:
        """Why nft would not take it, or ""."""
        try:
            self.run("nft", "--check", "-f", "-", text=ruleset(firewall))
        except HypervisorGone:
            raise
        except HypervisorError as error:
            return str(error)
        return ""

    def _in_force(self) -> bool:
        """Whether both tables are still as we wrote them: somebody may have flushed or changed them."""
        try:
            return self._list() == self._listed
        except HypervisorError:
            return False  # one is gone

    def _list(self) -> str:
        return "".join(self.run("nft", "--stateless", "list", "table", family, TABLE) for family in ("inet", "bridge"))

    def _set_addresses(self, wanted: set[str]) -> dict[str, str]:
        """The loopback has these of ours and no others. Which it can't have, and why."""
        ours = self._our_addresses()
        lines = [f"addr del {address}/32 dev lo\n" for address in sorted(ours - wanted)]
        lines += [f"addr add {address}/32 dev lo label {nat.LABEL}\n" for address in sorted(wanted - ours)]
        if not lines:
            return {}
        try:
            self.run("ip", "-force", "-batch", "-", text="".join(lines))
        except HypervisorGone:
            raise
        except HypervisorError:
            left = self._our_addresses()
            if left - wanted:
                raise
            return {address: self._why_not(address) or "refused for a moment" for address in sorted(wanted - left)}
        return {}

    def _why_not(self, address: str) -> str:
        """Why the loopback can't have it, or ""."""
        try:
            self.run("ip", "addr", "add", f"{address}/32", "dev", "lo", "label", nat.LABEL)
        except HypervisorGone:
            raise
        except HypervisorError as error:
            return str(error)
        self.run("ip", "addr", "del", f"{address}/32", "dev", "lo")  # it comes behind its translation
        return ""

    def _our_addresses(self) -> set[str]:
        shown = json.loads(self.run("ip", "-j", "addr", "show", "dev", "lo") or "[]")
        return {
            entry["local"]
            for device in shown
            for entry in device.get("addr_info", ())
            if entry.get("label") == nat.LABEL
        }

    def masters(self) -> dict[str, str]:
        """The namespace's devices, each with the bridge that it is in, or ""."""
        return {link["ifname"]: link.get("master", "") for link in json.loads(self.run("ip", "-j", "link", "show"))}

    def connect(self, spec: NetworkSpec) -> None:
        """The network's bridge has its uplink and its guests' devices. Raises HypervisorError."""
        if not spec.uplink and not spec.taps:
            return
        with self._links:
            known = self.masters()
            device = spec.uplink_device
            if device and device not in known:
                self._make_vlan(spec)
            if device and known.get(device, "") not in ("", spec.bridge):
                raise HypervisorError(f"the interface {device} is in the bridge {known[device]}")
            taps = [tap for tap in spec.taps if tap in known]
            for name in [*([device] if device else []), *taps]:
                if known.get(name) != spec.bridge:
                    self.run("ip", "link", "set", "dev", name, "master", spec.bridge, "up")

    def _make_vlan(self, spec: NetworkSpec) -> None:
        if spec.vlan is None:
            raise HypervisorError(f"there is no interface {spec.uplink} on this host")
        kind = ("type", "vlan", "id", str(spec.vlan))
        self.run("ip", "link", "add", "link", spec.uplink, "name", spec.uplink_device, *kind)
        self.run("ip", "link", "set", "dev", spec.uplink_device, "alias", _ALIAS)

    def forget_vlans(self) -> None:
        """The devices of VLANs that we made are gone, where no bridge has them any more."""
        with self._links:
            for link in json.loads(self.run("ip", "-j", "link", "show")):
                if link.get("ifalias") == _ALIAS and not link.get("master"):
                    self.run("ip", "link", "del", "dev", link["ifname"])

    def end_resolver(self, network: str) -> None:
        """The dnsmasq of a network of ours that has no bridge is gone: a libvirtd that starts and misses the bridge
        forgets it, but it keeps the address."""
        mine = os.stat(self._path() or "/proc/self/ns/net").st_ino
        found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _serves(path, network, mine)]
        try:
            for pid in found:
                os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise HypervisorError(f"the old dnsmasq of {network} can't be ended: {error}") from error
        until = time.monotonic() + _END_SECONDS
        while time.monotonic() < until and any(Path(f"/proc/{pid}/exe").exists() for pid in found):
            time.sleep(0.05)

    def ping(self, addresses: Iterable[str], seconds: int) -> set[str]:
        """Those that answer an echo request within `seconds`."""
        asked = [address for address in dict.fromkeys(addresses) if _ARGUMENTS.fullmatch(address)]
        command = [*self._enter(), *(["ping"] if shutil.which("ping") else ["busybox", "ping"])]
        with ThreadPoolExecutor(_PINGS, "ping") as pool:
            done = pool.map(lambda address: _run([*command, "-c", "1", "-W", str(seconds), address]), asked)
            return {address for address, each in zip(asked, done, strict=True) if each.returncode == 0}

    def listen(self, bridges: Iterable[str], port: int, known: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
        """See Hypervisor.listen."""
        return self._inside(lambda: listeners.listen(bridges, port, known))

    def _inside(self, action: Callable[[], Found]) -> Found:
        """What `action` comes to in the namespace. A thread of its own enters it, and ends there."""
        path = self._path()
        if path is None:
            return action()
        with ThreadPoolExecutor(1, "namespace") as pool:
            return pool.submit(listeners.enter_and, path, action).result()

    def run(self, *command: str, text: str | None = None) -> str:
        """What a command says that runs in the namespace. Raises HypervisorError."""
        done = _run([*self._enter(), *command], text)
        if done.returncode != 0:
            raise HypervisorError(f"{' '.join(command)}: {done.stderr.strip()[-500:] or done.returncode}")
        return done.stdout

    def _enter(self) -> list[str]:
        """The command that goes before, where the namespace is not ours."""
        path = self._path()
        return [] if path is None else ["nsenter", f"--net={path}", "--"]

    def _path(self) -> str | None:
        """The namespace's file; None where it is this process's own.

        A libvirtd that this user may not look at counts as being in ours: for another there is the setting.
        """
        path = f"/run/netns/{self._namespace}" if self._namespace else _namespace_of(_server(self._uri))
        if path is None:
            return None
        try:
            return None if os.path.samefile(path, "/proc/self/ns/net") else path
        except OSError as error:
            if not self._namespace and isinstance(error, PermissionError | FileNotFoundError):
                return None
            raise HypervisorError(f"the network namespace {path}: {error}") from error


def _serves(path: Path, network: str, namespace: int) -> bool:
    """Whether the process of that command line is the network's dnsmasq, in that network namespace."""
    try:
        words = path.read_bytes().split(b"\0")
        is_it = words[0].endswith(b"dnsmasq") and any(
            word.startswith(b"--conf-file=") and word.endswith(f"/{network}.conf".encode()) for word in words
        )
        return is_it and path.with_name("ns").joinpath("net").stat().st_ino == namespace
    except OSError:
        return False  # it has ended, or is another user's


def _run(command: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=text, check=False, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise HypervisorError(f"{command[0]}: {error}") from error


def _server(uri: str) -> int | None:
    """The process that listens on libvirt's socket, as this process sees it; None where it cannot see it.

    Raises HypervisorGone where nobody listens.
    """
    named = parse_qs(urlsplit(uri).query).get("socket", [])
    for path in [*named, *([] if named else _SOCKETS)]:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5.0)
                connection.connect(path)
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            continue
        return int(struct.unpack("3i", credentials)[0]) or None
    raise HypervisorGone(f"nobody listens on libvirt's socket ({uri})")


def _namespace_of(pid: int | None) -> str | None:
    return None if pid is None else f"/proc/{pid}/ns/net"
