# SPDX-License-Identifier: Apache-2.0
"""Lists and look-ups of networks, subnets, ports and routers: one table a noun says what may be asked for and seen.

`project_id` is the asker's project; None only for those who may see all. Visible are one's own, and of networks those
that are shared or external (neutron/conf/policies: get_network, get_subnet, get_port, get_router).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, literal, or_, select, union_all

from computeapi import errors
from computeapi.db.models import (
    FixedIp,
    Network,
    Port,
    PortSecurityGroup,
    Router,
    SecurityGroup,
    Server,
    Subnet,
    SubnetPool,
)
from computeapi.db.queries import common

ROUTER_INTERFACE = "network:router_interface"
ROUTER_GATEWAY = "network:router_gateway"

Found = Any  # a Row with the columns of its Kind


@dataclass(frozen=True, slots=True)
class Kind:
    """A noun: where its rows are, what lists of it are filtered and sorted by, and whose rows a project may see."""

    word: str  # "Network", as in NetworkNotFound
    model: Any
    columns: Select[Any]
    fields: Mapping[str, Any]  # the API's name → a column or expression
    visible: Callable[[str], ColumnElement[bool]]
    special: Mapping[str, Callable[[list[str]], ColumnElement[bool]]] = field(default_factory=dict)
    booleans: frozenset[str] = frozenset({"admin_state_up"})
    integers: frozenset[str] = frozenset({"revision_number"})
    missing: str = "{word} {id} could not be found."
    visible_in_lists: Callable[[str], ColumnElement[bool]] | None = None  # the same, so that it goes by an index

    def not_found(self, uuid: str) -> errors.NotFound:
        """The error for an id that nothing (to be seen) has."""
        return errors.NotFound(self.missing.format(word=self.word, id=uuid), kind=f"{self.word}NotFound")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a list shall have: filters (each value one that may be), order, page."""

    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    sorts: Sequence[tuple[str, bool]] = ()  # name, descending
    limit: int | None = None
    marker: str | None = None
    reverse: bool = False  # the page before the marker


def _has_tag(model: Any, tag: str) -> ColumnElement[bool]:
    without = func.replace(model.tags_json, orjson.dumps(tag).decode(), "")
    found: ColumnElement[bool] = without != model.tags_json
    return found


def tag_filters(model: Any) -> dict[str, Callable[[list[str]], ColumnElement[bool]]]:
    """The four filters of the tagging extension; a value has tags separated by commas."""

    def split(values: list[str]) -> list[ColumnElement[bool]]:
        return [_has_tag(model, tag) for value in values for tag in value.split(",")]

    return {
        "tags": lambda values: and_(*split(values)),
        "tags-any": lambda values: or_(*split(values)),
        "not-tags": lambda values: ~and_(*split(values)),
        "not-tags-any": lambda values: ~or_(*split(values)),
    }


def own(model: Any) -> Callable[[str], ColumnElement[bool]]:
    """A project sees its own rows alone."""
    return lambda project_id: model.project_id == project_id


def common_fields(model: Any) -> dict[str, Any]:
    """What all nouns are filtered and sorted by."""
    return {
        "id": model.uuid,
        "name": model.name,
        "project_id": model.project_id,
        "tenant_id": model.project_id,
        "description": model.description,
        "revision_number": model.revision,
        "created_at": model.created_at,
        "updated_at": model.updated_at,
    }


# --- networks ---

NETWORKS = Kind(
    "Network",
    Network,
    select(*Network.__table__.c),
    {
        **common_fields(Network),
        "shared": Network.shared,
        "router:external": Network.external,
        "admin_state_up": Network.admin_state_up,
        "status": literal("ACTIVE"),
        "mtu": Network.mtu,
        "is_default": Network.is_default,
        "port_security_enabled": Network.port_security,
        "provider:network_type": Network.network_type,
        "provider:physical_network": Network.physical_network,
        "provider:segmentation_id": Network.vlan,
    },
    lambda project_id: or_(Network.project_id == project_id, Network.shared == 1, Network.external == 1),
    special=tag_filters(Network),
    booleans=frozenset({"shared", "router:external", "admin_state_up", "is_default", "port_security_enabled"}),
    integers=frozenset({"mtu", "provider:segmentation_id", "revision_number"}),
)

# --- subnets ---

SUBNETS = Kind(
    "Subnet",
    Subnet,
    select(
        *Subnet.__table__.c,
        Network.uuid.label("network_uuid"),
        Network.project_id.label("network_project_id"),
        SubnetPool.uuid.label("pool_uuid"),
    )
    .select_from(Subnet)
    .join(Network, Network.id == Subnet.network_id)
    .outerjoin(SubnetPool, SubnetPool.id == Subnet.pool_id),
    {
        **common_fields(Subnet),
        "network_id": Network.uuid,
        "ip_version": Subnet.ip_version,
        "cidr": Subnet.cidr,
        "gateway_ip": Subnet.gateway,
        "enable_dhcp": Subnet.dhcp,
        "shared": Network.shared,
        "ipv6_ra_mode": Subnet.ipv6_ra_mode,
        "ipv6_address_mode": Subnet.ipv6_address_mode,
        "subnetpool_id": SubnetPool.uuid,
    },
    lambda project_id: or_(Subnet.project_id == project_id, Network.project_id == project_id, Network.shared == 1),
    special=tag_filters(Subnet),
    booleans=frozenset({"enable_dhcp", "shared"}),
    integers=frozenset({"ip_version", "revision_number"}),
)

