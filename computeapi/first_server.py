# SPDX-License-Identifier: Apache-2.0
"""The first server of a new cloud, made through the API as any client would, and what to try next.

Used by `computeapi serve --first-server NAME`; talks HTTP to this machine's own API only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import yaml
from keystoneauth1 import adapter, session
from keystoneauth1.exceptions import ClientException
from keystoneauth1.identity import v3

Say = Callable[[str], None]

_WAIT = 180.0  # seconds for a guest to boot under emulation on a busy machine
_MARKER = "GUEST-READY"


class Cloud:
    """One user's view of the API."""

    def __init__(self, auth: dict[str, str]) -> None:
        direct = requests.Session()
        direct.trust_env = False  # no proxy leads to this machine
        self._session = session.Session(auth=v3.Password(**auth), session=direct, user_agent="computeapi")
        self.compute = self._adapter("compute")
        self.image = self._adapter("image")

    def _adapter(self, service: str) -> Any:
        return adapter.Adapter(self._session, service_type=service, interface="public")

    def ensure_server(self, name: str) -> tuple[str, bool]:
        """The id of the server of that name, and whether it was made now."""
        found = self.compute.get("/servers", params={"name": f"^{name}$"}).json()["servers"]
        if found:
            return found[0]["id"], False
        images = self.image.get("/v2/images", params={"name": "tiny"}).json()["images"]
        flavors = self.compute.get("/flavors").json()["flavors"]
        flavor = next(item["id"] for item in flavors if item["name"] == "m1.nano")
        body = {"server": {"name": name, "imageRef": images[0]["id"], "flavorRef": flavor}}
        return self.compute.post("/servers", json=body).json()["server"]["id"], True

    def wait(self, server_id: str) -> dict[str, Any]:
        """The server once it is built."""
        until = time.monotonic() + _WAIT
        while True:
            server: dict[str, Any] = self.compute.get(f"/servers/{server_id}").json()["server"]
            if server["status"] != "BUILD" or time.monotonic() > until:
                return server
            time.sleep(0.3)

    def console(self, server_id: str, until_marker: bool) -> str:
        """The end of its console; waits for the guest's ready line."""
        until = time.monotonic() + (_WAIT if until_marker else 0)
        while True:
            answer = self.compute.post(
                f"/servers/{server_id}/action", json={"os-getConsoleOutput": {"length": 12}}, raise_exc=False
            )
            text = str(answer.json().get("output", "")) if answer.status_code == 200 else ""
            if _MARKER in text or time.monotonic() > until:
                return text
            time.sleep(0.5)


def greet(clouds_file: Path, name: str, say: Say) -> None:
    """Boot it as the administrator, show the end of its console, and say what to try."""
    try:
        cloud = Cloud(yaml.safe_load(clouds_file.read_text())["clouds"]["computeapi"]["auth"])
        server_id, new = cloud.ensure_server(name)
        say(f"server {name}: {'booting' if new else 'is there'}")
        server = cloud.wait(server_id)
        if server["status"] == "ERROR":
            say(f"server {name} is in ERROR: {server.get('fault', {}).get('message', '')}")
        elif server["status"] == "ACTIVE":
            text = cloud.console(server_id, until_marker=True)
            lines = ["", *text.splitlines()]
            say(f"server {name} is ACTIVE; the end of its console:" + "\n    | ".join(lines))
    except (ClientException, LookupError, TypeError, OSError, ValueError, yaml.YAMLError) as error:
        say(f"no first server: {type(error).__name__}: {error}")
    say(_NEXT.format(clouds=clouds_file, name=name))


_NEXT = """ready. In another terminal (pip install python-openstackclient):
    export OS_CLIENT_CONFIG_FILE={clouds} OS_CLOUD=computeapi
    openstack server list
    openstack server create --image tiny --flavor m1.nano --network private second --wait
    openstack console log show second
    openstack console url show {name}            # its screen, in a browser (the simulator has only --serial)
    openstack server stop {name}
Ctrl-C ends the API; guests go on running."""
