# SPDX-License-Identifier: Apache-2.0
"""A Neutron in this process, with checkpoints before and after each request; and a World whose networks are there."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors, lifecycle
from computeapi.backends.network import ports
from computeapi.backends.network.neutron import Neutron
from computeapi.compute.operation import Tools
from computeapi.context import Context
from computeapi.db.queries import network_cache
from computeapi.db.queries.network_cache import Place
from computeapi.db.queries.servers import ServerRow, change
from computeapi.states import ERROR, SHELVED
from tests.journal.world import PROJECT, SECRETS, Checkpoints, Snapshot, Trace, World

NETWORK, SUBNET = str(uuid.uuid4()), str(uuid.uuid4())
BROUGHT = str(uuid.uuid4())  # the port that its user made
STATE = "neutron"  # its name in a snapshot
Rows = dict[str, dict[str, Any]]


class Store:
    """What the Neutron knows, by noun and id. The id of a port follows from the key it was made with."""

    def __init__(self) -> None:
        self.rows: dict[str, Rows] = {
            "network": {NETWORK: {"id": NETWORK, "name": "theirs", "mtu": 1400, "subnets": [SUBNET], "shared": True}},
            "subnet": {
                SUBNET: {
                    "id": SUBNET,
                    "cidr": "10.9.0.0/24",
                    "gateway_ip": "10.9.0.1",
                    "enable_dhcp": True,
                    "dns_nameservers": [],
                }
            },
            "security_group": {},
            "floatingip": {},
            "port": {},
        }
        self.add(BROUGHT, {"network_id": NETWORK, "project_id": PROJECT})

    def add(self, port_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """A port with the lowest address that is free."""
        taken = {port["fixed_ips"][0]["ip_address"] for port in self.rows["port"].values()}
        last = next(number for number in range(2, 250) if f"10.9.0.{number}" not in taken)
        port = {
            "id": port_id,
            "mac_address": f"fa:16:3e:00:00:{last:02x}",
            "fixed_ips": [{"subnet_id": SUBNET, "ip_address": f"10.9.0.{last}"}],
            "device_id": "",
            "binding:host_id": "",
            "status": "ACTIVE",
            "security_groups": [],
            **values,
        }
        port["binding:vif_type"] = "ovs" if port["binding:host_id"] else "unbound"
        self.rows["port"][port_id] = port
        return port


class WatchedNeutron(Neutron):
    """The client of that Neutron that an owner has. A killed owner asks for nothing more."""

    def __init__(self, store: Store, checkpoint: Checkpoints | None = None) -> None:
        self._store, self._checkpoint = store, checkpoint or Checkpoints()

    def _asked(self, what: str, answer: Any) -> Any:
        self._checkpoint.after()
        return copy.deepcopy(answer)

    def show(self, context: Context, noun: str, key: str, *, as_service: bool = False) -> dict[str, Any]:
        """As the real one."""
        self._checkpoint.before(f"show {noun}")
        return self._asked(noun, self._find(noun, key))  # type: ignore[no-any-return]

    def _find(self, noun: str, key: str) -> dict[str, Any]:
        try:
            return self._store.rows[noun][key]
        except KeyError:
            raise errors.NotFound(f"{noun} {key} could not be found.") from None

    def find(
        self,
        context: Context,
        noun: str,
        filters: Any = None,
        *,
        fields: Sequence[str] = (),
        limit: int | None = None,
        as_service: bool = False,
    ) -> list[dict[str, Any]]:
        """As the real one."""
        self._checkpoint.before(f"find {noun}")
        wanted = {name: [value] if isinstance(value, str) else value for name, value in (filters or {}).items()}
        rows = self._store.rows[noun].values()
        return self._asked(noun, [row for row in rows if all(row.get(k) in v for k, v in wanted.items())])  # type: ignore[no-any-return]

    def create(self, context: Context, noun: str, values: Mapping[str, Any], *, as_service: bool = False) -> Any:
        """As the real one; of ports."""
        self._checkpoint.before(f"create {noun}")
        key = str(uuid.uuid5(uuid.NAMESPACE_OID, values["binding:profile"][ports.KEY]))
        assert key not in self._store.rows["port"], "made twice"
        return self._asked(noun, self._store.add(key, values))

    def update(
        self, context: Context, noun: str, key: str, values: Mapping[str, Any], *, as_service: bool = False
    ) -> Any:
        """As the real one; of ports."""
        self._checkpoint.before(f"update {noun}")
        row = self._find(noun, key)
        row |= values
        row["binding:vif_type"] = "ovs" if row["binding:host_id"] else "unbound"
        return self._asked(noun, row)

    def delete(self, context: Context, noun: str, key: str, *, as_service: bool = False) -> None:
        """As the real one."""
        self._checkpoint.before(f"delete {noun}")
        self._find(noun, key)
        del self._store.rows[noun][key]
        self._asked(noun, None)


class NeutronWorld(World):
    """Each server has a port of ours and one that its user made."""

    def _add_network(self) -> None:
        self.neutron = Store()
        self.services = replace(self.services, neutron=WatchedNeutron(self.neutron))

    def equip(self, tools: Tools, checkpoint: Checkpoints) -> Tools:
        """The compute services ask that Neutron."""
        return replace(tools, neutron=WatchedNeutron(self.neutron, checkpoint))

    def _give_interfaces(self, conn: Connection, key: int, server_uuid: str) -> dict[str, Any]:
        change(conn, key, {"addresses_json": "{}"})
        self.traces.append(Trace(key, server_uuid))
        wanted = [ports.Wanted(str(uuid.uuid4()), NETWORK), ports.Wanted(str(uuid.uuid4()), NETWORK, None, BROUGHT)]
        return SECRETS | {"interfaces": [each.payload for each in wanted], "groups": None}

    def begin(self, server: ServerRow, action: str) -> None:
        """What the API does for an action."""
        if action != "attach_interface":
            super().begin(server, action)
            return
        neutron = WatchedNeutron(self.neutron)
        wanted = ports.Wanted(str(uuid.uuid4()), NETWORK)
        port = ports.make(
            neutron, wanted, (), server_uuid=server.uuid, project_id=PROJECT, zone=None, host=server.host or ""
        )
        said = ports.describe(neutron, ports.of_server(neutron, server.uuid))
        with self.db.write() as conn:
            network_cache.store(conn, server.id, said, {port["id"]: Place(2, False)})
            payload = {"secret": "tell-nobody", "port_id": port["id"]}
            lifecycle.begin(conn, self.services, self.context, server, action, payload)

    def snapshot(self) -> Snapshot:
        """With what the Neutron knows."""
        found = super().snapshot()
        return found._replace(images={**found.images, STATE: copy.deepcopy(self.neutron.rows)})

    def restore(self, snapshot: Snapshot) -> None:
        """With what the Neutron knows."""
        images = dict(snapshot.images)
        self.neutron.rows = copy.deepcopy(images.pop(STATE))
        super().restore(snapshot._replace(images=images))

    def outcome(self) -> dict[str, Any]:
        """With what the Neutron knows."""
        return super().outcome() | {STATE: copy.deepcopy(self.neutron.rows)}

    def check_server(self, key: int, lands: str, *, cause: str | None = None) -> ServerRow:
        """What it shows is what there is, on the host where it lives."""
        server = super().check_server(key, lands, cause=cause)
        mine = {row["id"]: row for row in self.neutron.rows["port"].values() if row["device_id"] == server.uuid}
        with self.db.read() as conn:
            known = network_cache.known(conn, key)
        assert {each.id for each in known} >= set(mine) or server.vm_state == ERROR
        if server.vm_state != ERROR and not server.deleted:
            bound = {row["binding:host_id"] for row in mine.values()}
            assert bound == {server.host or ""} or (server.vm_state == SHELVED and bound == {""})
            if cause is None:  # a detach that failed half-way is done again by who asked for it
                assert {each.id for each in known} == set(mine)
                shown = [each["addr"] for each in orjson.loads(server.addresses_json).get("theirs", [])]
                assert sorted(shown) == sorted(row["fixed_ips"][0]["ip_address"] for row in mine.values())
        return server

    def check_gone(self, key: int) -> None:
        """Nothing of it is in the Neutron."""
        super().check_gone(key)
        trace = next(trace for trace in self.traces if trace.server_id == key)
        assert [row for row in self.neutron.rows["port"].values() if row["device_id"] == trace.uuid] == []

    def check_all_free(self) -> None:
        """The port that its user made is left, and is nobody's."""
        super().check_all_free()
        (left,) = self.neutron.rows["port"].values()
        assert (left["id"], left["device_id"], left["binding:host_id"]) == (BROUGHT, "", "")
