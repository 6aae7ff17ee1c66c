# SPDX-License-Identifier: Apache-2.0
"""Projects' certificate authorities and the certificates they gave, and where projects' VPNs are reached."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Key, LongText, Name, Time


class CertificateAuthority(Base):
    """A project's own root. Its private key is sealed with the cloud's key."""

    __tablename__ = "certificate_authorities"

    id: Mapped[Key]
    project_id: Mapped[Id] = mapped_column(unique=True)
    certificate: Mapped[LongText]  # PEM
    sealed_key: Mapped[LongText]
    created_at: Mapped[Time]


class Certificate(Base):
    """A certificate that was given out. Of its private key nothing is kept."""

    __tablename__ = "certificates"

    id: Mapped[Key]
    authority_id: Mapped[BigInt] = mapped_column(ForeignKey("certificate_authorities.id"), index=True)
    user_id: Mapped[Id]
    serial: Mapped[Name] = mapped_column(unique=True)
    certificate: Mapped[LongText]  # PEM
    created_at: Mapped[Time]


class VpnAddress(Base):
    """Where a project's VPN is reached from outside (os-cloudpipe/configure-project)."""

    __tablename__ = "vpn_addresses"

    id: Mapped[Key]
    project_id: Mapped[Id] = mapped_column(unique=True)
    address: Mapped[Name]
    port: Mapped[int]
