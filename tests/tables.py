# SPDX-License-Identifier: Apache-2.0
"""The tables of the program, flattened for the tests that walk them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from computeapi import routes
from computeapi.endpoint import Endpoint


class Line(NamedTuple):
    """One row of ROUTES; with `action`, one row of the table of actions under it."""

    service: str
    method: str
    template: str  # below the service's prefix
    row: Endpoint
    action: str | None = None

    @property
    def name(self) -> str:
        """How lists of exceptions name it: "compute POST /servers/{server_id}/action#reboot"."""
        return f"{self.service} {self.method} {self.template}" + (f"#{self.action}" if self.action else "")

    @property
    def path(self) -> str:
        """The whole URL's template."""
        return routes.PREFIX[self.service] + self.template or "/"


def lines() -> Iterator[Line]:
    """Every row; a row with actions gives its actions in its place."""
    for service, table in routes.ROUTES.items():
        for template, methods in table.items():
            for method, row in methods.items():
                if row.actions:
                    for action, chosen in row.actions.items():
                        yield Line(service, method, template, chosen, action)
                else:
                    yield Line(service, method, template, row)


def shape(template: str) -> str:
    """A URL's template without the names of its variables and without a slash at its end."""
    return re.sub(r"\{[^}]*\}", "{}", template).rstrip("/") or "/"
