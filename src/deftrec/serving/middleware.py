"""Around every request: an id, a log line and its measures; limits on the body; headers; and no trace to a client."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deftrec.serving.logs import log
from deftrec.serving.metrics import ServiceMetrics
from deftrec.serving.problems import Problem, response

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's own files alone; nothing inline, nothing from elsewhere, in nobody's frame."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class RequestMonitor:
    """Gives every request an id, measures and logs it, and answers what nobody foresaw with a bare 500."""

    def __init__(self, app: ASGIApp, metrics: Callable[[], ServiceMetrics]) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status, began = 0, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:
            log("request failed", 40, trace=True, request_id=request_id)
            if not status:
                problem = Problem(code="internal", message=f"something went wrong; the log of {request_id} says what")
                await response(500, problem)(scope, receive, sending)
        finally:
            took = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if route != "unknown" else "any"
            self.metrics().requests.labels(route, method, str(status)).observe(took)
            fields = {"method": scope["method"][:16], "route": route, "status": status, "seconds": round(took, 5)}
            log("request", request_id=request_id, key=scope["state"].get("key"), **fields)


class BodyLimit:
    """Refuses bodies that are too large or take too long; a route is called only when the whole body is there.

    Args:
        size: bytes.
        seconds: from the first byte of the request's head to the last of its body.
    """

    def __init__(self, app: ASGIApp, size: int, seconds: float) -> None:
        self.app, self.size, self.seconds = app, size, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem: tuple[int, Problem] | None = None
        body: bytes | None = b""
        said = Headers(scope=scope).get("content-length", "0")
        if said.isascii() and said.isdigit() and int(said[:20]) > self.size:
            problem = 413, Problem(code="too_large", message=f"the body is larger than {self.size:,} bytes; send less")
        else:
            try:
                body = await asyncio.wait_for(self._whole(receive), self.seconds)
            except TimeoutError:
                problem = 408, Problem(code="too_slow", message=f"the body took longer than {self.seconds:g} s")
        if body is None:
            problem = 413, Problem(code="too_large", message=f"the body is larger than {self.size:,} bytes; send less")
        if problem:
            await response(*problem, {"Connection": "close"})(scope, receive, send)
            return
        await self.app(scope, _replay(body or b"", receive), send)

    async def _whole(self, receive: Receive) -> bytes | None:
        """The body; None where it is too large."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(parts)
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > self.size:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Hands a body over that was read already; after it, whatever comes next."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
