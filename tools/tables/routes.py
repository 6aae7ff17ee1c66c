# SPDX-License-Identifier: Apache-2.0
"""docs/routes.md: ROUTES as a table."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from computeapi import routes
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint
from computeapi.versions import FOREVER, MIN
from tools.tables.document import code, main, table

_TITLES = {
    "versions": "Version documents",
    "compute": "Compute",
    "identity": "Identity (embedded)",
    "image": "Images (embedded)",
    "network": "Networks (embedded)",
    "volume": "Volumes (embedded)",
}
_INTRODUCTION = """<!-- Made by tools/routes from ROUTES: change that, then `tools/routes --write`. -->
# Routes

Every URL, by service. What the columns say:

- **rule**: the policy rule that is asked, and its **default**, which `policy.json` overrides (docs/operating.md).
  What `rule:name` in a default means is at the end. "any token" asks for no rule: who may see what is in the handler.
- **status** of the normal answer; `200, 201 from 2.2` changes with the microversion.
- **versions**: the microversions in which the row is there, where that is not all.
- **handler**: where the code is, below `computeapi/api/`.

Under `/v2.1` each Compute URL works with the project's id as well (`/v2.1/{project_id}/servers`), and under `/v2`
without microversions. HEAD works wherever GET does.
"""


def document() -> str:
    """The whole document."""
    defaults = {rule.name: rule.check_str for rule in routes.list_rules()}
    parts = [_INTRODUCTION]
    for service, urls in routes.ROUTES.items():
        parts.append(f"## {_TITLES.get(service, service)}\n")
        parts.append(_service(service, urls, defaults))
    names = [rule for rule in routes.list_rules() if not getattr(rule, "operations", None)]
    rows = [[code(rule.name), code(rule.check_str), rule.description or ""] for rule in names]
    parts += ["## Rules that others are built of\n", table(("rule", "default", "meaning"), rows)]
    return "\n".join(parts)


def _service(service: str, urls: Mapping[str, Mapping[str, Endpoint]], defaults: Mapping[str, str]) -> str:
    rows = []
    for template, methods in urls.items():
        for method, row in methods.items():
            url = code(routes.PREFIX[service] + template or "/")
            if not row.actions:
                rows.append([method, url, *_cells(row, defaults)])
            for action, chosen in row.actions.items():
                rows.append([method, f"{url} {code(action)}", *_cells(chosen, defaults)])
    return table(("method", "URL", "rule", "default", "status", "versions", "handler"), rows)


def _cells(row: Endpoint, defaults: Mapping[str, str]) -> list[str]:
    if row.rule in (PUBLIC, ANY_TOKEN):
        rule, default = row.rule.strip("()"), ""
    else:
        rule, default = code(row.rule), code(defaults[row.rule] or "@")
    statuses = [f"{status} from {since}" if since > MIN else str(status) for since, status in row.status.values()]
    return [rule, default, ", ".join(statuses), _window(row), code(_where(row.handler))]


def _window(row: Endpoint) -> str:
    since = f"from {row.window.since}" if row.window.since > MIN else ""
    until = f"to {row.window.until}" if row.window.until < FOREVER else ""
    return f"{since} {until}".strip()


def _where(handler: Any) -> str:
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    module = handler.__module__.replace(".", "/")
    below = module.removeprefix("computeapi/api/")
    return f"{below if below != module else module + '.py'}: {handler.__qualname__.split('.')[0]}"


if __name__ == "__main__":
    sys.exit(main("routes", "every URL with its rule and its code, as Markdown", {"docs/routes.md": document}))
