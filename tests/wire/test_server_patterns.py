# SPDX-License-Identifier: Apache-2.0
"""Regular expressions that clients send: the same answers as Python's `re`, in time that no pattern blows up."""

from __future__ import annotations

import random
import re
import time

import pytest

from computeapi import errors
from computeapi.db.queries.patterns import compiled


def _random_pattern(dice: random.Random, depth: int = 0) -> str:
    kind = dice.random()
    if depth > 3 or kind < 0.35:
        return dice.choice(["a", "b", ".", r"\.", "1", "-", "[ab]", "[^a]", "[a-]", "[]a]", r"\d", r"\w"])
    inner = _random_pattern(dice, depth + 1)
    if kind < 0.55:
        return inner + _random_pattern(dice, depth + 1)
    if kind < 0.65:
        return f"({inner}|{_random_pattern(dice, depth + 1)})"
    if kind < 0.8:
        return f"(?:{inner})" + dice.choice(["*", "+", "?", "{2}", "{1,2}", "{0,}", "*?", "+?"])
    return "^" + inner if kind < 0.9 else inner + "$"


def test_agrees_with_re() -> None:
    dice = random.Random(20261123)
    for _ in range(3000):
        pattern = _random_pattern(dice)
        text = "".join(dice.choice("ab.-1") for _ in range(dice.randint(0, 7)))
        expected = re.search(pattern, text) is not None
        assert compiled(pattern)(text) == expected, (pattern, text)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a*)*b", "(a|a)*b", ".*.*.*.*.*.*.*=", "(.{0,9}){0,9}=", "a?" * 100 + "a" * 100]
)
def test_no_pattern_blows_up(pattern: str) -> None:
    found = compiled(pattern)
    started = time.process_time()
    found("a" * 255 + "!")
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "(a",
        "a)",
        "[a",
        "[z-a]",
        "*",
        "a**",
        "^*",
        "a{2,1}",
        "a{1",
        "a{99999}",
        "\\",
        r"\1",
        r"\b",
        r"\Aa",
        "(?=a)",
        "(?i)a",
        "(?P<n>a)",
        "(" * 60 + ")" * 60,
        "x{1000}",
        "((){9999}){9999}",
        "a." * 300,
    ],
)
def test_refused(pattern: str) -> None:
    with pytest.raises(errors.BadRequest):
        compiled(pattern)
