"""Routes for the served run, and for the health of the service."""

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from deftrec.serving.editing import new_items
from deftrec.serving.logs import log
from deftrec.serving.model_manager import DamagedRunError
from deftrec.serving.schemas import Health, ModelCapabilities, ModelDetails, ModelSwitch, ModelVersion
from deftrec.serving.security import TheService, needs
from deftrec.serving.signals import event_signals

router = APIRouter()


@router.get("/v1/model", tags=["model"], dependencies=[Depends(needs("read"))])
async def about(service: TheService) -> ModelDetails:
    """Describe the run, its data and capabilities, and the limits of a request."""
    engine, able = service.engine, new_items(service.engine)
    return ModelDetails(
        **ModelVersion.of(engine).model_dump(),
        dataset=engine.interactions.meta.name,
        users=engine.interactions.n_users,
        items=engine.interactions.n_items - len(engine.removed),
        categories=list(engine.recommender.categories),
        capabilities=ModelCapabilities(
            explain=True,
            words=engine.states_preferences,
            requests=engine.reads_requests,
            new_items=able.able,
            new_items_reason=able.reason,
        ),
        events=event_signals(engine),
        attributes=engine.interactions.attributes.columns,
        limits=service.settings.model_dump(
            include={"k", "offset", "history", "events", "samples", "filter_items", "request_rules"}
        ),
    )


@router.post("/v1/admin/model", tags=["model"], dependencies=[Depends(needs("admin"))])
async def switch(wanted: ModelSwitch, service: TheService) -> ModelVersion:
    """Serve another run. It is loaded first; requests in progress are answered by the run they began with."""
    try:
        engine = await service.models.switch(wanted.run)
    except DamagedRunError:
        service.metrics.switches.labels("failed").inc()
        raise
    service.metrics.switches.labels("done").inc()
    log("switched", run=engine.name, version=engine.version)
    return ModelVersion.of(engine)


@router.get("/healthz", tags=["health"])
async def alive() -> Health:
    """Answer if the process runs."""
    return Health()


@router.get("/readyz", tags=["health"])
async def ready(service: TheService) -> Health:
    """Answer if the model and the store are available; 503 while the store is not."""
    await service.threads.call(service.store.ping)
    return Health()


@router.get("/metrics", tags=["health"], dependencies=[Depends(needs("read"))], response_class=PlainTextResponse)
async def metrics(service: TheService) -> PlainTextResponse:
    """Return metrics in Prometheus' text format."""
    return PlainTextResponse(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
