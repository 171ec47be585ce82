"""FastAPI application of the service."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from deftrec.serving import problems
from deftrec.serving.middleware import BodyLimit, RequestMonitor
from deftrec.serving.routes import items, model, recommendations, users
from deftrec.serving.security import RateLimit
from deftrec.serving.service import Service

STATIC = Path(__file__).parent / "static"


def create_app(service: Service) -> FastAPI:
    """Make the ASGI application of a service; the service runs during the lifespan of the application."""

    app = FastAPI(
        title="DeftRec",
        version="1",
        description="Recommendations that use the newest interactions of a user.",
        lifespan=lambda _: service.running(),
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        responses=problems.PROBLEMS,  # type: ignore[arg-type]
    )
    protect(app, service)
    for part in (recommendations, users, items, model):
        app.include_router(part.router)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def protect(app: FastAPI, service: Service) -> None:
    """Give an application the service and its limits, error responses, logs and metrics."""
    settings = service.settings
    app.state.service, app.state.rate_limit = service, RateLimit(settings.rate, settings.burst)
    problems.install(app)
    app.add_middleware(BodyLimit, size=settings.body_bytes, seconds=settings.body_seconds)
    app.add_middleware(RequestMonitor, metrics=service.metrics)
