# SPDX-License-Identifier: Apache-2.0
"""The catalog that tokens have: the services that this program is, and behind them those that an operator registered.

Ours are this table and no rows: they are always there, at the URL that the program is called by (or [DEFAULT]
public_url), and nobody can change or delete them. Registering others is `registry`'s.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from computeapi import errors, policy
from computeapi.api.identity import common
from computeapi.api.identity.common import ANYONE
from computeapi.db.queries.identity import catalog as queries
from computeapi.endpoint import Call

REGION = "RegionOne"
INTERFACES = ("public", "internal", "admin")

RULES = [policy.rule("identity:get_auth_catalog", ANYONE, "Show the token's catalog.", ("GET", "/v3/auth/catalog"))]


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


def ours() -> Iterator[Service]:
    """The services that are served here."""
    return (service for service in SERVICES if service.type in ENABLED)


def of(call: Call, project_id: str | None, user_id: str) -> list[dict[str, Any]]:
    """The catalog of a token: as its body has it. Ours come first."""
    with call.services.db.read() as conn:
        registered, elsewhere = queries.registered(conn), queries.elsewhere(conn)
    known = {"project_id": project_id, "tenant_id": project_id, "user_id": user_id}
    shown = _ours_of(call, project_id)
    found = {service["id"]: service for service in shown}
    for row in registered:
        if row["service_id"] not in found:
            new = {"endpoints": [], "id": row["service_id"], "type": row["type"], "name": row["name"]}
            found[row["service_id"]] = new
            shown.append(new)
    for row in registered + elsewhere:
        url = filled(row["url"], known) if row["id"] else None
        if url is not None and row["service_id"] in found:
            found[row["service_id"]]["endpoints"].append(_entry(row["id"], row["interface"], row["region_id"], url))
    return shown


def _ours_of(call: Call, project_id: str | None) -> list[dict[str, Any]]:
    shown = []
    for service in ours():
        if project_id is None and "{project_id}" in service.path:
            continue
        place = url(call, service).format(project_id=project_id)
        endpoints = [_entry(service.endpoint_id(interface), interface, REGION, place) for interface in INTERFACES]
        shown.append({"endpoints": endpoints, "id": service.id, "type": service.type, "name": service.name})
    return shown


def _entry(key: str, interface: str, region: str | None, place: str) -> dict[str, Any]:
    return {"id": key, "interface": interface, "region_id": region, "region": region, "url": place}


_VARIABLE = re.compile(r"[%$]\(([^()]*)\)(s?)")
_VARIABLES = frozenset(("project_id", "tenant_id", "user_id"))


def check_url(text: str) -> None:
    """Raise BadRequest for a URL with variables that the catalog could not fill in."""
    names = _VARIABLE.findall(text)
    whole = len(names) == text.count("%(") + text.count("$(")
    if not whole or any(name not in _VARIABLES or not letter for name, letter in names):
        known = ", ".join(sorted(_VARIABLES))
        raise errors.BadRequest(f"Malformed endpoint URL: it may have %(name)s with one of {known}.")


def filled(text: str, known: Mapping[str, str | None]) -> str | None:
    """A registered URL with its variables filled in; None where the token has nothing to fill in."""
    names = {name for name, _ in _VARIABLE.findall(text)}
    if any(known.get(name) is None for name in names):
        return None
    return _VARIABLE.sub(lambda found: str(known[found[1]]), text)


def url(call: Call, service: Service) -> str:
    """Where a service is; another's, where the settings say so. {project_id} is left in it."""
    settings = call.services.settings
    outside = {
        "image": settings.image_url,
        "network": settings.network_url,
        "block-storage": settings.volume_url,
        "volumev3": settings.volume_url,
    }
    return outside.get(service.type) or call.host_url + service.path


# --- handler ---


def show_auth_catalog(call: Call) -> dict[str, Any]:
    """GET /v3/auth/catalog. Raises Forbidden for a token without a project."""
    if not call.context.project_id:
        raise errors.Forbidden("A project-scoped token is needed for a catalog.")
    shown = of(call, call.context.project_id, call.context.user_id)
    return {"catalog": shown, "links": {"self": common.here(call)}}
