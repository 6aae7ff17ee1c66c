# SPDX-License-Identifier: Apache-2.0
"""ROUTES and their schemas as an OpenAPI 3.1 document: GET /openapi.json, and what schemathesis tests.

It says what holds at the newest microversion that each row is there in; `x-openstack` says which those are. What an
answer looks like it does not say: the views are no schemas.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from computeapi import __version__
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint
from computeapi.versions import FOREVER, MAX, MIN, Versioned

Tables = Mapping[str, Mapping[str, Mapping[str, Endpoint]]]

_VARIABLE = re.compile(r"\{(\w+)\}")
_VERSION_HEADERS = [
    {
        "name": "OpenStack-API-Version",
        "in": "header",
        "description": f"The microversion asked for: compute {MIN} to compute {MAX}, or compute latest.",
        "schema": {"type": "string", "pattern": r"^compute (latest|2\.[1-9][0-9]*)$"},
    }
]
_FAULT = {
    "description": "A fault, in the service's own form.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}


def document(tables: Tables, prefixes: Mapping[str, str]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for service, table in tables.items():
        for template, methods in table.items():
            path = prefixes[service] + template or "/"
            paths[path] = {method.lower(): _operation(service, path, method, methods[method]) for method in methods}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "computeapi",
            "version": __version__,
            "description": "The Compute API v2.1 and the embedded services beside it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": service} for service in tables],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}},
    }


def _operation(service: str, path: str, method: str, row: Endpoint) -> dict[str, Any]:
    rows = list(row.actions.values()) or [row]
    first = rows[0]
    parameters = [_path_parameter(name) for name in _VARIABLE.findall(path)]
    if not row.actions:
        parameters += _query_parameters(row)
    if service == "compute":
        parameters += _VERSION_HEADERS
    operation: dict[str, Any] = {
        "operationId": _identifier(service, path, method),
        "tags": [service],
        "summary": "One of the actions of the body's schema." if row.actions else _summary(row),
        "parameters": parameters,
        "responses": {**_responses(rows), "default": _FAULT},
        "security": [] if first.rule is PUBLIC else [{"token": []}],
    }
    body = _body(row)
    if body:
        operation["requestBody"] = body
    known = _versions(row)
    if first.rule not in (PUBLIC, ANY_TOKEN) and not row.actions:
        known["rule"] = row.rule
    if known:
        operation["x-openstack"] = known
    return operation


def _identifier(service: str, path: str, method: str) -> str:
    words = re.sub(r"[^\w-]+", "_", path)
    return f"{service}_{method.lower()}{words}"


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _newest(row: Endpoint, values: Versioned | None) -> Any:
    return None if values is None else values.at(min(MAX, row.window.until))


def _query_parameters(row: Endpoint) -> Iterator[dict[str, Any]]:
    checker = _newest(row, row.query)
    for name, schema in (checker.schema.get("properties", {}) if checker else {}).items():
        yield {"name": name, "in": "query", "schema": schema["items"] if schema.get("maxItems") == 1 else schema}


def _body(row: Endpoint) -> dict[str, Any] | None:
    if row.actions:
        choices = [_action(name, chosen) for name, chosen in row.actions.items()]
        return _json({"oneOf": choices})
    if row.streams:
        return {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    checker = _newest(row, row.body)
    return _json(checker.schema) if checker else None


def _action(name: str, row: Endpoint) -> dict[str, Any]:
    checker = _newest(row, row.body)
    argument = checker.schema.get("properties", {}).get(name, {}) if checker else {}
    return {
        "title": name,
        "type": "object",
        "properties": {name: argument},
        "required": [name],
        "additionalProperties": False,
        "x-openstack": {"action": name, "rule": row.rule, **_versions(row)},
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _responses(rows: list[Endpoint]) -> dict[str, Any]:
    found = sorted({int(_newest(row, row.status)) for row in rows})
    return {str(status): {"description": "The normal answer."} for status in found}


def _versions(row: Endpoint) -> dict[str, str]:
    since = {"min-ver": str(row.window.since)} if row.window.since > MIN else {}
    return since | ({"max-ver": str(row.window.until)} if row.window.until < FOREVER else {})


def _summary(row: Endpoint) -> str:
    handler: Any = row.handler
    while isinstance(handler, partial):
        handler = handler.func
    text = inspect.getdoc(inspect.unwrap(handler)) or handler.__qualname__
    return text.split("\n\n")[0].replace("\n", " ")
