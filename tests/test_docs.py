# SPDX-License-Identifier: Apache-2.0
"""What is made from the tables is up to date, what the documents name exists, and what etc/ holds works."""

from __future__ import annotations

import configparser
import http.client
import http.server
import importlib.util
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from computeapi import errors, routes, server, settings
from computeapi.settings import Settings
from tests.ops.servers import wait_for
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command's end, with what it said."""
    variables = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=120)


# --- what is generated ---


@pytest.mark.parametrize("command", ["routes", "states", "microversions", "conf"])
def test_generated_is_up_to_date(command: str) -> None:
    ran = run(sys.executable, "-m", f"tools.tables.{command}", "--check")
    assert ran.returncode == 0, ran.stderr


def test_check_notices(tmp_path: Path) -> None:
    """A document that is stale, or missing, is found out; --write mends it."""
    copy = tmp_path / "repository"
    shutil.copytree(ROOT / "tools" / "tables", copy / "tools" / "tables")
    (copy / "docs").mkdir()
    command = (sys.executable, "-m", "tools.tables.microversions")
    environment = {"PYTHONPATH": f"{copy}:{ROOT}"}
    assert run(*command, "--check", cwd=copy, **environment).returncode == 1
    assert run(*command, "--write", cwd=copy, **environment).returncode == 0
    assert run(*command, "--check", cwd=copy, **environment).returncode == 0
    with (copy / "docs" / "microversions.md").open("a") as file:
        file.write("more\n")
    stale = run(*command, "--check", cwd=copy, **environment)
    assert stale.returncode == 1 and "docs/microversions.md is not up to date" in stale.stderr


