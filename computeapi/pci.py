# SPDX-License-Identifier: Apache-2.0
"""PCI devices passed through to guests: which the hosts offer, and which flavors ask for. Both as in Nova.

    device_spec = [{"vendor_id": "8086", "product_id": "10ca"}, {"address": "0000:04:*"}]
    alias = [{"name": "card", "vendor_id": "8086", "product_id": "10ca", "device_type": "type-VF"}]

A device is offered that has all that one entry of `[pci] device_spec` says; `*` stands for anything in an address.

A flavor's extra spec `pci_passthrough:alias` says which and how many: "card:1", or several, with commas. The devices
are those of the host where the server is, which are in its row (queries.pci).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NamedTuple

from computeapi import errors

SPEC = "pci_passthrough:alias"
_OFFERED_BY = frozenset({"vendor_id", "product_id", "address"})
_KEYS = frozenset({"name", "vendor_id", "product_id", "device_type", "capability_type", "numa_policy"})
_TYPES = ("type-PCI", "type-PF", "type-VF")


def _read(option: str, text: str) -> list[Any]:
    """The entries of one of the settings; one alone needs no list."""
    if not text.strip():
        return []
    try:
        read = json.loads(text)
    except ValueError as error:
        raise errors.BadRequest(f"[pci] {option} is no JSON: {error}") from None
    return read if isinstance(read, list) else [read]


# --- what hosts offer ---


def entries(text: str) -> list[dict[str, str]]:
    """What `[pci] device_spec` says. Raises BadRequest with a sentence for operators."""
    found = _read("device_spec", text)
    for entry in found:
        if not isinstance(entry, dict) or not entry or set(entry) - _OFFERED_BY:
            known = ", ".join(sorted(_OFFERED_BY))
            raise errors.BadRequest(f"[pci] device_spec: {entry} is no object with any of {known}")
        if not all(isinstance(value, str) for value in entry.values()):
            raise errors.BadRequest(f"[pci] device_spec: the values of {entry} are no texts")
    return found


def offered(devices: Iterable[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Those of the devices that the setting names."""
    wanted = entries(text)
    return [device for device in devices if any(_has(device, entry) for entry in wanted)]


def _has(device: dict[str, Any], entry: dict[str, str]) -> bool:
    return all(fnmatchcase(str(device[key]).lower(), value.lower()) for key, value in entry.items())


# --- what flavors ask for ---


class Kind(NamedTuple):
    """What a device must be; None: whatever it is, but no type-PF: one must ask for that, as in Nova."""

    vendor_id: str | None
    product_id: str | None
    dev_type: str | None

    def is_it(self, device: Mapping[str, Any]) -> bool:
        """Whether a device is."""
        said = (device.get("vendor_id"), device.get("product_id"), device.get("dev_type", "type-PCI"))
        if said[2] == "type-PF" and self.dev_type is None:
            return False
        return all(want is None or want == has for want, has in zip(self, said, strict=True))


@cache
def aliases(text: str) -> dict[str, tuple[Kind, ...]]:
    """What the setting says; a name may be there more than once. Raises BadRequest with a sentence for operators."""
    found: dict[str, tuple[Kind, ...]] = {}
    for entry in _read("alias", text):
        if not isinstance(entry, dict) or not entry.get("name") or set(entry) - _KEYS:
            raise errors.BadRequest(f"[pci] alias: {entry} is no object with a name and any of {sorted(_KEYS)}")
        if entry.get("device_type") not in (None, *_TYPES):
            raise errors.BadRequest(f"[pci] alias: the device_type of {entry['name']} is none of {', '.join(_TYPES)}")
        kind = Kind(entry.get("vendor_id"), entry.get("product_id"), entry.get("device_type"))
        found[entry["name"]] = (*found.get(entry["name"], ()), kind)
    return found


Wish = tuple[tuple[Kind, ...], ...]  # for each device that is wanted, the kinds of which it may be


def wanted(text: str, extra_specs: Mapping[str, str]) -> Wish:
    """The devices that a flavor asks for. `text` is the setting. Raises BadRequest (PciRequestAliasNotDefined)."""
    asked = extra_specs.get(SPEC)
    if not asked:
        return ()
    known = aliases(text)
    wish: list[tuple[Kind, ...]] = []
    for part in asked.split(","):
        name, _, number = part.strip().partition(":")
        if name not in known:
            raise errors.BadRequest(f"PCI alias {name} is not defined")
        if not (number.isascii() and number.isdigit() and len(number) <= 4 and 0 < int(number) <= 64):
            raise errors.BadRequest(f"PCI alias {name}: '{number}' is no number of devices from 1 to 64")
        wish += [known[name]] * int(number)
    return tuple(wish)


def choose(wish: Wish, devices: Iterable[Mapping[str, Any]]) -> list[str] | None:
    """The addresses of devices that do, the first that fit; None where they don't."""
    left, chosen = list(devices), list[str]()
    for kinds in wish:
        found = next((device for device in left if any(kind.is_it(device) for kind in kinds)), None)
        if found is None:
            return None
        left.remove(found)
        chosen.append(str(found["address"]))
    return chosen


def same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two flavors ask for the same devices."""
    return (one.get(SPEC) or "") == (other.get(SPEC) or "")
