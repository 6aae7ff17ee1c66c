# SPDX-License-Identifier: Apache-2.0
"""Which of a host's PCI devices the operator offers: `[pci] device_spec`, Nova's option of that name.

    device_spec = [{"vendor_id": "8086", "product_id": "10ca"}, {"address": "0000:04:*"}]

A device is offered that has all that one entry says; `*` stands for anything in an address.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from computeapi import errors

_KEYS = frozenset({"vendor_id", "product_id", "address"})


def entries(text: str) -> list[dict[str, str]]:
    """What the setting says. Raises BadRequest with a sentence for operators."""
    if not text.strip():
        return []
    try:
        read = json.loads(text)
    except ValueError as error:
        raise errors.BadRequest(f"[pci] device_spec is no JSON: {error}") from None
    found = read if isinstance(read, list) else [read]
    for entry in found:
        if not isinstance(entry, dict) or not entry or set(entry) - _KEYS:
            raise errors.BadRequest(f"[pci] device_spec: {entry} is no object with any of {', '.join(sorted(_KEYS))}")
        if not all(isinstance(value, str) for value in entry.values()):
            raise errors.BadRequest(f"[pci] device_spec: the values of {entry} are no texts")
    return found


def offered(devices: Iterable[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Those of the devices that the setting names."""
    wanted = entries(text)
    return [device for device in devices if any(_has(device, entry) for entry in wanted)]


def _has(device: dict[str, Any], entry: dict[str, str]) -> bool:
    return all(fnmatchcase(str(device[key]).lower(), value.lower()) for key, value in entry.items())
