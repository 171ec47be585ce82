"""Routes for recommendations and denoising paths."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Depends

from deftrec.data.sequences import DAY
from deftrec.errors import ConfigError, DataError
from deftrec.retrieval import Rule
from deftrec.serving import schemas
from deftrec.serving.engine import InferenceEngine, PathRequest, RecommendationRequest
from deftrec.serving.problems import ProblemError
from deftrec.serving.security import TheService, needs
from deftrec.serving.settings import Settings
from deftrec.serving.signals import given_history

router = APIRouter(tags=["recommendations"], dependencies=[Depends(needs("read"))])


@router.post("/v1/recommendations")
async def recommend(query: schemas.RecommendationQuery, service: TheService) -> schemas.RecommendationList:
    """Recommend items for a user or a history.

    A user without history gets the most popular items.
    """
    began = time.perf_counter()
    settings, seconds = service.settings, dict[str, float]()
    pinned = [rule.pin.item for rule in query.rules if rule.pin is not None]
    given = [event if isinstance(event, schemas.PastEvent) else None for event in query.history or []]
    items = [event.item_id if isinstance(event, schemas.PastEvent) else event for event in query.history or []]
    named = [*items, *(query.allow or []), *query.deny, *pinned]
    engine = await service.engine_for(named)  # used to the end, whichever run is switched to meanwhile
    _check(query, engine, settings)
    if query.user_id is not None:
        found = await service.history(engine, query.user_id)
        events, seconds["store"] = found.history, found.seconds
    else:
        numbers = _item_numbers(engine, items, "history", settings.history)
        events = given_history(engine, numbers, given)
    events = events.asked_at(_day(query))
    history = events.items.astype(np.int64)
    timed = query.user_id is not None and engine.interactions.days is not None
    request = RecommendationRequest(
        engine,
        history,
        allow=None if query.allow is None else _item_numbers(engine, query.allow, "allow", settings.filter_items),
        deny=_item_numbers(engine, query.deny, "deny", settings.filter_items),
        rules=await _rules(query, engine, timed=timed),
        columns=events.columns,
        **query.model_dump(include={"k", "offset", "exclude_seen", "category", "samples", "seed", "explain"}),
        **query.model_dump(include={"request", "guidance", "rerank", "strength", "similarity"}),
    )
    understood = [] if request.request is None else await service.threads.call(_read, request)
    answer = await service.answer(request, None if query.deadline_ms is None else query.deadline_ms / 1000)
    seconds |= {**answer.seconds, "total": time.perf_counter() - began}
    return schemas.RecommendationList.made(
        engine, answer.found, history_length=len(history), understood=understood, seconds=seconds
    )


@router.post("/v1/path")
async def denoise(query: schemas.PathQuery, service: TheService) -> schemas.DenoisingPaths:
    """Return the denoising paths from noise to the generated token after a history, on the map of `/v1/map`."""
    engine = await service.engine_for(query.history)
    numbers = _item_numbers(engine, query.history, "history", service.settings.history)
    return schemas.DenoisingPaths(paths=(await service.answer(PathRequest(engine, numbers, tuple(query.seeds)))).paths)


def _day(query: schemas.RecommendationQuery) -> float | None:
    """Time of a request in days since 1970: now for a user, unless the query says another; None: unknown."""
    if query.at is None and query.user_id is None:
        return None
    return (time.time() if query.at is None else query.at) / DAY


def _read(request: RecommendationRequest) -> list[str]:
    """How a request in words was understood; 422 if it cannot be read."""
    try:
        return [] if request.wish is None else list(request.wish.notes)
    except ConfigError as error:
        raise ProblemError(422, "invalid_request", str(error)) from error


def _item_numbers(engine: InferenceEngine, items: Sequence[str], name: str, limit: int) -> np.ndarray:
    """Numbers of the items in a query; 422 if there are too many or one is unknown. `[n]` int64"""
    if len(items) > limit:
        raise ProblemError(422, "too_many_items", f"{name} holds {limit:,} items at most", index=limit)
    for index, item in enumerate(items):
        if item not in engine.numbers:
            raise ProblemError(422, "unknown_item", f"{name}: this item is not in the run's catalogue", index=index)
    return engine.interactions.item_numbers(items)


async def _rules(query: schemas.RecommendationQuery, engine: InferenceEngine, *, timed: bool) -> tuple[Rule, ...]:
    """Rules of the service and of a query; 422 if the catalogue cannot have them, or the history has no times."""
    try:
        if not query.rules:
            return engine.built(timed=timed)
        return await asyncio.to_thread(engine.built, query.rules, timed=timed)
    except ConfigError as error:
        raise ProblemError(422, "invalid_rules", str(error)) from error


def _check(query: schemas.RecommendationQuery, engine: InferenceEngine, settings: Settings) -> None:
    """Refuse with 422 what the schema cannot express."""
    problems = {
        "give either user_id or history": (query.user_id is None) == (query.history is None),
        f"k is {settings.k:,} at most": query.k > settings.k,
        f"offset is {settings.offset:,} at most": (query.offset or 0) > settings.offset,
        f"a request has {settings.request_rules:,} rules at most": len(query.rules) > settings.request_rules,
        f"samples is {settings.samples:,} at most": (query.samples or 1) > settings.samples,
    }
    for message, wrong in problems.items():
        if wrong:
            raise ProblemError(422, "invalid", message)
    if query.category is not None and query.category not in engine.recommender.categories:
        raise ProblemError(422, "unknown_category", "no item has this category; /v1/model lists all categories")
    if query.explain and query.samples is not None:
        raise ProblemError(422, "invalid", "explanations use the run's own number of samples; leave out samples")
    try:
        engine.recommender.rerankers.check(query.rerank, query.strength, query.similarity)
    except (ConfigError, DataError) as error:
        raise ProblemError(422, "invalid", str(error)) from error
