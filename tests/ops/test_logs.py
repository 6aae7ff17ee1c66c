# SPDX-License-Identifier: Apache-2.0
"""Log lines: whose request, which server, as text and as JSON, in files that are rotated."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from computeapi import logs
from tests.conftest import Api

LOG = logging.getLogger("computeapi.test")


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """Standard error, with the root logger as it was afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield capfd
    root.handlers[:], root.level = before
    logs.about()


def test_text(lines: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.about(request_id="req-1")
    LOG.info("first")
    logs.know(project_id="p1", server="s1")
    LOG.info("second")
    with logs.subject(server="s2"):
        LOG.warning("third")
    LOG.info("fourth", extra={"server": "s3"})
    logs.about()
    LOG.info("fifth\nand \x1b[31m more")
    found = [line.split(" ", 1)[1] for line in lines.readouterr().err.splitlines()]
    assert found == [
        "INFO computeapi.test [req-1] first",
        "INFO computeapi.test [req-1 p1 s1] second",
        "WARNING computeapi.test [s2] third",
        "INFO computeapi.test [req-1 p1 s3] fourth",
        r"INFO computeapi.test [-] fifth\nand \x1b[31m more",
    ]


def test_threads_know_their_own(lines: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.about(request_id="req-1")
    thread = threading.Thread(target=lambda: LOG.info("elsewhere"))
    thread.start()
    thread.join()
    assert "[-] elsewhere" in lines.readouterr().err


def test_json(lines: pytest.CaptureFixture[str]) -> None:
    logs.configure(style="json")
    logs.about(request_id="req-1", server="s1", user_id=None)
    try:
        raise ValueError("no \udcff text")
    except ValueError:
        LOG.exception("it\nfailed", extra={"status": 200, "path": Path("/x")})
    line = json.loads(lines.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line.pop("traceback").endswith("text")
    assert line == {
        "level": "ERROR",
        "logger": "computeapi.test",
        "message": "it\nfailed",
        "request_id": "req-1",
        "server": "s1",
        "status": 200,
        "path": "/x",
    }


def test_access_line(lines: pytest.CaptureFixture[str], api: Api) -> None:
    """Request, user, project and server; nothing of the query, the body or the token."""
    logs.configure(style="json")
    server = str(uuid.uuid4())
    answer = api.get(f"/servers/{server}?secret=1")
    (line,) = [json.loads(text) for text in lines.readouterr().err.splitlines() if '"ms"' in text]
    assert line["request_id"] == answer.headers["X-OpenStack-Request-Id"]
    assert (line["user_id"], line["project_id"], line["server"]) == (api.user_id, api.project_id, server)
    assert (line["method"], line["path"], line["status"]) == ("GET", f"/v2.1/servers/{server}", 404)
    assert line["ms"] >= 0 and line["client"]
    assert "secret" not in str(line) and api.token not in str(line)


def test_a_consoles_token_is_in_no_line(lines: pytest.CaptureFixture[str], api: Api) -> None:
    logs.configure()
    api.become("admin").get("/os-console-auth-tokens/secret")
    said = lines.readouterr().err
    assert '"GET /v2.1/os-console-auth-tokens/{token}" 404' in said and "secret" not in said


def test_a_path_forges_no_line(lines: pytest.CaptureFixture[str], api: Api) -> None:
    logs.configure()
    for path in ("/v2.1/x%0aforged", "/servers/x%0aforged", "/servers/x%1b[31m%0d"):
        api.get(path)
        (line,) = lines.readouterr().err.splitlines()
        assert line.isprintable()


def test_a_request_knows_nothing_of_the_one_before(lines: pytest.CaptureFixture[str], api: Api) -> None:
    logs.configure()
    api.get(f"/servers/{uuid.uuid4()}")
    lines.readouterr()
    api.request("GET", "/", headers={"X-Auth-Token": ""})
    (line,) = [text for text in lines.readouterr().err.splitlines() if " ms" in text]
    assert api.project_id not in line


_ROTATED = """
import logging, os, sys
from pathlib import Path
from computeapi import logs
path = Path(sys.argv[1])
logs.configure(file=path)
logging.info("one")
path.rename(path.with_suffix(".1"))
logging.info("two")
os.write(2, b"last words\\n")
"""


def test_rotated_file(tmp_path: Path) -> None:
    """Renamed, it is made anew at the next line; what is written past logging goes there as well."""
    path = tmp_path / "log" / "api.log"
    subprocess.run([sys.executable, "-c", _ROTATED, str(path)], check=True, timeout=60)
    assert path.with_suffix(".1").read_text().endswith("one\n")
    assert path.read_text().endswith("two\nlast words\n") and "one" not in path.read_text()