# --- what the documents say ---


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_what_exists(document: Path) -> None:
    """Every path of this repository in backquotes, and every link to a file of it."""
    text = document.read_text()
    named = re.findall(r"`((?:computeapi|tools|tests|docs|etc|migrations)/[\w./-]*)[`:]", text)
    linked = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    # "things" is the example's noun.
    missing = [path for path in named if not (ROOT / path).exists() and "things" not in path]
    missing += [link for link in linked if not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_settings_that_exist(document: Path) -> None:
    """`[section] option`, as the documents write it."""
    known = {(section, option.name) for section, options in settings.list_opts() for option in options}
    named = set(re.findall(r"`\[(\w+)\] (\w+)", document.read_text()))
    assert named - known == set()


def test_status_codes_are_those_of_the_code() -> None:
    """docs/status-codes.md has a row for each status, with its fault and the error's name."""
    text = (ROOT / "docs" / "status-codes.md").read_text()
    rows = re.findall(r"^\| (\d{3}) \| (\w+) \| (?:`(\w+)`)?", text, re.MULTILINE)
    wanted = {(str(status), fault, kind.__name__) for kind, (status, fault) in errors.STATUS.items()}
    assert set(rows) == wanted | {("500", "computeFault", "")}


def test_dependencies_are_those_of_the_project() -> None:
    """docs/dependencies.md says of each why it is there, and of none that is not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[\[>=<]", text)[0] for text in project["dependencies"]}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    assert set(re.findall(r"^\| ([\w.-]+) \|", text, re.MULTILINE)) - {"Package"} == wanted
    extras = {re.split(r"[\[>=<]", text)[0] for extra in project["optional-dependencies"].values() for text in extra}
    assert [name for name in extras if name not in text] == []


# --- etc ---


def test_settings_sample_loads() -> None:
    """Commented out, it changes nothing; each line taken in, it is the default."""
    sample = ROOT / "etc" / "computeapi.conf.sample"
    assert settings.load([str(sample)], {}) == Settings()
    section, options = "DEFAULT", set()
    for line in sample.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif found := re.match(r"#(\w+) = ?", line):
            options.add((section, found[1]))
    assert options == {(section, option.name) for section, opts in settings.list_opts() for option in opts}


def test_gunicorn_conf_is_what_the_command_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMPUTEAPI_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("COMPUTEAPI_LISTEN", "127.0.0.1:1234")
    path = ROOT / "etc" / "gunicorn.conf.py"
    spec = importlib.util.spec_from_file_location("gunicorn_conf", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["gunicorn"])
    ours = server._Server(settings.load()).cfg.settings
    for name in ("bind", "workers", "threads", "worker_class", "proc_name", "graceful_timeout", "timeout", "keepalive"):
        theirs = getattr(module, name)
        assert ours[name].get() == theirs, name


UNITS = sorted((ROOT / "etc").glob("*.service"))
SOCKET = ROOT / "etc" / "computeapi-api.socket"


def read_unit(unit: Path) -> configparser.ConfigParser:
    """Its sections; of a key that is there twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units(unit: Path) -> None:
    """Each runs a command that exists, as a user of its own where it can, and may gain no privileges."""
    parser = read_unit(unit)
    words = parser["Service"]["ExecStart"].split()
    part = words[1]
    assert run(sys.executable, "-m", "computeapi", part, "--help").returncode == 0
    assert parser["Service"]["NoNewPrivileges"] == "yes"
    assert parser["Service"]["ProtectSystem"] == "strict"
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    assert parser["Service"]["User"] == "computeapi"


def systemd_analyze() -> str:
    """The program; skips the test where it is not."""
    return shutil.which("systemd-analyze") or pytest.skip("systemd-analyze is not installed (apt-get install systemd)")


def installed(directory: Path) -> list[str]:
    """Copies of all units whose programs are there, as they are where it is installed."""
    (program := directory / "computeapi").touch(mode=0o755)
    for unit in [*UNITS, SOCKET]:
        text = unit.read_text().replace("/opt/computeapi/.venv/bin/computeapi", str(program))
        (directory / unit.name).write_text(text)
    return [str(directory / unit.name) for unit in [*UNITS, SOCKET]]


def test_units_verified(tmp_path: Path) -> None:
    """systemd itself finds nothing wrong with any."""
    ran = run(systemd_analyze(), "verify", "--man=no", *installed(tmp_path))
    assert [line for line in ran.stderr.splitlines() if "computeapi" in line] == []
    (tmp_path / UNITS[0].name).write_text(UNITS[0].read_text().replace("Restart=", "Restat="))
    wrong = run(systemd_analyze(), "verify", "--man=no", str(tmp_path / UNITS[0].name))
    assert "'Restat'" in wrong.stderr, "and would find it"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_confined(unit: Path) -> None:
    """By systemd's own measure, 0 to 10; 2.4 is what a service with two capabilities comes to."""
    ran = run(systemd_analyze(), "security", "--no-pager", "--offline=true", "--threshold=25", str(unit))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_capabilities() -> None:
    """None but for those that filter and ping; and who filters knows netlink."""
    for unit in UNITS:
        service = read_unit(unit)["Service"]
        few = "CAP_NET_ADMIN CAP_NET_RAW" if unit.stem in ("computeapi", "computeapi-compute") else ""
        assert (service["CapabilityBoundingSet"], service.get("AmbientCapabilities", "")) == (few, few), unit
        assert ("AF_NETLINK" in service["RestrictAddressFamilies"]) == bool(few), unit
        assert (service.get("SupplementaryGroups") == "libvirt") == (unit.stem != "computeapi-api"), unit


def test_command(tmp_path: Path) -> None:
    """etc/computeapi-command runs the program with the services' directories, as who it is told to be."""
    text = (ROOT / "etc" / "computeapi-command").read_text()
    (program := tmp_path / "program").write_text('#!/bin/sh\necho "$COMPUTEAPI_STATE_DIR $COMPUTEAPI_CONF $#:$*"\n')
    program.chmod(0o755)
    for old, new in (("/opt/computeapi/.venv/bin/computeapi", str(program)), ("= computeapi ]", '= "$(id -un)" ]')):
        assert old in text
        text = text.replace(old, new)
    (command := tmp_path / "computeapi").write_text(text)
    ran = run("sh", str(command), "host", "disable", "host1", "--reason", "new memory")
    variables = {option for unit in UNITS for option in re.findall(r"^Environment=(.*)$", unit.read_text(), re.M)}
    assert (
        ran.stdout == "/var/lib/computeapi /etc/computeapi/computeapi.conf 5:host disable host1 --reason new memory\n"
    )
    assert variables == {
        f"COMPUTEAPI_{name}" for name in ("STATE_DIR=/var/lib/computeapi", "CONF=" + ran.stdout.split()[1])
    }


def test_there_are_units() -> None:
    assert [unit.name for unit in UNITS] == [
        "computeapi-api.service",
        "computeapi-compute.service",
        "computeapi-console.service",
        "computeapi.service",
    ]


def test_socket_unit() -> None:
    """The port that it keeps is the API's."""
    assert f"\nListenStream={Settings().listen}\n" in SOCKET.read_text()


def test_log_rotation(tmp_path: Path) -> None:
    """logrotate itself reads it."""
    logrotate = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
    if not logrotate:
        pytest.skip("logrotate is not installed")
    conf = tmp_path / "logrotate.conf"
    text = (ROOT / "etc" / "logrotate.conf").read_text().replace("/var/lib/computeapi/log", str(tmp_path))
    conf.write_text(text.replace("    su computeapi computeapi\n", ""))
    conf.chmod(0o644)
    (tmp_path / "api.log").write_text("a line\n")
    ran = run(logrotate, "--force", "--state", str(tmp_path / "state"), str(conf))
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "api.log.1").read_text() == "a line\n" and not (tmp_path / "api.log").exists()


