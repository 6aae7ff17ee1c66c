# SPDX-License-Identifier: Apache-2.0
"""The compute service of one host beside an API, driven in the test's own thread: `work()` does what is to be done."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from computeapi import clock, journal
from computeapi.backends.image.base import ImageBackend
from computeapi.backends.network.neutron import Neutron
from computeapi.compute import runner, service
from computeapi.compute.metadata.service import MetadataService
from computeapi.compute.operation import Tools
from computeapi.compute.operations import firewall
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Host
from computeapi.db.queries import servers
from computeapi.db.queries.servers import ServerRow
from computeapi.sealing import Seal
from computeapi.settings import Settings
from computeapi.virt.base import Hypervisor


class Compute:
    """The compute service of the host that the settings name."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        driver: Hypervisor,
        images: ImageBackend,
        neutron: Neutron | None = None,
    ) -> None:
        self._neutron = neutron
        self.db, self.driver, self.images = db, driver, images
        self._settings = settings
        self.metadata: MetadataService
        self.tools: Tools
        self.restart()

    def restart(self) -> None:
        """A new owner of the host."""
        settings, seal = self._settings, Seal(self._settings.secret("journal"))
        self.metadata = MetadataService(settings, self.db, self.driver)
        self.tools = service.take_over(
            settings, self.db, self.driver, self.images, seal, self.driver.host_info(), heard=self.metadata.listen
        )
        if self._neutron is not None:
            self.tools = replace(self.tools, neutron=self._neutron)
        firewall.apply(self.tools)

    def work(self) -> None:
        """Claim and run until there is nothing to do. What is left to be tried again is an error here."""
        tools = self.tools
        with self.db.write() as conn:
            conn.execute(update(Host).where(Host.name == tools.host).values(last_seen_at=clock.now()))
        while True:
            with self.db.read() as conn:
                found = journal.candidates(conn, tools.host, 100, 100)
            if not found:
                return
            for key, lane in found:
                with self.db.write() as conn:
                    entry = journal.claim(conn, tools.seal, key, lane, tools.host, tools.epoch)
                if entry is not None:
                    left = runner.run(tools, entry)
                    assert left is None, left

    def server(self, server_id: str) -> ServerRow:
        """A server's row, deleted or not."""
        with self.db.read() as conn:
            row = servers.get(conn, server_id, None, deleted=True)
        assert row is not None
        return row

    def host(self) -> tuple[Any, ...]:
        """CPUs, memory, disk and servers that the host's counters say are taken."""
        with self.db.read() as conn:
            counters = select(Host.vcpus_used, Host.memory_mb_used, Host.disk_gb_used, Host.servers)
            return tuple(conn.execute(counters.where(Host.name == self.tools.host)).one())

    def volumes(self, server_id: str) -> list[str]:
        """What the names of the server's volumes end with."""
        mine = f"{server_id}_"
        return [name.removeprefix(mine) for name in self.driver.list_volumes() if name.startswith(mine)]


def add_image(images: Any, content: bytes | Path, **fields: Any) -> str:
    """A public image with these bytes; its id. `properties` are what else is said of it."""
    context = Context(f"req-{uuid.uuid4()}", "tester", uuid.uuid4().hex, frozenset({"admin", "member", "reader"}))
    data = content.read_bytes() if isinstance(content, Path) else content
    properties = fields.pop("properties", {})
    kind = fields.pop("disk_format", "qcow2")
    image_id = images.create(context, fields.pop("name", "base"), kind, properties, visibility="public", **fields)
    images.upload(context, image_id, [data])
    return str(image_id)
