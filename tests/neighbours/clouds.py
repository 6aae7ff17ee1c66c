# SPDX-License-Identifier: Apache-2.0
"""A cloud of ours beside real neighbours, and what an operator makes there: users, catalog, networks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import yaml
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from tests.clients.clouds import Cloud
from tests.neighbours.services import PASSWORD, Neighbours

# Who is there: the project, the user, the role. A service user is an administrator as well.
_USERS = (
    ("service", "computeapi", "service"),
    ("service", "glance", "service"),
    ("service", "neutron", "service"),
    ("service", "cinder", "service"),
    ("wonderland", "alice", "member"),
    ("wonderland", "rita", "reader"),
    ("looking-glass", "tweedledee", "member"),
)
ALICE = ("alice", "wonderland")
_SERVICE_ADMINS = ("computeapi", "neutron", "cinder")


@dataclass
class NeighbourCloud(Cloud):
    """Its own identity, image, network and volume services are off; who asks is known by Keystone. `uses` are more
    settings, by the names of their variables."""

    neighbours: Neighbours | None = None
    uses: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """With the neighbours' addresses."""
        assert self.neighbours is not None
        return {
            **super().environment,
            "OS_IDENTITY__IDENTITY_URL": self.neighbours.keystone,
            "OS_IDENTITY__IDENTITY_PASSWORD": PASSWORD,
            "OS_IDENTITY__IDENTITY_INTERFACE": "public",
            "OS_IDENTITY__TOKEN_CACHE_TIME": "0",
            "OS_IMAGE__IMAGE_URL": self.neighbours.glance,
            "OS_VOLUME__VOLUME_URL": self.neighbours.cinder,
            "OS_VOLUME__VOLUME_DIRECTORY": str(self.neighbours.volumes),
            "OS_NETWORK__NETWORK_URL": self.neighbours.neutron,
            "OS_CLIENT_CONFIG_FILE": str(self.neighbours.directory / "clouds.yaml"),
            **self.uses,
        }


def service(neighbours: Neighbours, kind: str, user: str = "admin", project: str = "admin") -> Adapter:
    """What asks one of the services of the catalog as a user: `.get("/v2.0/networks").json()`."""
    plugin = Password(
        auth_url=neighbours.keystone,
        username=user,
        password=PASSWORD,
        project_name=project,
        user_domain_name="Default",
        project_domain_name="Default",
    )
    return Adapter(Session(plugin), service_type=kind, interface="public", region_name="RegionOne")


def ask_neutron(neighbours: Neighbours, user: str = "admin", project: str = "admin") -> Adapter:
    """The same of Neutron."""
    return service(neighbours, "network", user, project)


def write_clouds(neighbours: Neighbours) -> None:
    """A clouds.yaml for the stock clients, with a cloud a user."""
    who = [("admin", "admin"), *((user, project) for project, user, _ in _USERS if project != "service")]
    clouds = {
        user: {
            "auth": {
                "auth_url": neighbours.keystone,
                "username": user,
                "password": PASSWORD,
                "project_name": project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": "RegionOne",
        }
        for user, project in who
    }
    (neighbours.directory / "clouds.yaml").write_text(yaml.safe_dump({"clouds": clouds}))


def fill_keystone(neighbours: Neighbours, endpoints: dict[str, str]) -> None:
    """Projects, users, their roles; and a service with its endpoint for each type of `endpoints`."""
    keystone = service(neighbours, "identity")
    roles = {role["name"]: role["id"] for role in keystone.get("/roles").json()["roles"]}
    projects: dict[str, str] = {}
    for project, user, role in _USERS:
        if project not in projects:
            body = {"project": {"name": project, "domain_id": "default"}}
            projects[project] = keystone.post("/projects", json=body).json()["project"]["id"]
        body = {"user": {"name": user, "password": PASSWORD, "domain_id": "default"}}
        user_id = keystone.post("/users", json=body).json()["user"]["id"]
        for given in {role, *(("admin",) if user in _SERVICE_ADMINS else ())}:
            keystone.put(f"/projects/{projects[project]}/users/{user_id}/roles/{roles[given]}")
    for kind, url in endpoints.items():
        made = keystone.post("/services", json={"service": {"name": kind, "type": kind}}).json()["service"]
        endpoint = {"service_id": made["id"], "interface": "public", "region_id": "RegionOne", "url": url}
        keystone.post("/endpoints", json={"endpoint": endpoint})


def fill_neutron(neighbours: Neighbours) -> dict[str, Any]:
    """The shared network `private` (10.7.0.0/24) behind a router, and the external network `public`
    (203.0.113.0/24); each by its name."""
    neutron = service(neighbours, "network")

    def make(noun: str, **values: Any) -> Any:
        return neutron.post(f"/v2.0/{noun}s", json={noun: values}).json()[noun]

    outside = {"provider:network_type": "flat", "provider:physical_network": "outside"}
    public = make("network", name="public", **{"router:external": True}, **outside)
    make("subnet", name="public4", network_id=public["id"], cidr="203.0.113.0/24", ip_version=4, enable_dhcp=False)
    private = make("network", name="private", shared=True)
    names = {"dns_nameservers": ["192.0.2.53"]}
    inside = make("subnet", name="private4", network_id=private["id"], cidr="10.7.0.0/24", ip_version=4, **names)
    router = make("router", name="out", external_gateway_info={"network_id": public["id"]})
    neutron.put(f"/v2.0/routers/{router['id']}/add_router_interface", json={"subnet_id": inside["id"]})
    return {"public": public, "private": private}


def fill_cinder(neighbours: Neighbours) -> None:
    """A volume type for each backend, of its name."""
    cinder = service(neighbours, "block-storage")
    for name in ("files", "fake"):
        specs = {"volume_backend_name": name}
        cinder.post("/types", json={"volume_type": {"name": name, "extra_specs": specs}})


def boot(neighbours: Neighbours, nova: Adapter, **more: Any) -> str:
    """A server's id; it runs."""
    (network,) = service(neighbours, "network", *ALICE).get("/v2.0/networks?name=private").json()["networks"]
    flavors = {each["name"]: each["id"] for each in nova.get("/flavors").json()["flavors"]}
    body = {"name": "carpenter", "flavorRef": flavors["m1.nano"], "networks": [{"uuid": network["id"]}], **more}
    server_id = str(nova.post("/servers", json={"server": body}).json()["server"]["id"])
    wait(lambda: nova.get(f"/servers/{server_id}").json()["server"]["status"], "ACTIVE", "BUILD")
    return server_id


def wait(ask: Any, wanted: str, *meanwhile: str) -> None:
    """Until what `ask` says is as wanted, and not what it may be meanwhile."""
    until = time.monotonic() + 120
    while (said := ask()) != wanted:
        assert said in meanwhile, f"{said}, not {wanted}"
        assert time.monotonic() < until, f"still {said}"
        time.sleep(0.3)
