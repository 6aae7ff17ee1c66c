# SPDX-License-Identifier: Apache-2.0
"""Statements about security groups, their rules, and the ports that they hold for.

Every project has a group "default", made when it is first needed. A port's groups stand in port_security_groups, and
once more in its own row for lists; `set_port_groups` writes both.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import orjson
from sqlalchemy import BigInteger, Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from computeapi import clock, errors
from computeapi.db.models import DefaultRule, Port, PortSecurityGroup, SecurityGroup, SecurityGroupRule, Server
from computeapi.db.queries import firewall
from computeapi.db.queries.common import insert_key, update_row
from computeapi.db.queries.networks import ROUTER_INTERFACE, Kind, common_fields, own, tag_filters

DEFAULT = "default"
INGRESS, EGRESS = "ingress", "egress"
# Neutron's names of IP protocols; any other is said by its number.
PROTOCOLS: dict[str, int] = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "hopopt": 0,
    "icmp": 1,
    "icmpv6": 58,
    "igmp": 2,
    "ip": 0,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}

_REMOTE = aliased(SecurityGroup, name="remote")

SECURITY_GROUPS = Kind(
    "SecurityGroup",
    SecurityGroup,
    select(*SecurityGroup.__table__.c),
    {**common_fields(SecurityGroup), "stateful": SecurityGroup.stateful},
    own(SecurityGroup),
    special=tag_filters(SecurityGroup),
    booleans=frozenset({"stateful"}),
    missing="Security group {id} does not exist",
)

_RULE_COLUMNS = (
    select(
        *SecurityGroupRule.__table__.c,
        SecurityGroup.uuid.label("group_uuid"),
        SecurityGroup.project_id.label("group_project_id"),
        SecurityGroup.default_of,
        _REMOTE.uuid.label("remote_uuid"),
        _REMOTE.name.label("remote_name"),
        _REMOTE.project_id.label("remote_project_id"),
    )
    .select_from(SecurityGroupRule)
    .join(SecurityGroup, SecurityGroup.id == SecurityGroupRule.group_id)
    .outerjoin(_REMOTE, _REMOTE.id == SecurityGroupRule.remote_group_id)
)
RULES = Kind(
    "SecurityGroupRule",
    SecurityGroupRule,
    _RULE_COLUMNS,
    {
        "id": SecurityGroupRule.uuid,
        "project_id": SecurityGroupRule.project_id,
        "tenant_id": SecurityGroupRule.project_id,
        "direction": SecurityGroupRule.direction,
        "ethertype": SecurityGroupRule.ethertype,
        "protocol": SecurityGroupRule.protocol,
        "port_range_min": SecurityGroupRule.port_min,
        "port_range_max": SecurityGroupRule.port_max,
        "remote_ip_prefix": SecurityGroupRule.remote_cidr,
        "security_group_id": SecurityGroup.uuid,
        "remote_group_id": _REMOTE.uuid,
        "description": SecurityGroupRule.description,
        "revision_number": SecurityGroupRule.revision,
        "created_at": SecurityGroupRule.created_at,
        "updated_at": SecurityGroupRule.updated_at,
    },
    lambda project_id: or_(SecurityGroupRule.project_id == project_id, SecurityGroup.project_id == project_id),
    integers=frozenset({"port_range_min", "port_range_max", "revision_number"}),
    missing="Security group rule {id} does not exist",
)


# --- groups ---


_DEFAULT_OF = select(SecurityGroup.id, SecurityGroup.uuid).where(SecurityGroup.default_of == bindparam("project_id"))


def default_group(conn: Connection, project_id: str) -> Any | None:
    """id and uuid of a project's group "default", if it was made."""
    return conn.execute(_DEFAULT_OF, {"project_id": project_id}).first()


