# SPDX-License-Identifier: Apache-2.0
"""Who may open a console: where the token is looked for, and which pages may ask."""

from __future__ import annotations

import pytest

from computeapi.console.access import Refused, check_origin, token_in


@pytest.mark.parametrize(
    ("path", "cookie", "token"),
    [
        ("/?token=abc", None, "abc"),
        ("/websockify?x=1&token=abc", "token=other", "abc"),
        ("/websockify", "token=abc", "abc"),
        ("/websockify", "a=b; token=abc; c=d", "abc"),
        ("/websockify?token=", "token=abc", "abc"),
    ],
)
def test_the_token(path: str, cookie: str | None, token: str) -> None:
    assert token_in(path, cookie) == token


@pytest.mark.parametrize(
    ("path", "cookie"),
    [
        ("/", None),
        ("/?token=", None),
        ("/", ""),
        ("/", "token"),
        ("/", 'x="'),
        ("/?tokens=abc", None),
        ("/#token=a", ""),
        ("/?token=" + "x" * 256, None),
    ],
)
def test_no_token(path: str, cookie: str | None) -> None:
    with pytest.raises(Refused):
        token_in(path, cookie)


OURS = "cloud.example.org"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, None),
        (f"http://{OURS}", OURS),
        (f"http://{OURS}:6080", f"{OURS}:6080"),
        (f"http://{OURS.upper()}", OURS),
        (f"http://{OURS}:80", f"{OURS}:6080"),  # Nova compares names, not ports
        ("http://[2001:db8::1]:6080", "[2001:db8::1]:6080"),
        ("http://dashboard.example.org", OURS),
    ],
)
def test_origins_that_may(origin: str | None, host: str | None) -> None:
    check_origin(origin, host, allowed=["dashboard.example.org"], scheme="http")


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("http://evil.example.org", "does not match this host"),
        (f"http://{OURS}.evil.example.org", "does not match this host"),
        (f"http://{OURS}@evil.example.org", "does not match this host"),
        (f"https://{OURS}", "protocol does not match"),
        ("null", "not valid"),
        ("", "not valid"),
        (OURS, "not valid"),
        (f"//{OURS}", "not valid"),
        ("http://", "not valid"),
        ("http://[", "not valid"),
    ],
)
def test_origins_that_may_not(origin: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        check_origin(origin, OURS, allowed=[], scheme="http")


def test_tls_that_ends_before_us() -> None:
    check_origin(f"http://{OURS}", OURS, allowed=[], scheme="https", forwarded="https")
    with pytest.raises(Refused, match="protocol"):
        check_origin(f"https://{OURS}", OURS, allowed=[], scheme="https", forwarded="http")
    with pytest.raises(Refused, match="does not match this host"):
        check_origin(f"http://{OURS}", None, allowed=[], scheme="http")
