# SPDX-License-Identifier: Apache-2.0
"""Regular expressions that clients send: searched by the database, in time that no pattern can blow up.

PostgreSQL has its own engine. SQLite would call Python's `re`, which a pattern like `(a+)+$` keeps busy for ever; so
here an expression becomes a finite automaton, and a text costs its length. What no automaton can do (back references,
look-around, word boundaries) is refused on every engine, so that a query means the same on each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, func

from computeapi import errors

MAX_LENGTH = 512  # characters of a pattern
_MAX_STATES = 500
_MAX_WORK = 5000  # pieces of a pattern, repeats written out
_MAX_MEMO = 20_000  # states in all sets that an automaton remembers

_TOKEN = re.compile(
    r"(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\]|\\[dDsSwW])"
    r"|\\(?P<escaped>[^a-zA-Z0-9]|[tnrfv])"
    r"|(?P<repeat>[*+?]|\{\d{1,4}(?:,\d{0,4})?\})\??"
    r"|(?P<open>\((?:\?:)?)(?!\?)"
    r"|(?P<special>[)|^$])"
    r"|(?P<any>\.)"
    r"|(?P<plain>(?!\{\d)[^\\(\[])",
    re.DOTALL,
)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}

Test = Callable[[str], Any]
Node = tuple[Any, ...]


def matches(conn: Connection, column: Any, pattern: str) -> ColumnElement[bool]:
    """A condition: the pattern is found in the column's text. Raises BadRequest for a pattern that it can't be."""
    compiled(pattern)
    if conn.dialect.name != "sqlite":
        found: ColumnElement[bool] = column.op("~", is_comparison=True)(pattern)
        return found
    driver: Any = conn.connection.driver_connection
    driver.create_function("computeapi_found", 2, _found, deterministic=True)
    return func.computeapi_found(pattern, column) == 1


def _found(pattern: str, text: str | None) -> int:
    return int(text is not None and compiled(pattern)(str(text)))


@lru_cache(maxsize=64)
def compiled(pattern: str) -> Callable[[str], bool]:
    """A function that says whether `pattern` is found anywhere in a text. Raises BadRequest."""
    if not re.search(r"[\\\[\](){}*+?.^$|]", pattern):
        return lambda text: pattern in text
    if len(pattern) > MAX_LENGTH:
        raise errors.BadRequest(f"Invalid input for query parameters: a regex is longer than {MAX_LENGTH} characters.")
    return _Automaton(_Parser(pattern).parse()).search


class _Parser:
    """From text to a tree: ("test", f), ("cat", nodes), ("or", nodes), ("repeat", node, least, most), ("begin",), …"""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._position = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._either()
        if self._position != len(self._pattern):
            raise self._refused()
        return node

    def _refused(self) -> errors.BadRequest:
        return errors.BadRequest(
            f"Invalid input for query parameters: '{self._pattern}' is not a 'regex' that is supported."
        )

    def _peek(self) -> re.Match[str] | None:
        if self._position == len(self._pattern):
            return None
        token = _TOKEN.match(self._pattern, self._position)
        if token is None:
            raise self._refused()
        return token

    def _either(self) -> Node:
        choices = [self._sequence()]
        while (token := self._peek()) is not None and token["special"] == "|":
            self._position = token.end()
            choices.append(self._sequence())
        return choices[0] if len(choices) == 1 else ("or", choices)

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while (token := self._peek()) is not None and token["special"] not in ("|", ")"):
            self._position = token.end()
            if token["repeat"]:
                if not parts or parts[-1][0] in ("repeat", "begin", "end"):
                    raise self._refused()
                parts.append(self._repeat(parts.pop(), token["repeat"]))
            else:
                parts.append(self._one(token))
        return ("cat", parts)

    def _one(self, token: re.Match[str]) -> Node:
        if token["open"]:
            self._depth += 1
            inner = self._either()
            closing = self._peek()
            if closing is None or closing["special"] != ")" or self._depth > 50:
                raise self._refused()
            self._depth -= 1
            self._position = closing.end()
            return ("cat", [inner])
        if token["special"]:
            return ("begin",) if token["special"] == "^" else ("end",)
        if token["any"]:
            return ("test", bool)
        if token["set"]:
            try:
                return ("test", re.compile(token["set"]).match)
            except re.error:
                raise self._refused() from None
        literal = _CONTROL.get(token["escaped"], token["escaped"]) or token["plain"]
        return ("test", literal.__eq__)

    def _repeat(self, node: Node, sign: str) -> Node:
        if sign in "*+?":
            return ("repeat", node, int(sign == "+"), 1 if sign == "?" else None)
        least, comma, most = sign[1:-1].partition(",")
        bounds = (int(least), int(most) if most else None if comma else int(least))
        if bounds[1] is not None and bounds[1] < bounds[0]:
            raise self._refused()
        return ("repeat", node, *bounds)


class _Automaton:
    """Thompson's construction, its sets of states remembered as they come up."""

    def __init__(self, tree: Node) -> None:
        self._free: list[list[tuple[int, str]]] = []  # state → (state, "" or the place where one may go on)
        self._tests: list[tuple[Test, int] | None] = []  # state → what a character must be, and where to then
        self._work = self._weight = 0
        start = self._state()
        self._final = self._build(tree, start)
        self._first = self._close({start}, "begin")
        self._again = self._close({start}, "")
        self._memo: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def _state(self) -> int:
        self._free.append([])
        self._tests.append(None)
        return len(self._free) - 1

    def _build(self, node: Node, start: int) -> int:
        """Add the states of `node` after `start`; the state where it is found."""
        self._work += 1
        if self._work > _MAX_WORK or len(self._free) > _MAX_STATES:
            raise errors.BadRequest("Invalid input for query parameters: a regex is too complex.")
        kind = node[0]
        if kind == "cat":
            for part in node[1]:
                start = self._build(part, start)
            return start
        if kind == "repeat":
            return self._build_repeat(node[1], node[2], node[3], start)
        end = self._state()
        if kind == "test":
            self._tests[start] = (node[1], end)
            return end
        if kind == "or":
            for choice in node[1]:
                way_in = self._state()
                self._free[start].append((way_in, ""))
                self._free[self._build(choice, way_in)].append((end, ""))
            return end
        self._free[start].append((end, kind))
        return end

    def _build_repeat(self, node: Node, least: int, most: int | None, start: int) -> int:
        for _ in range(least):
            start = self._build(node, start)
        if most is None:
            loop, way_in, end = self._state(), self._state(), self._state()
            self._free[start].append((loop, ""))
            self._free[loop] += [(way_in, ""), (end, "")]
            self._free[self._build(node, way_in)].append((loop, ""))
            return end
        end = self._state()
        for _ in range(most - least):
            way_in = self._state()
            self._free[start] += [(way_in, ""), (end, "")]
            start = self._build(node, way_in)
        self._free[start].append((end, ""))
        return end

    def _close(self, states: set[int], place: str) -> frozenset[int]:
        """`states` and all that are reached without a character at that place of the text."""
        found, waiting = set(states), list(states)
        while waiting:
            for target, needed in self._free[waiting.pop()]:
                if target not in found and needed in ("", place):
                    found.add(target)
                    waiting.append(target)
        return frozenset(found)

    def _step(self, states: frozenset[int], char: str) -> frozenset[int]:
        reached = {test[1] for state in states if (test := self._tests[state]) and test[0](char)}
        return self._close(reached, "") | self._again

    def search(self, text: str) -> bool:
        """Whether the expression is found in `text`."""
        memo, states = self._memo, self._first
        if self._final in states:
            return True
        for char in text:
            following = memo.get((states, char))
            if following is None:
                following = self._step(states, char)
                self._weight += len(following)
                if self._weight > _MAX_MEMO:
                    memo.clear()
                    self._weight = 0
                memo[states, char] = following
            states = following
            if self._final in states:
                return True
        closed = self._close(set(states), "end") if text else self._close_empty()
        return self._final in closed

    def _close_empty(self) -> frozenset[int]:
        """For an empty text, whose one place is both begin and end."""
        found, size = set(self._first), -1
        while len(found) != size:
            size = len(found)
            found |= self._close(found, "end") | self._close(found, "begin")
        return frozenset(found)
