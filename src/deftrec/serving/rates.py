"""How many requests one caller may make: a bucket of tokens each, which fills at a steady rate."""

import time
from collections import OrderedDict
from collections.abc import Callable

CALLERS = 10_000
"""Buckets that are kept, those used last; so memory does not grow with the number of callers."""


class RateLimit:
    """Token buckets by caller.

    Args:
        rate: tokens a second; 0: no limit.
        burst: of a full bucket.
        now: the clock, for tests.
    """

    def __init__(self, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Take a token: 0, or the seconds until there is one."""
        if not self._rate:
            return 0.0
        now = self._now()
        tokens, since = self._buckets.pop(caller, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - since) * self._rate)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate
