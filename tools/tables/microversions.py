# SPDX-License-Identifier: Apache-2.0
"""docs/microversions.md: VERSIONS, and which rows each of them changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from computeapi import routes, versions
from computeapi.endpoint import Endpoint
from computeapi.versions import MIN, Version
from tools.tables.document import code, main, table

_INTRODUCTION = """<!-- Made by tools/microversions from VERSIONS and ROUTES: change these, then
`tools/microversions --write`. -->
# Microversions

What `GET /v2.1/` advertises is from {least} to {most}: what is implemented, never more. A request names one in
`OpenStack-API-Version: compute X.Y` or in `X-OpenStack-Nova-API-Version: X.Y` (`latest` for the newest); with
neither it gets {least}. `/v2` has no microversions: it answers as {least} does, and lets unknown keys of a body pass.

Versions are Nova's. How to add one: docs/adding-a-microversion.md.
"""


def document() -> str:
    """The whole document."""
    rows = [[f"2.{minor}", text, "<br>".join(_changes(Version(2, minor)))] for minor, text in versions.VERSIONS.items()]
    introduction = _INTRODUCTION.format(least=versions.MIN, most=versions.MAX)
    ahead = [f"- {version}: {', '.join(found)}" for version in _later() if (found := list(_changes(version)))]
    later = "\n## Written, not yet advertised\n\n" + "\n".join(ahead) + "\n" if ahead else ""
    return introduction + "\n" + table(("version", "what changed", "rows that change"), rows) + later


def _rows() -> Iterator[tuple[str, Endpoint]]:
    for template, methods in routes.ROUTES["compute"].items():
        for method, row in methods.items():
            yield from ((f"{method} {template} {name}", chosen) for name, chosen in row.actions.items())
            if not row.actions:
                yield f"{method} {template}", row


def _changes(version: Version) -> Iterator[str]:
    if version == MIN:
        return
    for name, row in _rows():
        what = [
            word
            for word, value in (("body", row.body), ("query", row.query), ("status", row.status))
            if value is not None and any(since == version for since, _ in value.values())
        ]
        if row.window.since == version:
            what.append("new")
        if row.window.until == Version(2, version.minor - 1):
            what.append("gone")
        if what:
            yield f"{code(name)} ({', '.join(what)})"


def _later() -> Iterator[Version]:
    return (Version(2, minor) for minor in range(versions.MAX.minor + 1, 105))


if __name__ == "__main__":
    what = "the microversions and what each changes, as Markdown"
    sys.exit(main("microversions", what, {"docs/microversions.md": document}))
