"""Who may do what: keys and scopes, the rate of each caller, and what a browser may send from elsewhere."""

import math
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deftrec.serving.keys import ALLOWS, Scope
from deftrec.serving.problems import ProblemError
from deftrec.serving.service import Service

LOCAL_NAMES = {"localhost", "127.0.0.1", "::1", "testserver"}
"""Hosts that a service without keys answers to: a page elsewhere cannot reach it under a name of its own."""

_bearer = HTTPBearer(auto_error=False, description="A key made with `deftrec api-key`; none is needed where the "
                     "service was started without keys.")  # fmt: skip
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def service_of(request: Request) -> Service:
    """The service behind the app."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


def needs(scope: Scope) -> Callable[..., Coroutine[Any, Any, None]]:
    """A dependency that lets a caller through who may do what `scope` allows.

    Raises:
        ProblemError: 401 without a valid key, 403 with one of another scope or from another site, 429 too often.
    """

    async def check(request: Request, service: TheService, credentials: Credentials) -> None:
        _refuse_other_sites(request, local=service.keys is None)
        caller = request.client.host if request.client else "unknown"
        allowed = True
        if service.keys is not None:
            key = service.keys.find(credentials.credentials) if credentials else None
            if key is None:
                _limit(service, f"address {caller}")
                raise ProblemError(
                    401,
                    "unauthorized",
                    "send a valid key as 'Authorization: Bearer KEY'",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            caller, allowed = f"key {key.name}", scope in ALLOWS[key.scope]
            request.state.key = key.name
        _limit(service, caller)
        if not allowed:
            raise ProblemError(403, "forbidden", f"this key may not {scope}; use one of scope {scope}")

    return check


def _limit(service: Service, caller: str) -> None:
    wait = service.limit.wait(caller)
    if wait:
        service.metrics.refused.labels("rate").inc()
        seconds = str(math.ceil(wait))
        message = f"too many requests; go on in {seconds} s"
        raise ProblemError(429, "too_many_requests", message, headers={"Retry-After": seconds})


def _refuse_other_sites(request: Request, local: bool) -> None:
    """Pages of other sites may not use the browser of somebody who can reach the service."""
    host = request.headers.get("host", "")
    named = _split(f"//{host}")
    if local and (named is None or named.hostname not in LOCAL_NAMES):
        raise ProblemError(403, "other_host", "a service without keys answers to localhost and 127.0.0.1 alone")
    origin = request.headers.get("origin")
    site = None if origin is None else _split(origin)
    if origin is not None and (site is None or site.netloc != host):
        raise ProblemError(403, "other_site", "pages of other sites are not answered; call from the site itself")


def _split(address: str) -> SplitResult | None:
    """Its parts; None where it is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return None
