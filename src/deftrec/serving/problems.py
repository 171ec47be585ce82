"""Error responses: one JSON shape for every error, without internal details."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from deftrec.errors import DeftRecError, in_a_line
from deftrec.serving.logs import log
from deftrec.serving.metrics import ServiceMetrics


class Problem(BaseModel):
    """An error.

    Attributes:
        code: Identifier of the reason, for programs.
        message: Description of the error and of how to correct it, for people.
        index: Position of the invalid entry in a batch or list, from 0; absent if there is none.
    """

    code: str
    message: str
    index: int | None = None


class ProblemError(DeftRecError):
    """An error that a client is told about: HTTP status and the fields of `Problem`.

    Args:
        retry_after: Seconds until the same request may succeed.
        internal: Message for the log instead of the client, if the reason contains internal details.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        index: int | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        internal: str | None = None,
    ) -> None:
        message = message if retry_after is None else f"{message}; try again in {retry_after} s"
        super().__init__(internal or message)
        self.status, self.problem, self.internal = status, Problem(code=code, message=message, index=index), internal
        self.retry_after = retry_after
        self.headers = {**(headers or {}), **({} if retry_after is None else {"Retry-After": str(retry_after)})}


PROBLEMS = {status: {"model": Problem} for status in (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503)}
"""Error responses of every route in the OpenAPI document."""

CODES = {404: "not_found", 405: "method_not_allowed", 400: "malformed", 415: "unsupported_media_type"}


def response(status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Make the response for a problem."""
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers)


def recorded(error: ProblemError, metrics: ServiceMetrics) -> Problem:
    """Count and log an error, and return what the client is told."""
    if error.status == 503:
        metrics.refused.labels(error.problem.code).inc()
    if error.internal is not None:
        log(error.problem.code.replace("_", " "), 40, reason=in_a_line(error))
    return error.problem


def install(app: FastAPI) -> None:
    """Register the exception handlers that turn every error into a problem."""

    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: ProblemError) -> JSONResponse:
        problem = recorded(error, request.app.state.service.metrics)
        return response(error.status, problem, error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = [part for part in first["loc"] if part not in ("body", "query", "path")]
        index = next((part for part in place if isinstance(part, int)), None)
        where = ascii(".".join(str(part)[:64] for part in place))[1:-1] or "body"
        if first["type"] == "json_invalid":
            return response(400, Problem(code="malformed", message="the body is not valid JSON"))
        if not place and "json" not in request.headers.get("content-type", ""):
            message = "the body must be JSON and be declared as JSON; send Content-Type: application/json"
            return response(415, Problem(code=CODES[415], message=message))
        return response(422, Problem(code="invalid", message=f"{where}: {first['msg'][:300]}", index=index))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        code = CODES.get(error.status_code, "refused")
        return response(error.status_code, Problem(code=code, message=str(error.detail)), error.headers)
