"""Access control: API keys and scopes, rate limits, and protection against requests from other web sites."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deftrec.serving.keys import SCOPES, Scope
from deftrec.serving.problems import ProblemError
from deftrec.serving.service import Service

LOCAL_NAMES = {"localhost", "127.0.0.1", "::1", "testserver"}
"""Host names that a service without keys answers to; a web site cannot reach it by a DNS name of its own."""
CALLERS = 10_000  # largest number of buckets; the least recently used one is dropped, so memory is bounded

_bearer = HTTPBearer(auto_error=False, description="A key made by `deftrec api-key`; not needed if the service was "
                     "started without keys.")  # fmt: skip
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


class RateLimit:
    """Token bucket for every caller: `rate` tokens per second (0 disables the limit), at most `burst`."""

    def __init__(self, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Take a token and return 0; if there is none, return the seconds until the next one."""
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


def service_of(request: Request) -> Service:
    """Service behind the app."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


def needs(scope: Scope) -> Callable[..., Coroutine[Any, Any, None]]:
    """Make a dependency that admits only callers with the permissions of `scope`, at most at the limited rate."""

    async def check(request: Request, service: TheService, credentials: Credentials) -> None:
        _refuse_other_sites(request, local=service.keys is None)
        caller = request.client.host if request.client else "unknown"
        allowed = True
        if service.keys is not None:
            key = service.keys.find(credentials.credentials) if credentials else None
            if key is None:
                _limit(request, f"address {caller}")
                message = "send a valid key as 'Authorization: Bearer KEY'"
                raise ProblemError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
            caller, allowed = f"key {key.name}", SCOPES.index(scope) <= SCOPES.index(key.scope)
            request.state.key, request.state.key_scope = key.name, key.scope
        _limit(request, caller)
        if not allowed:
            raise ProblemError(403, "forbidden", f"this request needs a key of scope {scope}")

    return check


def _limit(request: Request, caller: str) -> None:
    limit: RateLimit = request.app.state.rate_limit
    wait = limit.wait(caller)
    if wait:
        service_of(request).metrics.refused.labels("rate").inc()
        raise ProblemError(429, "too_many_requests", "too many requests", retry_after=math.ceil(wait))


def _refuse_other_sites(request: Request, local: bool) -> None:
    """Refuse requests that another web site sends through a visitor's browser."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if local and _split(f"//{host}").hostname not in LOCAL_NAMES:
        raise ProblemError(403, "other_host", "a service without keys answers only to localhost and 127.0.0.1")
    if origin is not None and _split(origin).netloc != host:
        raise ProblemError(403, "other_site", "requests from pages of other web sites are refused")


def _split(address: str) -> SplitResult:
    """Parse an address; a malformed one has no host and a network location that equals no host header."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", " ", "", "", "")