# --- ports ---

DEVICE_ID = case(
    (Port.server_id.is_not(None), Server.uuid), (Port.router_id.is_not(None), Router.uuid), else_=Port.device_id
)
PORT_STATUS = case(
    (Port.remote_status.is_not(None), Port.remote_status),
    (Port.admin_state_up == 0, "DOWN"),
    (Port.router_id.is_not(None), "ACTIVE"),
    (and_(Port.server_id.is_not(None), Server.host.is_not(None)), "ACTIVE"),
    else_="DOWN",
)
ZONE = "nova"


_INNER = Port.__table__.alias("inner_ports")


def _by_device(values: list[str]) -> ColumnElement[bool]:
    """By index: the expression DEVICE_ID would be computed for every port there is."""
    own = and_(_INNER.c.server_id.is_(None), _INNER.c.router_id.is_(None), _INNER.c.device_id.in_(values))
    found = union_all(
        select(_INNER.c.id).join(Server, Server.id == _INNER.c.server_id).where(Server.uuid.in_(values)),
        select(_INNER.c.id).join(Router, Router.id == _INNER.c.router_id).where(Router.uuid.in_(values)),
        select(_INNER.c.id).where(own),
    )
    return Port.id.in_(found)


def _ports_of(project_id: str) -> ColumnElement[bool]:
    """A project's own ports, and those on its networks; by index too."""
    found = union_all(
        select(_INNER.c.id).where(_INNER.c.project_id == project_id),
        select(_INNER.c.id).join(Network, Network.id == _INNER.c.network_id).where(Network.project_id == project_id),
    )
    return Port.id.in_(found)


def _by_fixed_ips(values: list[str]) -> ColumnElement[bool]:
    """`ip_address=…`, `subnet_id=…`, `ip_address_substr=…`: an address of the port's fits all that are given."""
    asked: dict[str, list[str]] = {}
    for value in values:
        name, _, wanted = value.partition("=")
        asked.setdefault(name, []).append(wanted)
    fitting = select(FixedIp.port_id).where(FixedIp.port_id.is_not(None))
    if "ip_address" in asked:
        fitting = fitting.where(FixedIp.address.in_(asked["ip_address"]))
    if "subnet_id" in asked:
        fitting = fitting.where(FixedIp.subnet_id.in_(select(Subnet.id).where(Subnet.uuid.in_(asked["subnet_id"]))))
    if "ip_address_substr" in asked:
        pieces = (FixedIp.address.contains(piece, autoescape=True) for piece in asked["ip_address_substr"])
        fitting = fitting.where(or_(*pieces))
    return Port.id.in_(fitting)


def _by_groups(values: list[str]) -> ColumnElement[bool]:
    """`security_groups`: one of these holds for the port."""
    groups = select(SecurityGroup.id).where(SecurityGroup.uuid.in_(values))
    return Port.id.in_(select(PortSecurityGroup.port_id).where(PortSecurityGroup.group_id.in_(groups)))


def _by_host(values: list[str]) -> ColumnElement[bool]:
    """`binding:host_id`: where the port's server is; of a port that has none, what its owner said."""
    said = [orjson.dumps({"host_id": value}).decode()[1:-1] for value in values]
    return or_(
        Server.host.in_(values),
        and_(Server.host.is_(None), or_(*(Port.binding_json.contains(text, autoescape=True) for text in said))),
    )


_PORT_FILTERS = {"security_groups": _by_groups, "binding:host_id": _by_host}

PORTS = Kind(
    "Port",
    Port,
    select(
        *(column for column in Port.__table__.c if column.name != "device_id"),
        DEVICE_ID.label("device"),
        PORT_STATUS.label("status"),
        Server.host.label("host"),
        Server.availability_zone.label("zone"),
        Network.uuid.label("network_uuid"),
        Network.project_id.label("network_project_id"),
        Network.external.label("network_external"),
    )
    .select_from(Port)
    .join(Network, Network.id == Port.network_id)
    .outerjoin(Server, Server.id == Port.server_id)
    .outerjoin(Router, Router.id == Port.router_id),
    {
        **common_fields(Port),
        "network_id": Network.uuid,
        "mac_address": Port.mac,
        "device_id": DEVICE_ID,
        "device_owner": Port.device_owner,
        "status": PORT_STATUS,
        "admin_state_up": Port.admin_state_up,
        "port_security_enabled": Port.port_security,
        "binding:host_id": func.coalesce(Server.host, ""),
    },
    lambda project_id: or_(Port.project_id == project_id, Network.project_id == project_id),
    visible_in_lists=_ports_of,
    special={**tag_filters(Port), "device_id": _by_device, "fixed_ips": _by_fixed_ips, **_PORT_FILTERS},
    booleans=frozenset({"admin_state_up", "port_security_enabled"}),
)

