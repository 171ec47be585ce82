"""For whoever watches the service."""

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from deftrec.serving.schemas import Health
from deftrec.serving.security import TheService, needs

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> Health:
    """The process runs."""
    return Health()


@router.get("/readyz")
async def ready(service: TheService) -> Health:
    """Model and store answer; 503 while the store is away."""
    await service.threads.call(service.store.ping)
    return Health()


@router.get("/metrics", dependencies=[Depends(needs("read"))], response_class=PlainTextResponse)
async def metrics(service: TheService) -> PlainTextResponse:
    """For Prometheus."""
    return PlainTextResponse(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)
