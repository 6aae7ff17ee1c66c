# SPDX-License-Identifier: Apache-2.0
"""python neutron_tables.py URL: Neutron's tables in an empty SQLite.

Its own migrations are for MySQL and PostgreSQL alone; its models make the same tables. The rules that a new security
group begins with are what a migration of 2023.2 puts in.
"""

from __future__ import annotations

import sys
import uuid

import sqlalchemy as sa
from neutron.db.migration.models import head
from neutron.db.models.securitygroup_default_rules import SecurityGroupDefaultRule
from neutron_lib.db import standard_attr


def main(url: str) -> None:
    """Make them."""
    engine = sa.create_engine(url)
    head.get_metadata().create_all(engine)
    with engine.begin() as connection:
        for direction, parent in (("egress", None), ("ingress", "PARENT")):
            for ethertype in ("IPv4", "IPv6"):
                attributes = sa.insert(standard_attr.StandardAttribute.__table__).values(
                    resource_type=SecurityGroupDefaultRule.__tablename__, revision_number=0
                )
                key = connection.execute(attributes).inserted_primary_key[0]
                rule = sa.insert(SecurityGroupDefaultRule.__table__).values(
                    id=str(uuid.uuid4()),
                    standard_attr_id=key,
                    direction=direction,
                    ethertype=ethertype,
                    remote_group_id=parent,
                    used_in_default_sg=True,
                    used_in_non_default_sg=parent is None,
                )
                connection.execute(rule)


if __name__ == "__main__":
    main(sys.argv[1])