class Answers(http.server.BaseHTTPRequestHandler):
    """A program behind nginx: it says which it is, and what it was asked."""

    def do_GET(self) -> None:
        said = (
            f"{self.connection.getsockname()[1]} {self.path} {self.headers['Host']} {self.headers['X-Forwarded-Proto']}"
        )
        said += f" {self.headers['X-Forwarded-For']}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def program() -> Iterator[int]:
    """One that runs; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_nginx_example(tmp_path: Path) -> None:
    """nginx itself reads it, with a certificate in place, and passes on what comes over TLS."""
    nginx, openssl = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), shutil.which("openssl")
    if not nginx or not openssl:
        pytest.skip("nginx or openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = run(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=cloud.example.org",
               "-keyout", str(key), "-out", str(certificate), "-days", "1")  # fmt: skip
    assert made.returncode == 0
    path, port, plain = tmp_path / "nginx.conf", free_port(), free_port()
    with program() as api, program() as console:
        text = re.sub(r"listen \[::\].*;\n", "", (ROOT / "etc" / "nginx.conf").read_text())
        for pattern, instead in (
            (r"ssl_certificate_key .*;", f"ssl_certificate_key {key};"),
            (r"ssl_certificate .*;", f"ssl_certificate {certificate};"),
            (r"listen 80;", f"listen 127.0.0.1:{plain};"),
            (r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
            (r"127\.0\.0\.1:8774", f"127.0.0.1:{api}"),
            (r"127\.0\.0\.1:6080", f"127.0.0.1:{console}"),
        ):
            text, count = re.subn(pattern, instead, text)
            assert count == 1, pattern
        paths = "".join(
            f"{kind}_temp_path {tmp_path};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path.write_text(f"pid {tmp_path}/pid; daemon off; events {{}} http {{ access_log off; {paths} {text} }}")
        words = [nginx, "-c", str(path), "-p", str(tmp_path), "-e", str(tmp_path / "error.log")]
        ran = run(*words, "-t")
        assert ran.returncode == 0 and ran.stderr.count("\n") == 2, ran.stderr  # ok, ok, and no warning
        server = subprocess.Popen(words)
        try:
            context = ssl.create_default_context(cafile=str(certificate))
            context.check_hostname = False
            base = f"https://127.0.0.1:{port}"
            wait_for(lambda: listens(plain) and listens(port), "nginx runs")

            def ask(where: str) -> str:
                with urllib.request.urlopen(base + where, context=context, timeout=10) as answer:
                    assert answer.headers["Strict-Transport-Security"]
                    return str(answer.read().decode())

            assert ask("/v2.1/servers?limit=1") == f"{api} /v2.1/servers?limit=1 127.0.0.1:{port} https 127.0.0.1"
            assert ask("/console/host1/vnc?token=x") == f"{console} /vnc?token=x 127.0.0.1:{port} https None"
            connection = http.client.HTTPConnection("127.0.0.1", plain, timeout=10)
            connection.request("GET", "/v2.1", headers={"Host": "cloud.example.org"})
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Location"]) == (301, "https://cloud.example.org/v2.1")
            connection.close()
        finally:
            server.terminate()
            server.wait(30)


# --- oslo.policy's commands on our entry points ---


def test_policy_sample_generator() -> None:
    ran = run("oslopolicy-sample-generator", "--namespace", "computeapi")
    assert ran.returncode == 0, ran.stderr
    names = set(re.findall(r'^#"([^"]+)":', ran.stdout, re.MULTILINE))
    assert names == {rule.name for rule in routes.list_rules()}


def test_policy_sample_is_complete_and_changes_nothing() -> None:
    sample = json.loads((ROOT / "etc" / "policy.json.sample").read_text())
    assert sample == {rule.name: rule.check_str for rule in routes.list_rules()}


def test_policy_file_overrides_nothing() -> None:
    assert json.loads((ROOT / "policy.json").read_text()) == {}


def test_policy_generator(tmp_path: Path) -> None:
    """The effective policy: the defaults, and what policy.json says instead."""
    (tmp_path / "policy.json").write_text('{"os_compute_api:servers:start": "role:admin"}')
    ran = run("oslopolicy-policy-generator", "--namespace", "computeapi", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert '"os_compute_api:servers:start": "role:admin"' in ran.stdout
    assert '"os_compute_api:servers:stop": "rule:project_member_or_admin"' in ran.stdout


@pytest.mark.parametrize(("role", "passed"), [("member", True), ("reader", False)])
def test_policy_checker(tmp_path: Path, role: str, passed: bool) -> None:
    """What an operator asks: may such a token do this?"""
    project = {"id": "p1", "name": "demo", "domain": {"id": "default", "name": "Default"}}
    token = {"user": {"id": "u1", "name": "demo", "domain": project["domain"]}, "roles": [{"id": "r", "name": role}]}
    access = tmp_path / "token.json"
    access.write_text(json.dumps({"token": {**token, "project": project, "is_domain": False}}))
    effective = tmp_path / "effective.yaml"
    effective.write_text(run("oslopolicy-policy-generator", "--namespace", "computeapi", cwd=tmp_path).stdout)
    rule = "os_compute_api:servers:stop"
    ran = run("oslopolicy-checker", "--policy", str(effective), "--access", str(access), "--rule", rule, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert f"{'passed' if passed else 'failed'}: {rule}" in ran.stdout
