# SPDX-License-Identifier: Apache-2.0
"""Statements about projects' certificate authorities, the certificates they gave, and projects' VPN servers."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, insert, select, update

from computeapi import clock
from computeapi.db.models import (
    Certificate,
    CertificateAuthority,
    FixedIp,
    Network,
    Port,
    Server,
    Subnet,
    VpnAddress,
)


def authority(conn: Connection, project_id: str) -> Any | None:
    """id, certificate and sealed_key of a project's authority."""
    return conn.execute(
        select(CertificateAuthority.id, CertificateAuthority.certificate, CertificateAuthority.sealed_key).where(
            CertificateAuthority.project_id == project_id
        )
    ).first()


def insert_authority(conn: Connection, project_id: str, certificate: str, sealed_key: str) -> None:
    """A project's authority. After `Database.lock`: there is one."""
    values = {"certificate": certificate, "sealed_key": sealed_key, "created_at": clock.now()}
    conn.execute(insert(CertificateAuthority).values(project_id=project_id, **values))


def insert_certificate(conn: Connection, authority_key: int, user_id: str, serial: str, certificate: str) -> None:
    """One that was given out."""
    values = {"user_id": user_id, "serial": serial, "certificate": certificate, "created_at": clock.now()}
    conn.execute(insert(Certificate).values(authority_id=authority_key, **values))


# --- VPN servers ---


def vpn_servers(conn: Connection, image_id: str, project_id: str | None) -> list[Any]:
    """The servers from that image (of that project; None: of all), oldest first: uuid, project_id, created_at, host,
    vm_state, and their first IPv4 address."""
    address = (
        select(FixedIp.address)
        .join(Port, Port.id == FixedIp.port_id)
        .join(Subnet, Subnet.id == FixedIp.subnet_id)
        .where(Port.server_id == Server.id, Subnet.ip_version == 4)
        .order_by(Port.position, FixedIp.id)
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        select(
            Server.uuid, Server.project_id, Server.created_at, Server.host, Server.vm_state, address.label("address")
        )
        .where(Server.image_id == image_id, Server.deleted == 0)
        .order_by(Server.created_at, Server.id)
    )
    if project_id is not None:
        statement = statement.where(Server.project_id == project_id)
    return list(conn.execute(statement))


def vpn_addresses(conn: Connection, project_ids: set[str]) -> dict[str, tuple[str, int]]:
    """Project → where its VPN is reached from outside."""
    rows = conn.execute(
        select(VpnAddress.project_id, VpnAddress.address, VpnAddress.port).where(VpnAddress.project_id.in_(project_ids))
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def put_vpn_address(conn: Connection, project_id: str, address: str, port: int) -> None:
    """Where a project's VPN is reached; os-networks shows it with the project's networks."""
    changed = conn.execute(
        update(VpnAddress).where(VpnAddress.project_id == project_id).values(address=address, port=port)
    )
    if changed.rowcount == 0:
        conn.execute(insert(VpnAddress).values(project_id=project_id, address=address, port=port))
    rows = conn.execute(
        select(Network.id, Network.extra_json).where(Network.project_id == project_id).with_for_update()
    ).all()
    for key, extra in rows:  # a project's networks: a handful by its quota
        shown = orjson.loads(extra) | {"vpn_public_address": address, "vpn_public_port": port}
        conn.execute(update(Network).where(Network.id == key).values(extra_json=orjson.dumps(shown).decode()))
