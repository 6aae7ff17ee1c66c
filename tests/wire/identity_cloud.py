# SPDX-License-Identifier: Apache-2.0
"""What the identity service's tests share: a cloud with its defaults, asked over HTTP with real log-ins."""

from __future__ import annotations

import uuid
from typing import Any

import falcon.testing
import pytest

from computeapi.app import create_app
from computeapi.backends.identity import passwords
from computeapi.backends.identity.setup import ensure_defaults
from computeapi.db.engine import Database
from computeapi.settings import Settings

ADMIN_PASSWORD = "open sesame"
DEFAULT = {"id": "default"}


class Cloud:
    """The API in this process. Paths are below /identity/v3 unless they begin with two slashes."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self.settings, self.db = settings, db
        self.made = ensure_defaults(db, ADMIN_PASSWORD)
        self.app = create_app(settings, db=db)
        self._client = falcon.testing.TestClient(self.app)
        self.admin_id, self.admin = "", ""
        answer = self.login("admin", ADMIN_PASSWORD, project="admin")
        self.admin = answer.headers["X-Subject-Token"]
        self.admin_id = answer.json["token"]["user"]["id"]
        self.roles = {role["name"]: role["id"] for role in self.get("/roles").json["roles"]}
        self.projects = {item["name"]: item["id"] for item in self.get("/projects").json["projects"]}

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None, **more: Any) -> Any:
        """The response, as the administrator unless `token` says otherwise ("" for none); bytes go as they are."""
        headers = {"X-Auth-Token": self.admin if token is None else token, **more.pop("headers", {})}
        path = path[1:] if path.startswith("//") else "/identity/v3" + path
        if isinstance(body, bytes):
            more["body"] = body
            headers["Content-Type"] = "application/json"
        elif body is not None:
            more["json"] = body
        return self._client.simulate_request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> Any:
        """GET."""
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any, **more: Any) -> Any:
        """POST."""
        return self.ask("POST", path, body, **more)

    def patch(self, path: str, body: Any, **more: Any) -> Any:
        """PATCH."""
        return self.ask("PATCH", path, body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> Any:
        """PUT."""
        return self.ask("PUT", path, body, **more)

    def delete(self, path: str, **more: Any) -> Any:
        """DELETE."""
        return self.ask("DELETE", path, **more)

    def authenticate(self, identity: Any, scope: Any = None, query: str = "", **more: Any) -> Any:
        """POST /auth/tokens."""
        auth = {"identity": identity, **({"scope": scope} if scope is not None else {})}
        return self.post("/auth/tokens" + query, {"auth": auth}, token="", **more)

    def login(self, user: str, password: str, project: str | None = None, scope: Any = None, **more: Any) -> Any:
        """A log-in by name, scoped to a project by name, or to `scope`."""
        if project is not None:
            scope = {"project": {"name": project, "domain": DEFAULT}}
        who = {"user": {"name": user, "domain": DEFAULT, "password": password}}
        return self.authenticate({"methods": ["password"], "password": who}, scope, **more)

    def token(self, user: str, password: str, project: str | None = None, scope: Any = None) -> str:
        """The token of a log-in that works."""
        answer = self.login(user, password, project, scope)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["X-Subject-Token"])

    def works(self, token: str) -> bool:
        """Whether the token is good for anything."""
        return bool(self.get("/auth/projects", token=token).status_code == 200)

    def project(self, name: str = "", **attributes: Any) -> dict[str, Any]:
        """A new project."""
        answer = self.post("/projects", {"project": {"name": name or uuid.uuid4().hex, **attributes}})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json["project"]
        return found

    def user(self, name: str = "", password: str = "pw", **attributes: Any) -> dict[str, Any]:
        """A new user."""
        body = {"user": {"name": name or uuid.uuid4().hex, "password": password, **attributes}}
        answer = self.post("/users", body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json["user"]
        return found

    def domain(self, name: str = "", **attributes: Any) -> dict[str, Any]:
        """A new domain."""
        answer = self.post("/domains", {"domain": {"name": name or uuid.uuid4().hex, **attributes}})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json["domain"]
        return found

    def group(self, name: str = "", **attributes: Any) -> dict[str, Any]:
        """A new group."""
        answer = self.post("/groups", {"group": {"name": name or uuid.uuid4().hex, **attributes}})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json["group"]
        return found

    def grant(self, role: str, user: str, project: str) -> None:
        """Give a user (by id) a role (by name) on a project (by id)."""
        answer = self.put(f"/projects/{project}/users/{user}/roles/{self.roles[role]}")
        assert answer.status_code == 204, answer.text

    def someone(self, *roles: str, project: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any], str]:
        """A new user with roles on a project, the project, and a token for it."""
        place, user = project or self.project(), self.user()
        for role in roles or ("member",):
            self.grant(role, user["id"], place["id"])
        return user, place, self.token(user["name"], "pw", place["name"])


def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make bcrypt fast enough for tests."""
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setattr(passwords, "_NOBODY", b"$2b$04$" + b"." * 53)
