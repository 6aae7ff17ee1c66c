# SPDX-License-Identifier: Apache-2.0
"""Statements about DNS domains and their entries. A domain of a project is that project's, one of none everybody's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from computeapi import clock
from computeapi.db.models import Allocation, DnsDomain, DnsEntry
from computeapi.db.queries import firewall

_DOMAIN = select(*DnsDomain.__table__.c)


def _seen(project_id: str | None) -> list[ColumnElement[bool]]:
    return [] if project_id is None else [or_(DnsDomain.project_id == project_id, DnsDomain.project_id.is_(None))]


def domains(conn: Connection, project_id: str | None) -> list[Any]:
    """The domains that a project (None: anyone) may know of."""
    return list(conn.execute(_DOMAIN.where(*_seen(project_id)).order_by(DnsDomain.domain)))


def domain(conn: Connection, name: str, project_id: str | None) -> Any | None:
    """One of them, by its name; locked."""
    return conn.execute(_DOMAIN.where(DnsDomain.domain == name, *_seen(project_id)).with_for_update()).first()


def put_domain(conn: Connection, name: str, **columns: Any) -> None:
    """A domain is such from now on. Hosts are told."""
    changed = conn.execute(update(DnsDomain).where(DnsDomain.domain == name).values(**columns))
    if changed.rowcount == 0:
        conn.execute(insert(DnsDomain).values(domain=name, created_at=clock.now(), **columns))
    tell_all(conn)


def delete_domain(conn: Connection, key: int) -> None:
    """A domain is gone with its entries. Hosts are told."""
    conn.execute(delete(DnsEntry).where(DnsEntry.domain_id == key))
    conn.execute(delete(DnsDomain).where(DnsDomain.id == key))
    tell_all(conn)


def entry(conn: Connection, domain_key: int, name: str) -> Any | None:
    """The entry of a name."""
    statement = select(*DnsEntry.__table__.c).where(DnsEntry.domain_id == domain_key, DnsEntry.name == name)
    return conn.execute(statement).first()


def entries_of(conn: Connection, domain_key: int, address: str | None) -> list[Any]:
    """The entries of an address; None: all of the domain."""
    statement = select(*DnsEntry.__table__.c).where(DnsEntry.domain_id == domain_key)
    if address is not None:
        statement = statement.where(DnsEntry.address == address)
    return list(conn.execute(statement.order_by(DnsEntry.name)))


def put_entry(conn: Connection, domain_key: int, name: str, address: str, project_id: str) -> None:
    """A name has that address from now on. Hosts are told."""
    changed = conn.execute(
        update(DnsEntry).where(DnsEntry.domain_id == domain_key, DnsEntry.name == name).values(address=address)
    )
    if changed.rowcount == 0:
        values = {"name": name, "address": address, "project_id": project_id, "created_at": clock.now()}
        conn.execute(insert(DnsEntry).values(domain_id=domain_key, **values))
    tell_all(conn)


def delete_entry(conn: Connection, key: int) -> None:
    """A name has no address. Hosts are told."""
    conn.execute(delete(DnsEntry).where(DnsEntry.id == key))
    tell_all(conn)


def tell_all(conn: Connection) -> None:
    """Tell every host that has servers."""
    firewall.tell(conn, select(Allocation.host).distinct())
