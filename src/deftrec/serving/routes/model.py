"""The run that answers, and the switch to another one."""

from fastapi import APIRouter, Depends

from deftrec.errors import DeftRecError, in_a_line
from deftrec.serving.editing import new_items
from deftrec.serving.holder import NoSuchRunError, SwitchingError
from deftrec.serving.logs import log
from deftrec.serving.problems import ProblemError
from deftrec.serving.routes.asking import model_of
from deftrec.serving.schemas import About, Capabilities, Model, Switch
from deftrec.serving.security import TheService, needs

router = APIRouter(tags=["model"])


@router.get("/v1/model", dependencies=[Depends(needs("read"))])
async def about(service: TheService) -> About:
    """The run, its data, what it can do, and the limits of a request."""
    engine, settings = service.engine, service.settings
    able = new_items(engine)
    return About(
        run=engine.name,
        version=engine.version,
        dataset=engine.interactions.meta.name,
        users=engine.interactions.n_users,
        items=engine.interactions.n_items - len(engine.removed),
        categories=list(engine.categories),
        capabilities=Capabilities(
            explain=True,
            words=engine.recommender.model.words,
            new_items=able.able,
            new_items_reason=able.reason,
        ),
        limits={name: getattr(settings, name) for name in ("k", "history", "events", "samples", "filter_items")},
    )


@router.post("/v1/admin/model", dependencies=[Depends(needs("admin"))])
async def switch(wanted: Switch, service: TheService) -> Model:
    """Serve another run. It is loaded first; requests that are under way are answered by the run they began with."""
    try:
        engine = await service.holder.switch(wanted.run)
    except NoSuchRunError as error:
        raise ProblemError(404, "unknown_run", str(error)) from error
    except SwitchingError as error:
        raise ProblemError(409, "switching", str(error)) from error
    except (DeftRecError, OSError) as error:
        service.metrics.switches.labels("failed").inc()
        log("switch failed", 30, run=wanted.run, reason=in_a_line(error))
        message = "this directory holds no complete run, so the present one stays; the service's log says why"
        raise ProblemError(409, "damaged_run", message) from error
    service.metrics.switches.labels("done").inc()
    log("switched", run=engine.name, version=engine.version)
    return model_of(engine)
