# SPDX-License-Identifier: Apache-2.0
"""The operator's commands, in this process: accounts, hosts, the database, and what `status` says."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import re
import socket
import uuid
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from computeapi import cli, clock
from computeapi.backends.identity import setup
from computeapi.db.engine import Database
from computeapi.db.models import Action, Migration, Server
from computeapi.db.queries import host_faults
from computeapi.db.queries.common import insert_key
from computeapi.settings import Settings
from tests.conftest import Api
from tests.ports import free_port
from tests.wire.conftest import MakeServer, add_host

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """`run("user", "list")`: the exit code, and all that was said."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    conf = Path(settings.state_dir, "computeapi.conf")
    conf.write_text(f"[database]\nconnection = {settings.database_url.replace('%', '%%')}\n")
    monkeypatch.setenv("COMPUTEAPI_STATE_DIR", settings.state_dir)
    monkeypatch.setenv("COMPUTEAPI_LISTEN", f"127.0.0.1:{free_port()}")
    monkeypatch.delenv("COMPUTEAPI_CONF", raising=False)

    def call(*words: str) -> tuple[int, str]:
        capsys.readouterr()  # what the API logged meanwhile
        try:
            code = cli.main(words)
        except SystemExit as error:
            code = int(error.code or 0)
        said = capsys.readouterr()
        return code, said.out + said.err

    yield call
    root.handlers[:], root.level = before


@pytest.fixture
def defaults(db: Database) -> None:
    """Users, projects and roles."""
    setup.ensure_defaults(db, "admin's secret")


