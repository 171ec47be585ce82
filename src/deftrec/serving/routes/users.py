"""Routes for events and users."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from deftrec.data.ids import ID_LENGTH
from deftrec.serving.logs import log
from deftrec.serving.problems import ProblemError
from deftrec.serving.routes.paths import EncodedPath
from deftrec.serving.schemas import HistoryItem, Item, NewEvents, PathId, User, UserErased, UserHistory, Users
from deftrec.serving.security import TheService, needs
from deftrec.serving.signals import check_kind, past_events
from deftrec.serving.store import AppendResult, Event

router = APIRouter(route_class=EncodedPath)


@router.post("/v1/events", tags=["events"], dependencies=[Depends(needs("write"))])
async def send_events(batch: NewEvents, service: TheService) -> AppendResult:
    """Store a batch of events; the response means that they are on disk.

    An event whose `event_id` is stored already changes nothing. If an item is unknown, or an `event_id` belongs to
    another event, the whole batch is refused; `index` is the position of that event.
    """
    limit = service.settings.events
    if len(batch.events) > limit:
        message = f"a batch holds {limit:,} events at most; send several batches"
        raise ProblemError(422, "too_many_events", message, index=limit)
    engine = await service.engine_for(event.item_id for event in batch.events)
    for index, event in enumerate(batch.events):
        if event.item_id not in engine.numbers:
            message = "this item is not in the run's catalogue; nothing was stored"
            raise ProblemError(422, "unknown_item", message, index=index)
        check_kind(engine, event.kind, index)
    result = await service.threads.call(service.store.append, [Event(**dict(event)) for event in batch.events])
    service.metrics.events.labels("stored").inc(result.stored)
    service.metrics.events.labels("duplicate").inc(result.duplicates)
    return result


@router.get("/v1/users", tags=["users"], dependencies=[Depends(needs("read"))])
async def users(
    service: TheService,
    q: Annotated[str, Query(max_length=ID_LENGTH, description="first characters of the id")] = "",
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> Users:
    """List users of the run's data, without erased ones."""
    found = await asyncio.to_thread(service.engine.users, q, limit)
    erased = await service.threads.call(service.store.erased, [user for user, _ in found])
    return Users(users=[User(user_id=user, items=items) for user, items in found if user not in erased])


@router.get("/v1/user/history", tags=["users"], dependencies=[Depends(needs("read"))])
@router.get("/v1/users/{user_id:path}/history", tags=["users"], dependencies=[Depends(needs("read"))])
async def history(user_id: PathId, service: TheService) -> UserHistory:
    """List the items that a user interacted with, oldest first; empty for an unknown user."""
    engine = service.engine
    found = await service.history(engine, user_id)
    items = [
        HistoryItem(**Item.of(engine, number).model_dump(), **what)
        for number, what in zip(found.items.tolist(), past_events(engine, found.history), strict=True)
    ]
    return UserHistory(user_id=user_id, items=items, unknown=found.unknown)


@router.delete("/v1/user", tags=["users"], dependencies=[Depends(needs("admin"))])
@router.delete("/v1/users/{user_id:path}", tags=["users"], dependencies=[Depends(needs("admin"))])
async def erase(user_id: PathId, service: TheService) -> UserErased:
    """Delete a user's stored events, and ignore the user's history in the run's data from now on.

    The run's data directory and weights are not changed: train without this user to remove the history from them.
    """
    deleted = await service.threads.call(service.store.forget, user_id)
    log("user erased", events=deleted)
    return UserErased(user_id=user_id, events=deleted)
