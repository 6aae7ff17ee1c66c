# SPDX-License-Identifier: Apache-2.0
"""The catalog: which services there are and where. One table, from which services, endpoints and regions are read too.

Nothing of it is in the database: the services are this program's, at the URL it is called by (or [DEFAULT] public_url).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from computeapi import errors, policy
from computeapi.api.identity import common
from computeapi.api.identity.common import ADMIN_OR_SYSTEM_READER, ANYONE
from computeapi.endpoint import Call

REGION = "RegionOne"
INTERFACES = ("public", "internal", "admin")

RULES = [
    policy.rule(
        f"identity:{verb}_{noun}",
        ANYONE if noun.startswith("region") else ADMIN_OR_SYSTEM_READER,
        f"{verb.capitalize()} {noun.removesuffix('s')} of the catalog.",
        ("GET", f"/v3/{noun.rstrip('s')}s" + ("/{id}" if verb == "get" else "")),
    )
    for verb, noun in (
        ("list", "services"),
        ("get", "service"),
        ("list", "endpoints"),
        ("get", "endpoint"),
        ("list", "regions"),
        ("get", "region"),
    )
] + [policy.rule("identity:get_auth_catalog", ANYONE, "Show the token's catalog.", ("GET", "/v3/auth/catalog"))]


class Service(NamedTuple):
    """A row of the catalog. `path` follows the public URL; one with {project_id} is left out where there is none."""

    type: str
    name: str
    path: str
    description: str

    @property
    def id(self) -> str:
        """The same at every start."""
        return uuid.uuid5(_NAMESPACE, self.type).hex

    def endpoint_id(self, interface: str) -> str:
        """The same at every start."""
        return uuid.uuid5(_NAMESPACE, f"{self.type} {interface}").hex


_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "computeapi.catalog")

SERVICES = (
    Service("identity", "keystone", "/identity", "Identity"),
    Service("compute", "nova", "/v2.1", "Compute"),
    Service("compute_legacy", "nova_legacy", "/v2/{project_id}", "Compute without microversions"),
    Service("image", "glance", "/image", "Image"),
    Service("network", "neutron", "/network", "Networking"),
    Service("block-storage", "cinder", "/volume/v3", "Block Storage"),
    Service("volumev3", "cinderv3", "/volume/v3", "Block Storage"),
)

# The types of SERVICES that are served.
ENABLED = ("identity", "compute", "compute_legacy", "image", "network", "block-storage", "volumev3")


def _services() -> Iterator[Service]:
    return (service for service in SERVICES if service.type in ENABLED)


def service_ids() -> set[str]:
    """The ids of all services there are."""
    return {service.id for service in _services()}


def of(call: Call, project_id: str | None) -> list[dict[str, Any]]:
    """The catalog of a token: as its body has it."""
    shown = []
    for service in _services():
        if project_id is None and "{project_id}" in service.path:
            continue
        url = _url(call, service).format(project_id=project_id)
        endpoints = [
            {
                "id": service.endpoint_id(interface),
                "interface": interface,
                "region_id": REGION,
                "region": REGION,
                "url": url,
            }
            for interface in INTERFACES
        ]
        shown.append({"endpoints": endpoints, "id": service.id, "type": service.type, "name": service.name})
    return shown


def _url(call: Call, service: Service) -> str:
    """Where a service is; another's, where the settings say so. {project_id} is left in it."""
    settings = call.services.settings
    outside = {
        "image": settings.image_url,
        "network": settings.network_url,
        "block-storage": settings.volume_url,
        "volumev3": settings.volume_url,
    }
    return outside.get(service.type) or call.host_url + service.path


# --- views ---


def _show_service(call: Call, service: Service) -> dict[str, Any]:
    return {
        "id": service.id,
        "name": service.name,
        "type": service.type,
        "description": service.description,
        "enabled": True,
        "links": common.self_link(call, "services", service.id),
    }


def _show_endpoint(call: Call, service: Service, interface: str) -> dict[str, Any]:
    key = service.endpoint_id(interface)
    return {
        "id": key,
        "interface": interface,
        "region_id": REGION,
        "region": REGION,
        "service_id": service.id,
        "url": _url(call, service).replace("{project_id}", "%(project_id)s"),
        "enabled": True,
        "links": common.self_link(call, "endpoints", key),
    }


def _show_region(call: Call) -> dict[str, Any]:
    return {
        "id": REGION,
        "description": "",
        "parent_region_id": None,
        "links": common.self_link(call, "regions", REGION),
    }


# --- handlers ---


def show_auth_catalog(call: Call) -> dict[str, Any]:
    """GET /v3/auth/catalog. Raises Forbidden for a token without a project."""
    if not call.context.project_id:
        raise errors.Forbidden("A project-scoped token is needed for a catalog.")
    return {"catalog": of(call, call.context.project_id), "links": {"self": common.here(call)}}


def list_services(call: Call) -> dict[str, Any]:
    """GET /v3/services, by name and type."""
    return common.collection(
        call, "services", _matching(call, [_show_service(call, s) for s in _services()], "name", "type")
    )


def list_endpoints(call: Call) -> dict[str, Any]:
    """GET /v3/endpoints, by interface, service_id, region_id."""
    shown = [_show_endpoint(call, service, interface) for service in _services() for interface in INTERFACES]
    return common.collection(
        call, "endpoints", _matching(call, shown, "interface", "service_id", "region_id", "region")
    )


def list_regions(call: Call) -> dict[str, Any]:
    """GET /v3/regions, by parent_region_id."""
    return common.collection(call, "regions", _matching(call, [_show_region(call)], "parent_region_id"))


def show_service(call: Call) -> dict[str, Any]:
    """GET /v3/services/{id}."""
    return {"service": _one(call, "service", [_show_service(call, service) for service in _services()])}


def show_endpoint(call: Call) -> dict[str, Any]:
    """GET /v3/endpoints/{id}."""
    shown = [_show_endpoint(call, service, interface) for service in _services() for interface in INTERFACES]
    return {"endpoint": _one(call, "endpoint", shown)}


def show_region(call: Call) -> dict[str, Any]:
    """GET /v3/regions/{id}."""
    return {"region": _one(call, "region", [_show_region(call)])}


def _matching(call: Call, shown: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    wanted = common.filters(call, *names)
    return [item for item in shown if all(item[name] == value for name, value in wanted.items())]


def _one(call: Call, word: str, shown: list[dict[str, Any]]) -> dict[str, Any]:
    key = call.params["key"]
    for item in shown:
        if item["id"] == key:
            return item
    raise errors.NotFound(f"Could not find {word}: {key}.")