def ensure_default(conn: Connection, project_id: str) -> Any:
    """id and uuid of a project's group "default", made if need be: all may go out, members reach each other."""
    found = default_group(conn, project_id)
    if found is not None:
        return found
    try:
        with conn.begin_nested():
            key, group_uuid = insert_group(conn, project_id, DEFAULT, "Default security group", default_of=project_id)
            inward = [_rule(key, project_id, INGRESS, ethertype, remote_group_id=key) for ethertype in ("IPv4", "IPv6")]
            conn.execute(insert(SecurityGroupRule), inward + _configured(conn, key, project_id))
    except IntegrityError:  # another request was quicker
        return conn.execute(
            select(SecurityGroup.id, SecurityGroup.uuid).where(SecurityGroup.default_of == project_id)
        ).one()
    return conn.execute(select(SecurityGroup.id, SecurityGroup.uuid).where(SecurityGroup.uuid == group_uuid)).one()


def _configured(conn: Connection, key: int, project_id: str) -> list[dict[str, Any]]:
    """What the operator wants in every default group (os-security-group-default-rules)."""
    return [
        _rule(
            key,
            project_id,
            INGRESS,
            "IPv6" if ":" in row.cidr else "IPv4",
            protocol=row.protocol.lower(),
            port_min=None if row.port_min < 0 else row.port_min,
            port_max=None if row.port_max < 0 else row.port_max,
            remote_cidr=row.cidr,
        )
        for row in default_rules(conn)
    ]


def insert_group(conn: Connection, project_id: str, name: str, description: str, **columns: Any) -> tuple[int, str]:
    """A group that lets everything out and nothing in; its key and id."""
    group_uuid = str(uuid.uuid4())
    values = {"project_id": project_id, "name": name, "description": description, "created_at": clock.now(), **columns}
    key = insert_key(conn, insert(SecurityGroup).values(uuid=group_uuid, **values))
    outward = [_rule(key, project_id, EGRESS, ethertype) for ethertype in ("IPv4", "IPv6")]
    conn.execute(insert(SecurityGroupRule), outward)
    return key, group_uuid


def _rule(key: int, project_id: str, direction: str, ethertype: str, **columns: Any) -> dict[str, Any]:
    """All columns of a rule."""
    values: dict[str, Any] = dict.fromkeys(("protocol", "port_min", "port_max", "remote_cidr", "remote_group_id"))
    return values | {
        "uuid": str(uuid.uuid4()),
        "group_id": key,
        "project_id": project_id,
        "direction": direction,
        "ethertype": ethertype,
        "description": "",
        "revision": 1,
        "created_at": clock.now(),
        **columns,
    }


def lock_group(conn: Connection, key: int) -> bool:
    """Keep a group as it is until this transaction ends; False where it is gone."""
    return conn.execute(select(SecurityGroup.id).where(SecurityGroup.id == key).with_for_update()).first() is not None


def name_taken(conn: Connection, project_id: str, name: str, but: int = 0) -> bool:
    """Whether another group of the project has that name."""
    same = select(SecurityGroup.id).where(
        SecurityGroup.project_id == project_id, SecurityGroup.name == name, SecurityGroup.id != but
    )
    return conn.execute(same.limit(1)).first() is not None


def in_use(conn: Connection, key: int) -> bool:
    """Whether a port has the group."""
    ports = select(PortSecurityGroup.id).where(PortSecurityGroup.group_id == key)
    return conn.execute(ports.limit(1)).first() is not None


def delete_group(conn: Connection, key: int) -> None:
    """The group is gone, with its rules and the rules that name it."""
    firewall.groups_changed(conn, [key])
    conn.execute(
        delete(SecurityGroupRule).where(
            or_(SecurityGroupRule.group_id == key, SecurityGroupRule.remote_group_id == key)
        )
    )
    conn.execute(delete(SecurityGroup).where(SecurityGroup.id == key))


def count(conn: Connection, project_id: str) -> int:
    """How many groups a project has."""
    statement = select(func.count()).select_from(SecurityGroup).where(SecurityGroup.project_id == project_id)
    return int(conn.execute(statement).scalar_one())


