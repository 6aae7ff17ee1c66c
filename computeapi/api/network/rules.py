# SPDX-License-Identifier: Apache-2.0
"""The Networking API's policy rules, by Neutron's names (neutron/conf/policies).

What a caller may not know of is not found, so the rules for reading ask for a role alone.
"""

from __future__ import annotations

from typing import Any

from computeapi.policy import rule

READER = "rule:context_is_admin or role:reader"

_NOUNS = ("network", "subnet", "port", "router")

RULES: list[Any] = [
    *(rule(f"get_{noun}", READER, f"See {noun}s.", ("GET", f"/v2.0/{noun}s")) for noun in _NOUNS),
]
