# SPDX-License-Identifier: Apache-2.0
"""tools/lib/console-web, with an npm that gives what the test made."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from computeapi.console.pages import Pages

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "lib"
NPM = """#!/bin/sh
# npm pack --silent --ignore-scripts --pack-destination DIR PACKAGE
[ "$1 $2 $3 $4" = "pack --silent --ignore-scripts --pack-destination" ] || exit 1
[ "$6" = "@x/viewer@1.2.3" ] || exit 1
cp "{archive}" "$5/x-viewer-1.2.3.tgz" && echo x-viewer-1.2.3.tgz
"""
FILES = {
    "package/core/rfb.js": b"export default 1;\n",
    "package/core/util/log.js": b"1;\n",
    "package/corelike.js": b"not asked for\n",
    "package/app/more.js": b"not asked for\n",
    "package/core/../../../../escaped.js": b"out\n",
}


class Tool:
    """The script in a directory of its own, with its own lock and npm."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.web = directory, directory / "state" / "web"
        shutil.copy(TOOLS / "console-web", directory / "console-web")
        self.archive = directory / "made.tgz"
        with tarfile.open(self.archive, "w:gz") as archive:
            for name, content in FILES.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        programs = directory / "bin"
        programs.mkdir()
        (programs / "npm").write_text(NPM.format(archive=self.archive))
        (programs / "npm").chmod(0o755)
        self.lock(base64.b64encode(hashlib.sha512(self.archive.read_bytes()).digest()).decode())

    def lock(self, digest: str) -> None:
        """What the lock says that the package's hash is."""
        (self.directory / "console-web.lock").write_text(f"# x\nnovnc @x/viewer 1.2.3 sha512-{digest} core\n")

    def run(self, path: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.directory / "console-web"), str(self.web)]
        path = f"{self.directory / 'bin'}:/usr/bin:/bin" if path is None else path
        return subprocess.run(command, env={"PATH": path}, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


def files(directory: Path) -> set[str]:
    return {str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()}


def test_what_the_lock_says_is_there(tool: Tool) -> None:
    assert tool.run().returncode == 0
    assert files(tool.web) == {"installed", "novnc/core/rfb.js", "novnc/core/util/log.js"}
    assert not list(tool.directory.rglob("escaped.js"))
    assert [each.name for each in tool.web.parent.iterdir()] == ["web"], "nothing is left beside it"
    assert Pages(tool.web).find("/novnc/core/rfb.js")
    (tool.directory / "bin" / "npm").write_text("#!/bin/sh\nexit 1\n")
    assert tool.run().returncode == 0, "what is there is kept"


def test_another_package_than_the_locks_is_refused(tool: Tool) -> None:
    assert tool.run().returncode == 0
    tool.lock("A" * 86 + "==")
    ran = tool.run()
    assert ran.returncode == 1 and "is not what the lock says" in ran.stderr
    assert "novnc/core/rfb.js" in files(tool.web), "what was there is still there"


def test_npm_fails(tool: Tool) -> None:
    (tool.directory / "bin" / "npm").write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    ran = tool.run()
    assert ran.returncode == 1 and "no network" in ran.stderr
    assert not tool.web.exists()


def test_without_npm(tool: Tool) -> None:
    ran = tool.run(path="/nonexistent")
    if Path("/usr/share/novnc").is_dir():
        assert ran.returncode == 0 and "novnc/core/rfb.js" in files(tool.web)
    else:
        assert ran.returncode == 1 and "neither npm nor" in ran.stderr


def test_the_lock() -> None:
    lines = [line.split() for line in (TOOLS / "console-web.lock").read_text().splitlines() if line[0] != "#"]
    assert {line[0] for line in lines} == {"novnc", "xterm", "xterm-addon-fit", "spice-html5"}
    for _, _, version, integrity, *parts in lines:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version) and parts
        kind, _, digest = integrity.partition("-")
        assert kind == "sha512" and len(base64.b64decode(digest, validate=True)) == 64