# --- rules ---


def rules_of(conn: Connection, groups: Any, direction: str | None = None) -> dict[int, list[Any]]:
    """The rules of these groups (keys, or a statement that selects them), by group key."""
    statement = _RULE_COLUMNS.where(SecurityGroupRule.group_id.in_(groups)).order_by(SecurityGroupRule.id)
    if direction is not None:
        statement = statement.where(SecurityGroupRule.direction == direction)
    found: dict[int, list[Any]] = {}
    for row in conn.execute(statement):
        found.setdefault(row.group_id, []).append(row)
    return found


def count_rules(conn: Connection, key: int, direction: str) -> int:
    """How many rules of that direction a group has."""
    statement = select(func.count()).select_from(SecurityGroupRule)
    return int(
        conn.execute(
            statement.where(SecurityGroupRule.group_id == key, SecurityGroupRule.direction == direction)
        ).scalar_one()
    )


_SAME = ("direction", "ethertype", "protocol", "port_min", "port_max", "remote_group_id")


def twin(conn: Connection, key: int, rule: Mapping[str, Any]) -> str | None:
    """The id of the group's rule that lets through the same. No remote and the whole world are the same."""
    statement = select(SecurityGroupRule.uuid, SecurityGroupRule.remote_cidr).where(SecurityGroupRule.group_id == key)
    for name in _SAME:
        column = getattr(SecurityGroupRule, name)
        value = rule.get(name)
        statement = statement.where(column.is_(None) if value is None else column == value)
    for found, cidr in conn.execute(statement):
        if _world(cidr) == _world(rule.get("remote_cidr")):
            return str(found)
    return None


def _world(cidr: str | None) -> str | None:
    return None if cidr in (None, "0.0.0.0/0", "::/0") else cidr


def insert_rule(conn: Connection, key: int, project_id: str, rule: Mapping[str, Any]) -> str:
    """A rule more; its id. Hosts are told."""
    columns = dict(rule)
    values = _rule(key, project_id, columns.pop("direction"), columns.pop("ethertype"), **columns)
    conn.execute(insert(SecurityGroupRule).values(**values))
    firewall.groups_changed(conn, [key])
    return str(values["uuid"])


def delete_rule(conn: Connection, key: int, group_key: int) -> bool:
    """A rule is gone; False where it was. Hosts are told."""
    gone = conn.execute(delete(SecurityGroupRule).where(SecurityGroupRule.id == key)).rowcount == 1
    if gone:
        firewall.groups_changed(conn, [group_key])
    return gone


# --- default rules ---


def default_rules(conn: Connection) -> list[Any]:
    """The rules that default groups begin with."""
    return list(conn.execute(select(*DefaultRule.__table__.c).order_by(DefaultRule.id)))


def insert_default_rule(conn: Connection, **columns: Any) -> int:
    """One more; its key."""
    return insert_key(conn, insert(DefaultRule).values(**columns))


def delete_default_rule(conn: Connection, key: int) -> bool:
    """One less; False where there was none."""
    return conn.execute(delete(DefaultRule).where(DefaultRule.id == key)).rowcount == 1


# --- by name or id ---


def named(conn: Connection, project_id: str, names: Iterable[str]) -> dict[str, list[Any]]:
    """Name or id → the groups (id, uuid, name) of the project that it may mean; an id comes before a name."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    rows = conn.execute(
        select(SecurityGroup.id, SecurityGroup.uuid, SecurityGroup.name)
        .where(
            SecurityGroup.project_id == project_id,
            or_(SecurityGroup.uuid.in_(wanted), SecurityGroup.name.in_(wanted)),
        )
        .order_by(SecurityGroup.id)
    ).all()
    return {
        name: [row for row in rows if row.uuid == name] or [row for row in rows if row.name == name] for name in wanted
    }


def security_groups_exist(conn: Connection, project_id: str, names: Iterable[str]) -> None:
    """Raise BadRequest (Nova: SecurityGroupNotFoundForProject) for a name that is no group of the project's, and
    Conflict for one that is several's."""
    for name, found in named(conn, project_id, [name for name in names if name != DEFAULT]).items():
        if not found:
            raise errors.BadRequest(f"Security group {name} not found for project {project_id}.")
        if len(found) > 1:
            raise several(name)


