# SPDX-License-Identifier: Apache-2.0
"""Who may open a console: the token, and the page that the request comes from.

Behaviour: nova/console/websocketproxy.py (token by query or cookie, Origin against Host and [console] allowed_origins,
its scheme against that of the URL the token came with).
"""

from __future__ import annotations

from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

_LONGEST = 255  # characters of a token that are worth a look


class Refused(Exception):
    """No console for this request; the message is for the log."""


def token_in(path: str, cookie: str | None) -> str:
    """The token: in the query, or, as noVNC before 1.1 sends it, in a cookie. Raises Refused."""
    found = parse_qs(urlsplit(path).query).get("token", [])
    token = found[-1] if found else _from_cookie(cookie)
    if not token or len(token) > _LONGEST:
        raise Refused("there is no token")
    return token


def _from_cookie(cookie: str | None) -> str:
    try:
        morsel = SimpleCookie(cookie or "").get("token")
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def check_origin(
    origin: str | None, host: str | None, *, allowed: Iterable[str], scheme: str, forwarded: str | None = None
) -> None:
    """Refuse a browser's request that comes from another site's page. Programs that are no browsers send no Origin.

    `host` is the Host header, `scheme` our URL's; `forwarded` is X-Forwarded-Proto. Raises Refused.
    """
    if origin is None:
        return
    try:
        parts, ours = urlsplit(origin), urlsplit(f"//{host or ''}").hostname
    except ValueError:
        raise Refused("Origin header not valid.") from None
    if not parts.hostname or not parts.scheme:
        raise Refused("Origin header not valid.")
    if parts.hostname not in {ours, *allowed}:
        raise Refused("Origin header does not match this host.")
    if (forwarded or parts.scheme) != scheme:
        raise Refused("Origin header protocol does not match this host.")
