# SPDX-License-Identifier: Apache-2.0
"""The stock clients' own command lines, many commands in one process: what they import takes longer than what they do.

Runs in a client's environment and needs nothing but that: one JSON list of arguments a line in, one JSON answer out.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any


def openstack(arguments: list[str]) -> Any:
    """`openstack ARGUMENT…`."""
    from openstackclient.shell import OpenStackShell

    return OpenStackShell().run(arguments)


def nova(arguments: list[str]) -> Any:
    """`nova ARGUMENT…`."""
    from novaclient.shell import OpenStackComputeShell

    OpenStackComputeShell().main(arguments)
    return 0


def run(shell: Any, arguments: list[str]) -> dict[str, Any]:
    """One command: its exit code and what it wrote. What it raises is written as its `main` would."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = shell(arguments)
        except SystemExit as end:
            code = end.code
        except Exception as error:
            code = 1
            print(f"ERROR ({type(error).__name__}): {error}", file=sys.stderr)
    return {
        "code": int(code) if code is None or isinstance(code, int) else 1,
        "out": out.getvalue(),
        "err": err.getvalue(),
    }


def main() -> None:
    """Answer until the input ends."""
    shell = {"openstack": openstack, "nova": nova}[sys.argv[1]]
    answers = sys.stdout
    for line in sys.stdin:
        print(json.dumps(run(shell, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