def several(name: str) -> errors.Conflict:
    """The error for a name that several groups have."""
    return errors.Conflict(f"Multiple security_group matches found for name '{name}', use an ID to be more specific.")


def of_project(conn: Connection, project_id: str | None, uuids: Sequence[str]) -> list[Any]:
    """id and uuid of these groups, which the project (None: anyone) must have. Raises NotFound."""
    if not uuids:
        return []
    statement = select(SecurityGroup.id, SecurityGroup.uuid).where(SecurityGroup.uuid.in_(uuids))
    if project_id is not None:
        statement = statement.where(SecurityGroup.project_id == project_id)
    found = list(conn.execute(statement.order_by(SecurityGroup.id)))
    missing = set(uuids) - {row.uuid for row in found}
    if missing:
        raise SECURITY_GROUPS.not_found(", ".join(sorted(missing)))
    return found


# --- ports ---


_GROUPS_OF_PORT = select(PortSecurityGroup.group_id).where(PortSecurityGroup.port_id == bindparam("port_id"))
# A group that is being deleted has its row locked: whoever comes second finds it gone.
_LINK = (
    insert(PortSecurityGroup)
    .from_select(
        ["port_id", "group_id"],
        select(bindparam("port_id", type_=BigInteger), SecurityGroup.id)
        .where(SecurityGroup.id.in_(bindparam("keys", expanding=True)))
        .order_by(SecurityGroup.id)
        .with_for_update(read=True),
    )
    .execution_options(preserve_rowcount=True)
)


def set_port_groups(conn: Connection, port_key: int, groups: Sequence[Any]) -> None:
    """These groups (id, uuid), and no others, hold for a port. Hosts are told."""
    before = set(conn.execute(_GROUPS_OF_PORT, {"port_id": port_key}).scalars())
    keys = {row.id for row in groups}
    if before - keys:
        firewall.groups_changed(conn, before - keys)
        conn.execute(
            delete(PortSecurityGroup).where(
                PortSecurityGroup.port_id == port_key, PortSecurityGroup.group_id.in_(before - keys)
            )
        )
    if keys - before:
        _link(conn, port_key, keys - before)
    update_row(conn, Port, port_key, {"security_groups_json": groups_json(groups)})


def _link(conn: Connection, port_key: int, groups: Set[int]) -> None:
    keys = sorted(groups)
    linked = conn.execute(_LINK, {"port_id": port_key, "keys": keys})
    if linked.rowcount != len(keys):
        raise errors.NotFound("A security group of the port was deleted meanwhile.")
    firewall.groups_changed(conn, keys)


def groups_json(groups: Sequence[Any]) -> str:
    """What a port's own row says of its groups (id, uuid)."""
    return orjson.dumps([row.uuid for row in groups]).decode()


def groups_at_first(conn: Connection, columns: Mapping[str, Any]) -> list[Any]:
    """id and uuid of the groups of a new port of which nobody said anything: the default one; the cloud's own ports
    have none."""
    project_id = columns.get("project_id")
    if project_id is None or columns.get("device_owner", "").startswith("network:"):
        return []
    if not columns.get("port_security", 1) or columns.get("security_groups_json") is not None:
        return []
    return [ensure_default(conn, project_id)]


def begin_port(conn: Connection, port_key: int, groups: Sequence[Any], device_owner: str | None) -> None:
    """A new port has these groups (id, uuid), as its row says. Hosts are told."""
    if device_owner == ROUTER_INTERFACE:
        firewall.networks_changed(conn, [port_key])
    if groups:
        _link(conn, port_key, {row.id for row in groups})


