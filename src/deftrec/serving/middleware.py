"""ASGI middleware: request ids, access log, metrics, body limits, security headers and the last error handler."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable

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
"""Content security policy: only the page's own files, no inline scripts or styles, no embedding in frames."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class RequestMonitor:
    """Gives every request an id, measures and logs it, and answers unexpected errors with a 500 without details."""

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
                message = f"internal error; the service's log entry {request_id} has the details"
                await response(500, Problem(code="internal", message=message))(scope, receive, sending)
        finally:
            took = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if route != "unknown" else "any"
            self.metrics().requests.labels(route, method, str(status)).observe(took)
            fields = {"method": scope["method"][:16], "route": route, "status": status, "seconds": round(took, 5)}
            log("request", request_id=request_id, key=scope["state"].get("key"), **fields)


class BodyLimit:
    """Refuses bodies that are too large or too slow; a route is called only after the whole body has arrived.

    Args:
        app: The application inside.
        size: Largest body in bytes.
        seconds: Seconds until the whole body must have arrived.
    """

    def __init__(self, app: ASGIApp, size: int, seconds: float) -> None:
        self.app, self.size, self.seconds = app, size, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        problem = 413, Problem(code="too_large", message=f"the body is larger than {self.size:,} bytes; send less")
        body = None
        if not (declared.isascii() and declared.isdigit() and int(declared[:20]) > self.size):
            try:
                body = await asyncio.wait_for(self._read(receive), self.seconds)
            except TimeoutError:
                problem = 408, Problem(code="too_slow", message=f"the body took longer than {self.seconds:g} s")
        if body is None:
            await response(*problem, {"Connection": "close"})(scope, receive, send)
            return
        replayed: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return replayed.pop() if replayed else await receive()

        await self.app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Read the body; None if it is too large."""
        body = bytearray()
        more = True
        while more and (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if len(body) > self.size:
                return None
            more = message.get("more_body", False)
        return bytes(body)
