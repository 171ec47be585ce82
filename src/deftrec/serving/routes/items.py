"""Routes for the catalogue."""

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from deftrec.data.ids import ID_LENGTH
from deftrec.serving.editing import put_item, remove_item, run_id
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.logs import log
from deftrec.serving.problems import ProblemError
from deftrec.serving.routes.paths import EncodedPath
from deftrec.serving.schemas import Item, ItemMap, Items, NewItem, PathId, SimilarItems
from deftrec.serving.security import TheService, needs
from deftrec.serving.service import Service

router = APIRouter(tags=["items"], route_class=EncodedPath)
READ = [Depends(needs("read"))]
ADMIN = [Depends(needs("admin"))]
NEW: dict[int | str, dict[str, Any]] = {201: {"model": Item, "description": "The item is new"}}


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


@router.get("/v1/item/similar", dependencies=READ)
@router.get("/v1/items/{item_id:path}/similar", dependencies=READ)
async def similar(
    item_id: PathId, service: TheService, k: Annotated[int, Query(ge=1, le=200, description="number of items")] = 10
) -> SimilarItems:
    """Find the items with the most similar latents, by cosine."""
    engine, number = await _known_item(service, item_id)
    found = await asyncio.to_thread(engine.recommender.similar, engine.items[number], k)
    return SimilarItems.of(engine, found)


@router.get("/v1/item", dependencies=READ)
@router.get("/v1/items/{item_id:path}", dependencies=READ)
async def item(item_id: PathId, service: TheService) -> Item:
    """Return one item."""
    return Item.of(*await _known_item(service, item_id))


@router.put("/v1/item", dependencies=ADMIN, responses=NEW)
@router.put("/v1/items/{item_id:path}", dependencies=ADMIN, responses=NEW)
async def put(item_id: PathId, description: NewItem, service: TheService, response: Response) -> Item:
    """Add an item to the catalogue, or restore a removed one: 201 if the item is new, else 200.

    An item that was added before gets the new description. Items of the training data keep theirs, since their vectors
    depend on it; new attributes (price, stock) count for rules. The response means that the change is on disk and known
    to this worker; other workers learn of it within a second, or when they are asked for the item. Runs whose catalogue
    is fixed answer 409 with the reason.
    """
    texts = description.model_dump(exclude={"attributes"})
    change = partial(put_item, item=item_id, description=texts, attributes=description.attributes)
    new, engine = await service.models.change(change)
    number = engine.numbers[run_id(engine, item_id)]
    service.metrics.items.labels("added" if new else "put again").inc()
    log("item put", item=engine.items[number], new=new)
    response.status_code = 201 if new else 200
    return Item.of(engine, number)


@router.delete("/v1/item", dependencies=ADMIN)
@router.delete("/v1/items/{item_id:path}", dependencies=ADMIN)
async def remove(item_id: PathId, service: TheService) -> Item:
    """Stop recommending an item; every run can do this. It stays in histories, and `PUT` restores it."""
    _, number = await _known_item(service, item_id)
    _, engine = await service.models.change(partial(remove_item, item=item_id))
    service.metrics.items.labels("removed").inc()
    log("item removed", item=item_id)
    return Item.of(engine, number)


async def _known_item(service: Service, item: str) -> tuple[InferenceEngine, int]:
    """Engine of a request, and number of the item in its path; 404 if it is unknown."""
    engine = await service.engine_for([item])
    if item not in engine.numbers:
        raise ProblemError(404, "unknown_item", "this item is not in the run's catalogue; /v1/items?q= searches titles")
    return engine, engine.numbers[item]
