"""What is answered when something is wrong: one shape for every error, and nothing in it of the inside."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from deftrec.serving.batching import OverloadedError
from deftrec.serving.store import EventConflictError, StoreUnavailableError

STORE_RETRY = 2
"""Seconds after which a store that was away may be asked again."""


class Problem(BaseModel):
    """An error.

    Attributes:
        code: for programs; one of a few, the same for the same reason.
        message: for people: what is wrong and the mend.
        index: place of the bad entry in a batch or list, from 0, where there is one.
    """

    code: str
    message: str
    index: int | None = None


class ProblemError(Exception):
    """Raised by a route to answer with a problem."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        index: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.problem, self.headers = status, Problem(code=code, message=message, index=index), headers


PROBLEMS = {status: {"model": Problem} for status in (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503)}
"""Of the OpenAPI document: any route may answer these."""

CODES = {404: "not_found", 405: "method_not_allowed", 400: "malformed", 415: "unsupported_media_type"}


def response(status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A problem as an answer."""
    return JSONResponse(problem.model_dump(exclude_none=True), status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Answer every error in this shape."""

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, error: ProblemError) -> JSONResponse:
        return response(error.status, error.problem, error.headers)

    @app.exception_handler(OverloadedError)
    async def _overloaded(request: Request, error: OverloadedError) -> JSONResponse:
        request.app.state.service.metrics.refused.labels("overloaded").inc()
        headers = {"Retry-After": str(error.retry_after)}
        return response(503, Problem(code="overloaded", message=str(error)), headers)

    @app.exception_handler(StoreUnavailableError)
    async def _away(request: Request, _: StoreUnavailableError) -> JSONResponse:
        request.app.state.service.metrics.refused.labels("store_unavailable").inc()
        message = f"the event store does not answer; try again in {STORE_RETRY} s"
        return response(503, Problem(code="store_unavailable", message=message), {"Retry-After": str(STORE_RETRY)})

    @app.exception_handler(EventConflictError)
    async def _conflict(_: Request, error: EventConflictError) -> JSONResponse:
        return response(409, Problem(code="event_conflict", message=str(error), index=error.index))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = [part for part in first["loc"] if part not in ("body", "query", "path")]
        index = next((part for part in place if isinstance(part, int)), None)
        where = ascii(".".join(str(part)[:64] for part in place))[1:-1] or "body"
        if first["type"] == "json_invalid":
            return response(400, Problem(code="malformed", message="the body is no JSON"))
        if not place and "json" not in request.headers.get("content-type", ""):
            message = "the body is read as JSON where the header says so: send Content-Type: application/json"
            return response(415, Problem(code=CODES[415], message=message))
        return response(422, Problem(code="invalid", message=f"{where}: {first['msg'][:300]}", index=index))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        code = CODES.get(error.status_code, "refused")
        return response(error.status_code, Problem(code=code, message=str(error.detail)), error.headers)
