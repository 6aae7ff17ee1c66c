# SPDX-License-Identifier: Apache-2.0
"""Who asks: what a valid token says, plus the request's id."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Context:
    """The user behind a request. `roles` has the implied ones too (admin → manager → member → reader)."""

    request_id: str
    user_id: str
    project_id: str | None
    roles: frozenset[str]
    domain_id: str | None = None  # of a domain-scoped token
    system: bool = False  # of a system-scoped token
    expires_at: str = ""
    audit_id: str = ""
    token: str = field(default="", repr=False)  # as it came, for neighbours that check it themselves

    @property
    def is_admin(self) -> bool:
        """Has the role admin; the default of Nova's rule context_is_admin."""
        return "admin" in self.roles


# The role on the left has all on the right as well (Keystone's default implied roles).
IMPLIED_ROLES: dict[str, tuple[str, ...]] = {
    "admin": ("manager", "member", "reader"),
    "manager": ("member", "reader"),
    "member": ("reader",),
}


def with_implied(roles: list[str] | tuple[str, ...] | frozenset[str]) -> frozenset[str]:
    """`roles` and all that they imply."""
    return frozenset(roles).union(*(IMPLIED_ROLES.get(role, ()) for role in roles))
