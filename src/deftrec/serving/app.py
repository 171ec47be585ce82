"""The service over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from deftrec.serving import problems
from deftrec.serving.middleware import BodyLimit, RequestMonitor
from deftrec.serving.routes import events, health, items, model, recommendations, users
from deftrec.serving.service import Service

STATIC = Path(__file__).parent / "static"


def create_app(service: Service) -> FastAPI:
    """The ASGI app of a service; the service's queue lives as long as the app runs."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="DeftRec",
        version="1",
        description="Recommendations with the newest history.",
        lifespan=running,
        docs_url=None,  # their pages fetch scripts from elsewhere
        redoc_url=None,
        responses=problems.PROBLEMS,  # type: ignore[arg-type]
    )
    app.state.service = service
    problems.install(app)
    for part in (events, recommendations, users, items, model, health):
        app.include_router(part.router)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(BodyLimit, size=service.settings.body_bytes, seconds=service.settings.body_seconds)
    app.add_middleware(RequestMonitor, metrics=lambda: service.metrics)
    return app