def login(api: Api, user: str, password: str, project: str) -> int:
    domain = {"id": "default"}
    identity = {"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": password}}}
    scope = {"project": {"name": project, "domain": domain}}
    return int(api.post("/identity/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}}).status_code)


def test_help_teaches(run: Run) -> None:
    code, said = run("--help")
    assert code == 0
    names = re.findall(r"^    (\w+)$|^    (\w+)  ", said, re.MULTILINE)
    assert {a or b for a, b in names} >= {
        *("init", "serve", "api", "compute", "console", "status", "host", "user", "project", "role", "db"),
        *("reconcile", "backup", "restore"),
    }
    for name in (a or b for a, b in names):
        code, more = run(name, "--help")
        assert code == 0 and "usage: computeapi" in more
        after = more.partition("--help")[2].partition("\n\n")[2]
        assert len(after) > 80, f"{name}: no example, nothing of what it does"


def test_accounts(run: Run, defaults: None, api: Api) -> None:
    code, said = run("user", "create", "alice", "--project", "web", "--role", "reader")
    password = said.splitlines()[-1]
    assert code == 0 and login(api, "alice", password, "web") == 201
    assert run("user", "create", "alice")[0] == 1
    assert run("role", "assign", "member", "--user", "alice", "--project", "demo")[0] == 0
    assert login(api, "alice", password, "demo") == 201
    said = run("role", "list")[1]
    assert "reader   user alice  project web" in said and "service  nobody" in said
    assert run("role", "remove", "member", "--user", "alice", "--project", "demo")[0] == 0
    assert run("role", "remove", "member", "--user", "alice", "--project", "demo")[0] == 1
    assert login(api, "alice", password, "demo") == 401
    new = run("user", "set-password", "alice")[1].splitlines()[-1]
    assert (login(api, "alice", password, "web"), login(api, "alice", new, "web")) == (401, 201)
    assert "alice" in run("user", "list")[1]
    assert run("user", "delete", "alice")[0] == 0
    assert run("user", "delete", "alice")[1] == "Could not find user: alice.\n"
    assert "web" in run("project", "list")[1]
    assert run("project", "delete", "web")[0] == 0
    assert run("project", "create", "web", "--description", "x")[0] == 0


def test_the_last_administrator_stays(run: Run, defaults: None, api: Api) -> None:
    code, said = run("user", "delete", "admin")
    assert code == 1 and said.startswith("User admin is the only one who may administer the cloud.")
    assert login(api, "admin", "admin's secret", "admin") == 201
    assert run("user", "create", "root", "--project", "top", "--role", "admin")[0] == 0
    assert run("user", "delete", "admin")[0] == 0
    assert login(api, "admin", "admin's secret", "admin") == 401
    code, said = run("user", "delete", "root")
    assert code == 1 and "say --force" in said
    assert run("user", "delete", "root", "--force")[0] == 0


@pytest.mark.parametrize("words", [("user", "create"), ("project", "create"), ("user", "create", "bob", "--project")])
def test_names_that_are_none(run: Run, defaults: None, words: tuple[str, ...]) -> None:
    for name in ("", " ", "x" * 256):
        code, said = run(*words, name)
        assert code == 2 and f"a name has 1 to {255 if words == ('user', 'create') else 64} characters" in said


def test_ages_that_are_none(run: Run) -> None:
    for age, why in (("30x", "is no age"), ("d", "is no age"), ("999999w", "is more than a hundred years")):
        code, said = run("db", "purge", "--older-than", age)
        assert code == 2 and f"{age} {why}" in said


def test_password_from_standard_input(run: Run, defaults: None, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr("sys.stdin", io.StringIO("a good one\n"))
    code, said = run("user", "set-password", "admin", "--password-stdin")
    assert code == 0 and "a good one" not in said
    assert login(api, "admin", "a good one", "admin") == 201


def test_new_password_is_in_clouds_yaml(run: Run, defaults: None, settings: Settings) -> None:
    path = Path(settings.state_dir, "clouds.yaml")
    path.write_text("clouds:\n  mine:\n    auth: {username: admin, password: old}\n  other:\n    auth: {username: x}\n")
    password = run("user", "set-password", "admin")[1].splitlines()[-1]
    assert f"password: {password}" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_users_of_a_real_keystone(run: Run, settings: Settings) -> None:
    with Path(settings.state_dir, "computeapi.conf").open("a") as conf:
        conf.write("[identity]\nidentity_url = http://keystone/v3\n")
    code, said = run("user", "list")
    assert code == 1 and "http://keystone/v3" in said


def test_hosts(run: Run, db: Database, make_server: MakeServer) -> None:
    add_host(db, "host1", vcpus=4, vcpus_used=1)
    add_host(db, "host2", last_seen_at=clock.shifted(-3600))
    make_server(host="host1")
    assert run("host", "disable", "host1", "--reason", "new memory")[0] == 0
    lines = run("host", "list")[1].splitlines()
    assert lines[1].split()[:5] == ["host1", "up", "disabled", "0", "1/4"] and lines[1].endswith("new memory")
    assert lines[2].split()[:3] == ["host2", "down", "enabled"]
    assert run("host", "enable", "host1")[0] == 0
    assert "disabled" not in run("host", "list")[1]
    assert run("host", "forget", "host1") == (
        1,
        "Unable to delete compute service that is hosting instances. Migrate or delete the instances first.\n",
    )
    assert run("host", "forget", "host2")[0] == 0
    assert run("host", "forget", "host2") == (1, "There is no host host2.\n")


def test_database(run: Run, db: Database) -> None:
    assert run("db", "check")[0] == 0
    assert run("db", "upgrade") == (0, "==> up to date\n")
    assert run("db", "purge", "--older-than", "30d")[0] == 0
    with db.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert run("db", "check")[0] == 1
    assert run("user", "list")[0] == 1
    code, said = run("status")
    assert code == 2 and "computeapi db upgrade" in said


def test_database_of_a_newer_release(run: Run, db: Database) -> None:
    """No command changes it or falls over it."""
    with db.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for words in (("db", "check"), ("db", "upgrade"), ("init",), ("serve",), ("api",), ("user", "list")):
        code, said = run(*words)
        assert code == 1 and "at revision 9999" in said and "A newer release made it" in said


def test_backup_before_the_upgrade(run: Run, db: Database, tmp_path: Path) -> None:
    """The new code makes the backup, of the schema of before."""
    with db.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert run("backup", str(tmp_path / "kept"))[0] == 0
    assert json.loads((tmp_path / "kept" / "backup.json").read_text())["revision"] == "0000"


def test_no_database_made_yet(run: Run, settings: Settings, tmp_path: Path) -> None:
    Path(settings.state_dir, "computeapi.conf").write_text(f"[database]\nconnection = sqlite:///{tmp_path}/none.db\n")
    for words in (("db", "check"), ("serve",), ("api",), ("compute",), ("backup", "x"), ("reconcile",)):
        code, said = run(*words)
        assert code == 1 and said.startswith("There is no cloud in the database") and "computeapi init" in said


def test_settings_that_can_not_be_read(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence, no traceback; and nothing is done as if there were none."""
    conf = tmp_path / "named.conf"
    monkeypatch.setenv("COMPUTEAPI_CONF", str(conf))
    for words in (("status",), ("db", "check"), ("api",), ("compute",), ("host", "list")):
        code, said = run(*words)
        assert code == 2 and said.count("\n") == 1 and "The settings can't be read: " in said and str(conf) in said
    conf.write_text("[api]\nworkers = many\n")
    code, said = run("status")
    assert code == 2 and said.count("\n") == 1 and "workers" in said and "many" in said
    conf.write_text("workers = 3\n")
    assert run("status")[0] == 2
    conf.write_bytes(b"\xff\xfe")
    assert run("status")[0] == 2


@pytest.mark.parametrize(
    ("section", "option", "value", "said"),
    [
        ("DEFAULT", "listen", "somewhere", "'somewhere' is not an address and a port, such as 127.0.0.1:8774"),
        ("DEFAULT", "listen", "", "'' is not an address and a port"),
        ("DEFAULT", "listen", ":8774", "':8774' is not"),
        ("DEFAULT", "listen", "127.0.0.1:99999", "'127.0.0.1:99999' is not"),
        ("DEFAULT", "listen", "::1:8774", "'::1:8774' is not"),
        ("console", "console_listen", "127.0.0.1", "'127.0.0.1' is not"),
        ("metrics", "api_metrics_listen", "9284", "'9284' is not"),
        ("DEFAULT", "public_url", "cloud.example.org", "not a URL that begins with http:// or https://"),
        ("identity", "identity_url", "https://", "not a URL that"),
        (
            "database",
            "connection",
            "postgresql://me:secret@host:port/name",
            "what is set is not a URL such as postgresql:",
        ),
        ("database", "connection", "mysql://me:secret@host/name", "what is set is not"),
        ("database", "connection", "sqlite://", "what is set is not"),
        ("api", "threads", "0", "greater than or equal to 1"),
        ("compute", "cpu_allocation_ratio", "-1", "greater than or equal to 0"),
        ("compute", "hypervisor", "vmware", "Valid values are [libvirt, simulator], but found 'vmware'"),
        ("quota", "quota_cores", "-2", "greater than or equal to -1"),
    ],
)
def test_values_that_are_none(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, section: str, option: str, value: str, said: str
) -> None:
    monkeypatch.delenv("COMPUTEAPI_LISTEN")
    Path(settings.state_dir, "computeapi.conf").write_text(f"[{section}]\n{option} = {value}\n")
    code, words = run("status")
    assert code == 2 and words.startswith(f"The settings can't be read: [{section}] {option}: ") and said in words
    assert words.count("\n") == 1 and "secret" not in words


def test_variable_that_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPUTEAPI_LISTEN", "8774")
    assert "[DEFAULT] listen ($COMPUTEAPI_LISTEN): '8774' is not" in run("serve")[1]


def test_port_of_another(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setenv("COMPUTEAPI_LISTEN", address)
        said = f"{address} is in use by another program. Set COMPUTEAPI_LISTEN to another address and port.\n"
        assert run("serve") == (1, said)
    monkeypatch.setenv("COMPUTEAPI_LISTEN", "192.0.2.1:8774")
    assert run("serve")[1].startswith("192.0.2.1:8774 can't be had: ")


def test_served_already(run: Run, settings: Settings) -> None:
    """A second one would change nothing and try for ever."""
    path = Path(settings.state_dir, "serve.lock")
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, said = run("serve")
    assert code == 1 and said == (
        f"This cloud is served already: another `computeapi serve` holds {path}. End that one first.\n"
    )


def test_image_file_that_is_none(run: Run, settings: Settings, tmp_path: Path, db: Database) -> None:
    assert run("init", "--image-file", str(tmp_path / "none")) == (1, f"{tmp_path}/none: there is no such file.\n")
    (tmp_path / "text").write_text("no disk")
    code, said = run("init", "--image-file", str(tmp_path / "text"))
    assert code == 1 and "is not in the qcow2 format" in said
    with db.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM images WHERE deleted = 0")).scalar() == 0


def test_clouds_file_that_is_none(run: Run, settings: Settings) -> None:
    path = Path(settings.state_dir, "clouds.yaml")
    for content in ("clouds: [", "clouds: 3", "- 1", "clouds: {computeapi: 3}"):
        path.write_text(content)
        code, said = run("init")
        assert code == 1 and said.endswith(f"{path} is no clouds.yaml: mend it, or move it away for new passwords.\n")
        assert path.read_text() == content


def test_not_my_files(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(_path: object, *_more: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", "/var/lib/computeapi/computeapi.db")

    monkeypatch.setattr("computeapi.db.schema.current", deny)
    said = "/var/lib/computeapi/computeapi.db: permission denied. Run this as the user of the services.\n"
    assert run("db", "check") == (1, said)


def test_no_database_is_made_by_looking(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPUTEAPI_STATE_DIR", str(tmp_path / "none"))
    for words in (("status",), ("db", "check"), ("user", "list"), ("host", "list")):
        code, said = run(*words)
        assert code in (1, 2) and said
    assert not (tmp_path / "none").exists()


def problems(run: Run) -> list[str]:
    """What `status` says but that no API runs here."""
    code, said = run("status", "--json")
    shown = json.loads(said)
    assert code == 1 and not shown["ok"]
    assert all(problem["do"] for problem in shown["problems"])
    assert shown["problems"][0]["what"].startswith("The API does not answer")
    return [problem["what"] for problem in shown["problems"][1:]]


def test_well(run: Run, db: Database, make_server: MakeServer) -> None:
    add_host(db, "host1")
    make_server(host="host1")
    assert problems(run) == []


def test_no_hosts(run: Run) -> None:
    assert problems(run) == ["There is no compute host."]


def open_action(db: Database, api: Api, server: Any, **columns: Any) -> None:
    assert api.post(f"/servers/{server.uuid}/action", {"os-stop": None}).status_code == 202
    with db.write() as conn:
        conn.execute(
            update(Action).where(Action.server_id == server.id).values(created_at=clock.shifted(-300), **columns)
        )


def test_broken(run: Run, db: Database, make_server: MakeServer, api: Api) -> None:
    """A host that is down, one that is gone, work that fails again and again, work that nobody takes up."""
    add_host(db, "host1")
    add_host(db, "host2", last_seen_at=clock.shifted(-600))
    one, two, three, four = (make_server(host=name) for name in ("host1", "host2", "host1", "host1"))
    open_action(db, api, one, attempt=2, message="libvirtd is away")
    open_action(db, api, two)
    open_action(db, api, three)
    open_action(db, api, four, queue="host3")
    make_server(host="host1", vm_state="error", fault_json='{"message":"No valid host was found."}')
    found = problems(run)
    assert len(found) == 4
    assert found[0] == "Host host2 has been silent for 10 minutes; 0 servers are on it, 1 actions wait for it."
    texts = {server.uuid: next(text for text in found if server.uuid in text) for server in (one, three, four)}
    assert "it was tried 2 times, last: libvirtd is away" in texts[one.uuid]
    assert "does not take it up" in texts[three.uuid]
    assert "there is no host host3" in texts[four.uuid]
    said = run("status")[1]
    assert "No valid host was found." in said and "5 problems." in said
    assert "2 pending on host1" in said


def test_long_steps_and_lanes(run: Run, db: Database, make_server: MakeServer, api: Api) -> None:
    """Work that runs is no problem until a step takes very long; what waits behind it is none at all."""
    add_host(db, "host1")
    server = make_server(host="host1")
    open_action(db, api, server, state="running", running=server.id)
    with db.write() as conn:
        key = conn.execute(text("SELECT id FROM actions")).scalar()
        conn.execute(
            text("INSERT INTO action_events (action_id, seq, name, undo, started_at) VALUES (:key, 1, 'copy', 0, :at)"),
            {"key": key, "at": clock.shifted(-200)},
        )
    assert problems(run) == []
    assert "at copy for 3 minutes" in run("status")[1]
    with db.write() as conn:
        conn.execute(text("UPDATE action_events SET started_at = :at"), {"at": clock.shifted(-2000)})
    (found,) = problems(run)
    assert "at copy for 33 minutes" in found


def test_what_hosts_refuse(run: Run, db: Database) -> None:
    """What and why, for as long as it is so."""
    add_host(db, "host1")
    for found in (
        {},
        {"floating IP 203.0.113.7": "ip: File exists"},
        {f"rule {n:02}": "nft: no" for n in range(25)},
        {},
    ):
        with db.write() as conn:
            assert not host_faults.write(conn, "host1", 1, host_faults.FIREWALL, found), "another owner's"
            assert host_faults.write(conn, "host1", 0, host_faults.FIREWALL, found)
        whats = [f"{what} on host host1, since 0 seconds: {why}" for what, why in sorted(found.items())[:20]]
        if whats:
            assert [what.replace("since 1 s", "since 0 s") for what in problems(run)] == whats
        else:
            assert problems(run) == []
        assert ("5 more such faults on host host1" in run("status")[1]) == (len(found) == 25)


def add_move(db: Database, server: Any, status: str, seconds: float, **columns: Any) -> None:
    moment = clock.shifted(-seconds)
    values = {"uuid": str(uuid.uuid4()), "server_id": server.id, "server_uuid": server.uuid, "project_id": "p"}
    values |= {"user_id": "u", "migration_type": "live-migration", "status": status, "created_at": moment}
    values |= {"updated_at": moment, "source_compute": "host1", "dest_compute": "host2"}
    with db.write() as conn:
        insert_key(conn, insert(Migration).values(**values | columns))


def test_failed_moves(run: Run, db: Database, make_server: MakeServer) -> None:
    """Told for a day, unless one that came to an end followed, or the server is gone. The host is well: a note."""
    add_host(db, "host1")
    failed, old, again, gone, well = (make_server(host="host1") for _ in range(5))
    for server, status, seconds in (
        (failed, "completed", 300),
        (failed, "error", 200),
        (old, "error", 100_000),
        (again, "error", 300),
        (again, "completed", 200),
        (gone, "error", 200),
        (well, "completed", 200),
    ):
        add_move(db, server, status, seconds)
    with db.write() as conn:
        conn.execute(update(Server).where(Server.id == gone.id).values(deleted=1))
    assert problems(run) == []
    notes = json.loads(run("status", "--json")[1])["notes"]
    assert notes == [
        f"live-migration of server {failed.uuid} from host1 to host2 failed 3 minutes ago; "
        f"why: openstack server event list {failed.uuid}"
    ]


def test_disk_full(run: Run, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    add_host(db, "host1")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("computeapi.cli.status.shutil.disk_usage", lambda _path: usage(2**40, 2**40 - 2**28, 2**28))
    (found,) = problems(run)
    assert found.startswith("Only 256 MiB are free in ")


def test_database_away(run: Run, settings: Settings) -> None:
    conf = Path(settings.state_dir, "computeapi.conf")
    conf.write_text("[database]\nconnection = postgresql://nobody:secret@127.0.0.1:1/none\n")
    code, said = run("status")
    assert code == 2 and "database   does not answer" in said and "secret" not in said
    for words in (("db", "check"), ("init",), ("serve",), ("api",), ("compute",), ("console",), ("user", "list")):
        code, said = run(*words)
        assert code == 1 and "secret" not in said and said.count("\n") == 1
        assert said.startswith("The database postgresql://nobody:***@127.0.0.1:1/none does not answer: ")
    conf.write_text(f"[database]\nconnection = sqlite:///{conf}\n")
    assert "file is not a database" in run("db", "check")[1]
