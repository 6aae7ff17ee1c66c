# SPDX-License-Identifier: Apache-2.0
"""Failed log-ins, counted by user and address, so that nobody can try passwords in bulk."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from computeapi import errors

_WINDOW = 60.0  # seconds
_MOST_KEYS = 10_000


class Attempts:
    """Remembers the failures of the last minute, in this process, for at most 10,000 pairs of user and address."""

    def __init__(self, allowed: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`allowed` failures a minute; 0 for no limit."""
        self._allowed = allowed
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def check(self, user: str, address: str) -> None:
        """Raise TooManyRequests where the limit is reached: then not even the right password is looked at."""
        if not self._allowed:
            return
        with self._lock:
            times = self._failures.get((user, address))
            if times is None:
                return
            moment = self._clock()
            while times and times[0] <= moment - _WINDOW:
                times.popleft()
            if not times:
                del self._failures[user, address]
            elif len(times) >= self._allowed:
                wait = max(1, math.ceil(times[-self._allowed] + _WINDOW - moment))
                raise errors.TooManyRequests(
                    "Too many failed attempts to log in; try again later.", headers={"Retry-After": str(wait)}
                )

    def failed(self, user: str, address: str) -> None:
        """Count a failure."""
        if not self._allowed:
            return
        with self._lock:
            times = self._failures.setdefault((user, address), deque(maxlen=self._allowed))
            times.append(self._clock())
            self._failures.move_to_end((user, address))
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)
