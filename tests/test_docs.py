# SPDX-License-Identifier: Apache-2.0
"""What is made from the tables is up to date, what the documents name exists, and what etc/ holds works."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from computeapi import errors, routes, server, settings
from computeapi.settings import Settings

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


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units(unit: Path) -> None:
    """Each runs a command that exists, as a user of its own where it can, and may gain no privileges."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    words = parser["Service"]["ExecStart"].split()
    part = words[1]
    assert run(sys.executable, "-m", "computeapi", part, "--help").returncode == 0
    assert parser["Service"]["NoNewPrivileges"] == "yes"
    assert parser["Service"]["ProtectSystem"] == "strict"
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    if shutil.which("systemd-analyze"):
        ran = run("systemd-analyze", "verify", "--man=no", str(unit))
        assert not [line for line in ran.stderr.splitlines() if unit.name in line and "not executable" not in line]


def test_there_are_units() -> None:
    assert [unit.name for unit in UNITS] == [
        "computeapi-api.service",
        "computeapi-compute.service",
        "computeapi-console.service",
        "computeapi.service",
    ]


def test_socket_unit() -> None:
    """The port that it keeps is the API's."""
    unit = ROOT / "etc" / "computeapi-api.socket"
    assert f"\nListenStream={Settings().listen}\n" in unit.read_text()
    if shutil.which("systemd-analyze"):
        ran = run("systemd-analyze", "verify", "--man=no", str(unit), str(ROOT / "etc" / "computeapi-api.service"))
        assert not [line for line in ran.stderr.splitlines() if "computeapi-api" in line and "not exec" not in line]


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


def test_nginx_example(tmp_path: Path) -> None:
    """nginx itself reads it, with a certificate in place."""
    nginx, openssl = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), shutil.which("openssl")
    if not nginx or not openssl:
        pytest.skip("nginx or openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = run(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=cloud.example.org",
               "-keyout", str(key), "-out", str(certificate), "-days", "1")  # fmt: skip
    assert made.returncode == 0
    text = (ROOT / "etc" / "nginx.conf").read_text()
    text = re.sub(r"ssl_certificate_key .*;", f"ssl_certificate_key {key};", text)
    text = re.sub(r"ssl_certificate .*;", f"ssl_certificate {certificate};", text)
    path = tmp_path / "nginx.conf"
    path.write_text(f"pid {tmp_path}/pid; events {{}} http {{ {text} }}")
    ran = run(nginx, "-t", "-c", str(path), "-p", str(tmp_path), "-e", str(tmp_path / "error.log"))
    assert "syntax is ok" in ran.stderr  # it may fail afterwards, for ports and directories that are not ours to take


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
