# SPDX-License-Identifier: Apache-2.0
"""Load over kept-alive connections, each asking for the next thing as soon as it has its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Request(NamedTuple):
    """A request as it goes over the wire, and the status that its answer must have."""

    text: bytes
    status: int


Turn = Sequence[Request]  # what one measured unit consists of: one request, or a few in a row


@dataclass(slots=True)
class Outcome:
    """What a run did. `unexpected` has the beginnings of answers of another status than expected (a few)."""

    turns: int = 0
    seconds: float = 0.0
    unexpected: list[bytes] = field(default_factory=list)


class _Connection(asyncio.Protocol):
    """One client: runs turns until there are none left."""

    def __init__(self, turns: Iterator[Turn], outcome: Outcome, ended: asyncio.Future[None]) -> None:
        self._turns, self._outcome, self._ended = turns, outcome, ended
        self._waiting: list[Request] = []
        self._buffer = bytearray()
        self._length = -1  # of the whole answer, once its header is there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next_turn()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._length < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[: end + 2]).lower()
            at = head.find(b"\r\ncontent-length:")
            size = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else 0
            self._length = end + 4 + size
        if len(self._buffer) >= self._length:
            self._answered()

    def _answered(self) -> None:
        request = self._waiting.pop()
        if int(self._buffer[9:12]) != request.status and len(self._outcome.unexpected) < 3:
            self._outcome.unexpected.append(bytes(self._buffer[:2000]))
        self._buffer.clear()
        self._length = -1
        if self._waiting:
            self._transport.write(self._waiting[-1].text)
        else:
            self._outcome.turns += 1
            self._next_turn()

    def _next_turn(self) -> None:
        turn = next(self._turns, None)
        if turn is None:
            self._transport.close()
            return
        self._waiting = list(reversed(turn))
        self._transport.write(self._waiting[-1].text)

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting:
            self._outcome.unexpected.append(f"connection lost: {error}".encode())
        if not self._ended.done():
            self._ended.set_result(None)


def run(address: tuple[str, int], make: Callable[[int], Turn], *, most: int, seconds: float, clients: int) -> Outcome:
    """`make(0)`, `make(1)`, … over `clients` connections, until `most` turns were made or `seconds` are over."""
    outcome = Outcome()
    until = time.monotonic() + seconds

    def turns() -> Iterator[Turn]:
        for number in range(most):
            if time.monotonic() >= until or outcome.unexpected:
                return
            yield make(number)

    async def everybody() -> None:
        loop = asyncio.get_running_loop()
        shared = turns()
        ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(clients)]
        started = time.monotonic()
        for ended in ends:
            await loop.create_connection(lambda ended=ended: _Connection(shared, outcome, ended), *address)  # type: ignore[misc]
        await asyncio.gather(*ends)
        outcome.seconds = time.monotonic() - started

    asyncio.run(everybody())
    return outcome
