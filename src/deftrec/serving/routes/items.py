"""Routes for the catalogue."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from deftrec.serving.editing import put_item, remove_item, run_id
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.logs import log
from deftrec.serving.problems import ProblemError
from deftrec.serving.schemas import (
    ID_LENGTH,
    Item,
    ItemMap,
    Items,
    ModelVersion,
    NewItem,
    PathId,
    RecommendedItem,
    SimilarItems,
)
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
    """Find items whose title contains all the words; titles that begin with them come first."""
    engine = service.engine
    return Items(items=[Item.of(engine, number) for number in await asyncio.to_thread(engine.search, q, limit)])


@router.get("/v1/map", dependencies=READ)
async def catalogue_map(service: TheService) -> ItemMap:
    """Return the positions of items on a two-dimensional map of the latents."""
    engine = service.engine
    drawn = await asyncio.to_thread(engine.background)
    return ItemMap(items=[Item.of(engine, number) for number in drawn], shares=[*engine.plane.shares])


@router.get("/v1/items/{item_id:path}/similar", dependencies=READ)
async def similar(
    item_id: PathId, service: TheService, k: Annotated[int, Query(ge=1, le=200, description="number of items")] = 10
) -> SimilarItems:
    """Find the items with the most similar latents, by cosine."""
    engine = await service.engine_for([item_id])
    number = _known_item(engine, item_id)
    found = await asyncio.to_thread(engine.similar, engine.items[number], k)
    return SimilarItems(items=[RecommendedItem.found(engine, one) for one in found], model=ModelVersion.of(engine))


@router.get("/v1/items/{item_id:path}", dependencies=READ)
async def item(item_id: PathId, service: TheService) -> Item:
    """Return one item."""
    engine = await service.engine_for([item_id])
    return Item.of(engine, _known_item(engine, item_id))


@router.put(
    "/v1/items/{item_id:path}", dependencies=ADMIN, responses={201: {"model": Item, "description": "The item is new"}}
)
async def put(item_id: PathId, description: NewItem, service: TheService, response: Response) -> Item:
    """Add an item to the catalogue, or restore a removed one: 201 if the item is new, else 200.

    An item that was added before gets the new description. Items of the training data keep theirs, since their vectors
    depend on it. The response means that the change is on disk and known to this worker; other workers learn of it
    within a second, or when they are asked for the item. Runs whose catalogue is fixed answer 409 with the reason.
    """
    new, engine = await service.models.change(partial(put_item, item=item_id, description=description.model_dump()))
    number = engine.numbers[run_id(engine, item_id)]
    service.metrics.items.labels("added" if new else "put again").inc()
    log("item put", item=engine.items[number], new=new)
    response.status_code = 201 if new else 200
    return Item.of(engine, number)


@router.delete("/v1/items/{item_id:path}", dependencies=ADMIN)
async def remove(item_id: PathId, service: TheService) -> Item:
    """Stop recommending an item; every run can do this. It stays in histories, and `PUT` restores it."""
    number = _known_item(await service.engine_for([item_id]), item_id)
    _, engine = await service.models.change(partial(remove_item, item=item_id))
    service.metrics.items.labels("removed").inc()
    log("item removed", item=item_id)
    return Item.of(engine, number)


def _known_item(engine: InferenceEngine, item: str) -> int:
    """Number of the item in the path of a request; 404 if it is unknown."""
    if item not in engine.numbers:
        raise ProblemError(404, "unknown_item", "this item is not in the run's catalogue; /v1/items?q= searches titles")
    return engine.numbers[item]
