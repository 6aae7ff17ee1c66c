# SPDX-License-Identifier: Apache-2.0
"""Pieces of JSON schema that many nouns share (nova/api/validation/parameter_types.py), and the query schema maker."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TRUE = [True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"]
FALSE = [False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"]
TRUE_LETTERS, FALSE_LETTERS = ["y", "t"], ["n", "f"]  # Cinder takes these as well

boolean: Schema = {"type": ["boolean", "string"], "enum": TRUE + FALSE}
loose_boolean: Schema = {"type": ["boolean", "string"], "enum": TRUE + TRUE_LETTERS + FALSE + FALSE_LETTERS}
none: Schema = {"enum": ["None", None, {}]}
name: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "format": "name"}
loose_name: Schema = {
    "type": "string",
    "format": "name_with_leading_trailing_spaces",
    "minLength": 1,
    "maxLength": 255,
}
uuid: Schema = {"type": "string", "format": "uuid"}
text_255: Schema = {"type": "string", "minLength": 0, "maxLength": 255}
hostname: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-._]*$"}
tcp_udp_port: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 0, "maximum": 65535}
positive_integer: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 1, "minLength": 1}
non_negative_integer: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 0, "minLength": 1}
admin_password: Schema = {"type": "string"}
image_ref: Schema = {"type": "string", "format": "image-ref"}  # or none: ""
image_id: Schema = {"type": "string", "format": "image-id"}
flavor_ref: Schema = {"type": ["string", "integer"], "minLength": 1}
disk_config: Schema = {"type": "string", "enum": ["AUTO", "MANUAL"]}
mac: Schema = {"type": "string", "pattern": "^([0-9a-fA-F]{2})(:[0-9a-fA-F]{2}){5}$"}
metadata: Schema = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": {"type": "string", "maxLength": 255}},
    "additionalProperties": False,
}


def obj(properties: Schema, *required: str, extra: bool = False, **more: Any) -> Schema:
    """An object with these properties, some required, and no others (unless `extra`)."""
    schema: Schema = {"type": "object", "properties": properties}
    if required:  # before additionalProperties: what is missing is told first, as in Nova
        schema["required"] = list(required)
    return schema | {"additionalProperties": extra, **more}


def wrapped(key: str, schema: Schema) -> Schema:
    """`{key: …}` and nothing else: how almost every body looks."""
    return obj({key: schema}, key)


# --- query strings: each name has a list of texts ---

Q_ANY: Schema = {"type": "string"}
Q_INTEGER: Schema = {"type": "string", "pattern": "^[0-9]*$", "minLength": 1}
Q_TIME: Schema = {"type": "string", "format": "date-time"}
Q_REGEX: Schema = {"type": "string", "format": "regex"}


def query(
    parameters: Schema, *, extra: bool = True, multi: tuple[str, ...] = (), patterns: Schema | None = None
) -> Schema:
    """A schema for a query string. Names in `multi` may come more than once; with `extra` unknown ones are dropped,
    without they are refused (400)."""
    properties = {
        key: {"type": "array", "items": schema, **({} if key in multi else {"maxItems": 1})}
        for key, schema in parameters.items()
    }
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": extra}
    if patterns:
        schema["patternProperties"] = {key: {"type": "array", "items": item} for key, item in patterns.items()}
    return schema


def truth(value: Any) -> bool:
    """The bool that a validated `boolean` stands for."""
    return value in TRUE or value in TRUE_LETTERS
