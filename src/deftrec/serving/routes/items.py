"""The catalogue."""

import asyncio
from typing import Annotated, NoReturn

from fastapi import APIRouter, Depends, Query

from deftrec.serving.problems import ProblemError
from deftrec.serving.routes.asking import known_item, model_of
from deftrec.serving.schemas import ID_LENGTH, Item, Items, Map, PathId, Recommended, Similar
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
    return Map(items=[Item.of(engine, number) for number in engine.background()], shares=engine.plane.shares)


@router.get("/v1/items/{item_id:path}/similar", dependencies=READ)
async def similar(
    item_id: PathId, service: TheService, k: Annotated[int, Query(ge=1, le=200, description="how many")] = 10
) -> Similar:
    """The items whose latents are nearest, by cosine."""
    engine = service.engine
    number = known_item(engine, item_id)
    found = await asyncio.to_thread(engine.similar, engine.items[number], k)
    return Similar(items=[Recommended.found(engine, one) for one in found], model=model_of(engine))


@router.get("/v1/items/{item_id:path}", dependencies=READ)
async def item(item_id: PathId, service: TheService) -> Item:
    """One item."""
    engine = service.engine
    return Item.of(engine, known_item(engine, item_id))


@router.put("/v1/items/{item_id:path}", dependencies=ADMIN)
async def add(item_id: PathId, service: TheService) -> Item:
    """Add an item by its text, or change it; runs that cannot answer 409, and `/v1/model` says which."""
    _refuse(item_id)


@router.delete("/v1/items/{item_id:path}", dependencies=ADMIN)
async def remove(item_id: PathId, service: TheService) -> Item:
    """Take an item out of the catalogue; runs that cannot answer 409, and `/v1/model` says which."""
    _refuse(item_id)


def _refuse(_: str) -> NoReturn:
    message = "this run's catalogue is fixed; train a run with the item and switch to it (POST /v1/admin/model)"
    raise ProblemError(409, "fixed_catalogue", message)