def forget_ports(conn: Connection, keys: Sequence[int]) -> None:
    """These ports are about to go: their groups have members less, and networks may be linked no more."""
    firewall.networks_changed(conn, keys)
    chosen = select(PortSecurityGroup.group_id).distinct().where(PortSecurityGroup.port_id.in_(keys))
    firewall.groups_changed(conn, list(conn.execute(chosen).scalars()))
    conn.execute(delete(PortSecurityGroup).where(PortSecurityGroup.port_id.in_(keys)))


def members_changed(conn: Connection, server_key: int) -> None:
    """The addresses of a server's ports are others."""
    ports = select(Port.id).where(Port.server_id == server_key)
    chosen = select(PortSecurityGroup.group_id).distinct().where(PortSecurityGroup.port_id.in_(ports))
    firewall.groups_changed(conn, list(conn.execute(chosen).scalars()))
    firewall.server_changed(conn, server_key)


def give_to_server(conn: Connection, server_key: int, project_id: str, names: Sequence[str]) -> None:
    """These groups hold for the ports that were made for a new server; those it was given keep their own."""
    if list(names) == [DEFAULT]:
        return  # they began with it
    ports = select(Port.id).where(Port.server_id == server_key, Port.preserve == 0, Port.port_security == 1)
    keys = list(conn.execute(ports.order_by(Port.id)).scalars())
    if not keys:
        return
    if DEFAULT in names:
        ensure_default(conn, project_id)
    groups = [found[0] for found in named(conn, project_id, names).values() if found]
    for key in keys:  # as many as the server has interfaces
        set_port_groups(conn, key, groups)
    refresh_server(conn, server_key)


def ports_of_server(conn: Connection, server_key: int) -> list[Any]:
    """id, uuid, port_security and project_id of a server's ports."""
    return list(
        conn.execute(
            select(Port.id, Port.uuid, Port.port_security, Port.project_id)
            .where(Port.server_id == server_key)
            .order_by(Port.position, Port.id)
        )
    )


def groups_of_port(conn: Connection, port_key: int) -> list[Any]:
    """id and uuid of the groups of a port."""
    return list(
        conn.execute(
            select(SecurityGroup.id, SecurityGroup.uuid)
            .join(PortSecurityGroup, PortSecurityGroup.group_id == SecurityGroup.id)
            .where(PortSecurityGroup.port_id == port_key)
            .order_by(SecurityGroup.id)
        )
    )


def groups_of_server(conn: Connection, server_key: int) -> list[Any]:
    """The groups that hold for any of a server's ports."""
    chosen = (
        select(PortSecurityGroup.group_id)
        .join(Port, Port.id == PortSecurityGroup.port_id)
        .where(Port.server_id == server_key)
    )
    return list(
        conn.execute(
            SECURITY_GROUPS.columns.where(SecurityGroup.id.in_(chosen)).order_by(
                SecurityGroup.project_id, SecurityGroup.name, SecurityGroup.id
            )
        )
    )


def refresh_server(conn: Connection, server_key: int) -> None:
    """Write a server's security_groups_json anew, after its ports' groups changed."""
    names = [{"name": row.name} for row in groups_of_server(conn, server_key)]
    conn.execute(
        update(Server).where(Server.id == server_key).values(security_groups_json=orjson.dumps(names).decode())
    )


def servers_with(conn: Connection, key: int) -> list[int]:
    """The keys of the servers that have a group."""
    statement = (
        select(Port.server_id)
        .distinct()
        .join(PortSecurityGroup, PortSecurityGroup.port_id == Port.id)
        .where(PortSecurityGroup.group_id == key, Port.server_id.is_not(None))
    )
    return [int(found) for found in conn.execute(statement).scalars() if found is not None]
