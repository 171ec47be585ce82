"""The catalogue."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from deftrec.errors import DeftRecError, in_a_line
from deftrec.serving.batching import OverloadedError
from deftrec.serving.editing import ItemDescription, ItemRefusedError, RunUnwritableError, put_item, remove_item
from deftrec.serving.logs import log
from deftrec.serving.model_manager import RETRY
from deftrec.serving.problems import ProblemError
from deftrec.serving.routes.asking import known_item, model_of
from deftrec.serving.schemas import ID_LENGTH, Item, Items, Map, NewItem, PathId, Recommended, Similar
from deftrec.serving.security import TheService, needs

router = APIRouter(tags=["items"])
READ = [Depends(needs("read"))]
ADMIN = [Depends(needs("admin"))]


@router.get("/v1/items", dependencies=READ)
async def search(
    service: TheService,
    q: Annotated[str, Query(min_length=1, max_length=ID_LENGTH, description="words of the title")],
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> Items:
    """Items whose title holds all the words, those that begin with them first."""
    engine = service.engine
    return Items(items=[Item.of(engine, number) for number in await asyncio.to_thread(engine.search, q, limit)])


@router.get("/v1/map", dependencies=READ)
async def catalogue_map(service: TheService) -> Map:
    """Where items lie among the catalogue's latents."""
    engine = service.engine
    drawn = await asyncio.to_thread(engine.background)
    return Map(items=[Item.of(engine, number) for number in drawn], shares=[*engine.plane.shares])


@router.get("/v1/items/{item_id:path}/similar", dependencies=READ)
async def similar(
    item_id: PathId, service: TheService, k: Annotated[int, Query(ge=1, le=200, description="how many")] = 10
) -> Similar:
    """The items whose latents are nearest, by cosine."""
    engine = await service.knowing([item_id])
    number = known_item(engine, item_id)
    found = await asyncio.to_thread(engine.similar, engine.items[number], k)
    return Similar(items=[Recommended.found(engine, one) for one in found], model=model_of(engine))


@router.get("/v1/items/{item_id:path}", dependencies=READ)
async def item(item_id: PathId, service: TheService) -> Item:
    """One item."""
    engine = await service.knowing([item_id])
    return Item.of(engine, known_item(engine, item_id))


@router.put(
    "/v1/items/{item_id:path}", dependencies=ADMIN, responses={201: {"model": Item, "description": "It is new"}}
)
async def put(item_id: PathId, words: NewItem, service: TheService, response: Response) -> Item:
    """Recommend an item from now on, by its words: 201 where it is new.

    An item that was put before gets these words, one that was removed comes back, and items of the training keep the
    words that their vectors were trained with. When this answers it is on disk, and this worker knows it; others learn
    of it within a second, or when they are asked for it. Runs that cannot answer 409 with the mend.
    """
    with _told():
        engine, number, new = await put_item(service.holder, item_id, ItemDescription(**words.model_dump()))
    service.metrics.items.labels("added" if new else "put again").inc()
    log("item put", item=engine.items[number], new=new)
    response.status_code = 201 if new else 200
    return Item.of(engine, number)


@router.delete("/v1/items/{item_id:path}", dependencies=ADMIN)
async def remove(item_id: PathId, service: TheService) -> Item:
    """Recommend an item no more, whatever the run. Whoever took it keeps it in the history; `PUT` brings it back."""
    number = known_item(await service.knowing([item_id]), item_id)
    with _told():
        engine = await remove_item(service.holder, item_id)
    service.metrics.items.labels("removed").inc()
    log("item removed", item=item_id)
    return Item.of(engine, number)


@contextmanager
def _told() -> Iterator[None]:
    """What hinders a change, in words of the interface.

    Raises:
        ProblemError: 409 where the run cannot, 422 where the item is none, 503 where nothing could be written.
    """
    try:
        yield
    except OverloadedError:
        raise
    except ItemRefusedError as error:
        raise ProblemError(422 if error.code == "invalid" else 409, error.code, str(error)) from error
    except RunUnwritableError as error:
        log("run not written", 30, reason=in_a_line(error))
        message = f"the run directory could not be written, and stays as it was; try again in {RETRY} s"
        raise ProblemError(503, "run_unwritable", message, headers={"Retry-After": str(RETRY)}) from error
    except DeftRecError as error:
        log("run not changed", 40, reason=in_a_line(error))
        message = "the run could not be changed, and stays as it was; the service's log says why"
        raise ProblemError(409, "damaged_run", message) from error
