# SPDX-License-Identifier: Apache-2.0
"""What the commands here share: print a document, write it to its file, or check that the file is up to date."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SHOWN = 20  # lines of a difference


def main(command: str, what: str, documents: dict[str, Callable[[], str]]) -> int:
    """Run `tools/<command>`; `documents` are paths below the repository's root, and what makes them."""
    parser = argparse.ArgumentParser(prog=f"tools/{command}", description=f"Prints {what}.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--write", action="store_true", help=f"write {' and '.join(documents)} instead")
    group.add_argument("--check", action="store_true", help="exit with 1 where they are not up to date, and say so")
    options = parser.parse_args()
    stale = 0
    for name, make in documents.items():
        path, text = ROOT / name, make()
        if options.write:
            path.write_text(text)
        elif options.check:
            stale += _check(path, name, text, command)
        else:
            sys.stdout.write(text)
    return 1 if stale else 0


def _check(path: Path, name: str, text: str, command: str) -> int:
    have = path.read_text() if path.exists() else ""
    if have == text:
        return 0
    print(f"{name} is not up to date: tools/{command} --write", file=sys.stderr)
    lines = difflib.unified_diff(have.splitlines(), text.splitlines(), "committed", "from the table", lineterm="")
    for line in islice(lines, _SHOWN):
        print(f"  {line}", file=sys.stderr)
    return 1


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Markdown's `text`; nothing for nothing."""
    return f"`{text}`" if text else ""