# --- routers ---

ROUTERS = Kind(
    "Router",
    Router,
    select(*Router.__table__.c),
    {**common_fields(Router), "admin_state_up": Router.admin_state_up, "status": literal("ACTIVE")},
    own(Router),
    special=tag_filters(Router),
)


# --- statements ---


def get(conn: Connection, kind: Kind, uuid: str, project_id: str | None) -> Found | None:
    """The one with that id, if the project may see it."""
    statement = kind.columns.where(kind.model.uuid == uuid)
    if project_id is not None:
        statement = statement.where(kind.visible(project_id))
    return conn.execute(statement).first()


def find(conn: Connection, kind: Kind, uuid: str, project_id: str | None) -> Found:
    """The same. Raises NotFound."""
    row = get(conn, kind, uuid, project_id)
    if row is None:
        raise kind.not_found(uuid)
    return row


def page(conn: Connection, kind: Kind, project_id: str | None, wish: Wish) -> tuple[list[Found], Select[Any]]:
    """The rows of a list, and a statement that selects their keys (for what hangs on them).

    Raises NotFound for a marker that is nothing to be seen.
    """
    statement = kind.columns
    if project_id is not None:
        statement = statement.where((kind.visible_in_lists or kind.visible)(project_id))
    for name, values in wish.filters.items():
        if name in kind.special:
            statement = statement.where(kind.special[name](list(values)))
        else:
            statement = statement.where(kind.fields[name].in_(values))
    order = [(_sortable(kind, name), descending != wish.reverse) for name, descending in wish.sorts]
    order.append((kind.model.id, wish.reverse))
    if wish.marker is not None:
        statement = statement.where(_after(conn, kind, project_id, wish.marker, order))
    statement = statement.order_by(*(key.desc() if down else key.asc() for key, down in order))
    if wish.limit is not None:
        statement = statement.limit(wish.limit)
    rows = list(conn.execute(statement))
    if wish.reverse:
        rows.reverse()
    return rows, statement.with_only_columns(kind.model.id)


def _sortable(kind: Kind, name: str) -> Any:
    """A key that is never NULL: engines differ in where NULL stands."""
    numeric = name in kind.booleans or name in kind.integers
    return common.never_null(kind.model, kind.fields[name], 0 if numeric else "")


def _after(
    conn: Connection, kind: Kind, project_id: str | None, marker: str, order: list[tuple[Any, bool]]
) -> ColumnElement[bool]:
    """What stands after the marker in that order."""
    key = find(conn, kind, marker, project_id).id
    values = conn.execute(
        kind.columns.with_only_columns(*(each for each, _ in order)).where(kind.model.id == key)
    ).one()
    same: list[ColumnElement[bool]] = []
    choices: list[ColumnElement[bool]] = []
    for (column, down), value in zip(order, values, strict=True):
        choices.append(and_(*same, column < value if down else column > value))
        same.append(column == value)
    return and_(common.bound(order, values), or_(*choices))


def subnets_of(conn: Connection, networks: Select[Any]) -> dict[int, list[str]]:
    """The ids of the subnets on these networks (a statement that selects keys), by network key."""
    found: dict[int, list[str]] = {}
    statement = select(Subnet.network_id, Subnet.uuid).where(Subnet.network_id.in_(networks)).order_by(Subnet.id)
    for key, uuid in conn.execute(statement):
        found.setdefault(key, []).append(uuid)
    return found


def fixed_ips_of(conn: Connection, ports: Select[Any]) -> dict[int, list[dict[str, str]]]:
    """The addresses of these ports (a statement that selects keys), by port key, as the API shows them."""
    found: dict[int, list[dict[str, str]]] = {}
    statement = (
        select(FixedIp.port_id, Subnet.uuid, FixedIp.address)
        .join(Subnet, Subnet.id == FixedIp.subnet_id)
        .where(FixedIp.port_id.in_(ports))
        .order_by(Subnet.ip_version, FixedIp.id)
    )
    for key, uuid, address in conn.execute(statement):
        if key is not None:
            found.setdefault(key, []).append({"subnet_id": uuid, "ip_address": address})
    return found


def gateways_of(conn: Connection, routers: Select[Any]) -> dict[int, dict[str, Any]]:
    """The external gateways of these routers (a statement that selects keys), by router key: network and addresses."""
    chosen = select(Port.id).where(Port.router_id.in_(routers), Port.device_owner == ROUTER_GATEWAY)
    addresses = fixed_ips_of(conn, chosen)
    statement = (
        select(Port.router_id, Port.id, Network.uuid)
        .join(Network, Network.id == Port.network_id)
        .where(Port.id.in_(chosen))
    )
    return {
        router: {"network_id": network, "external_fixed_ips": addresses.get(port, [])}
        for router, port, network in conn.execute(statement)
        if router is not None
    }


def keys(kind: Kind, *values: int) -> Select[Any]:
    """A statement that selects these keys, for the functions above."""
    return select(kind.model.id).where(kind.model.id.in_(values))
