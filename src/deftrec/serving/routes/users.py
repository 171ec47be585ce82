"""What is known of people, and its erasure."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from deftrec.serving.logs import log
from deftrec.serving.schemas import ID_LENGTH, Erased, Item, PathId, User, UserHistory, Users
from deftrec.serving.security import TheService, needs

router = APIRouter(tags=["users"])


@router.get("/v1/users", dependencies=[Depends(needs("read"))])
async def users(
    service: TheService,
    q: Annotated[str, Query(max_length=ID_LENGTH, description="with what their ids begin")] = "",
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> Users:
    """Users of the run's data, to try it with; none that was erased."""
    found = await asyncio.to_thread(service.engine.users, q, limit)
    erased = await service.threads.call(service.store.erased, [user for user, _ in found])
    return Users(users=[User(user_id=user, items=items) for user, items in found if user not in erased])


@router.get("/v1/users/{user_id:path}/history", dependencies=[Depends(needs("read"))])
async def history(user_id: PathId, service: TheService) -> UserHistory:
    """Everything a user took, oldest first; nothing for somebody unknown."""
    engine = service.engine
    found, _ = await service.history(engine, user_id)
    items = [Item.of(engine, engine.numbers[item]) for item in found.items]
    return UserHistory(user_id=user_id, items=items, unknown=found.unknown)


@router.delete("/v1/users/{user_id:path}", dependencies=[Depends(needs("admin"))])
async def erase(user_id: PathId, service: TheService) -> Erased:
    """Erase a user's stored events, and never again use what the run's data say of them.

    The run's data directory and weights still hold what they were trained on: train without this user to change that.
    """
    gone = await service.threads.call(service.store.forget, user_id)
    log("user erased", events=gone)
    return Erased(user_id=user_id, events=gone)
