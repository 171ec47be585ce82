"""Recommendations go out."""

import time

from fastapi import APIRouter, Depends

from deftrec.serving.engine import Engine, RecommendationRequest, Trace
from deftrec.serving.problems import ProblemError
from deftrec.serving.routes.asking import known_items, model_of
from deftrec.serving.schemas import PathQuestion, Paths, Question, Recommendations, Recommended
from deftrec.serving.security import TheService, needs
from deftrec.serving.service import Service, numbers_of

router = APIRouter(tags=["recommendations"], dependencies=[Depends(needs("read"))])


@router.post("/v1/recommendations")
async def recommend(question: Question, service: TheService) -> Recommendations:
    """The best items for a user, or after any history.

    Somebody without any history gets what is popular.
    """
    began = time.perf_counter()
    named = [*(question.history or []), *(question.allow or []), *question.deny]
    engine = await service.knowing(named)  # the same one to the end, whatever is switched to meanwhile
    _check(question, engine, service)
    seconds: dict[str, float] = {}
    if question.user_id is not None:
        history, seconds["store"] = await service.history(engine, question.user_id)
        numbers = numbers_of(engine, history.items)
    else:
        numbers = known_items(engine, question.history or [], "history", service.settings.history)
    room = service.settings.filter_items
    ask = RecommendationRequest(
        engine,
        numbers,
        k=question.k,
        exclude_seen=question.exclude_seen,
        category=question.category,
        allow=None if question.allow is None else known_items(engine, question.allow, "allow", room),
        deny=known_items(engine, question.deny, "deny", room),
        samples=question.samples,
        seed=question.seed,
        explain=question.explain,
    )
    limit = None if question.deadline_ms is None else question.deadline_ms / 1000
    answer = await service.answer(ask, limit)
    items = [Recommended.found(engine, one) for one in answer.found]
    seconds |= answer.seconds
    seconds["total"] = time.perf_counter() - began
    return Recommendations(items=items, model=model_of(engine), history_length=len(numbers), seconds=seconds)


@router.post("/v1/path")
async def denoise(question: PathQuestion, service: TheService) -> Paths:
    """What the denoiser makes of noise after a history, step by step, on the map of `/v1/map`."""
    engine = await service.knowing(question.history)
    numbers = known_items(engine, question.history, "history", service.settings.history)
    answer = await service.answer(Trace(engine, numbers, tuple(question.seeds)))
    return Paths(paths=answer.paths)


def _check(question: Question, engine: Engine, service: Service) -> None:
    """What the schema cannot say.

    Raises:
        ProblemError: 422.
    """
    if (question.user_id is None) == (question.history is None):
        raise ProblemError(422, "invalid", "give either user_id or history")
    for name, value, limit in (
        ("k", question.k, service.settings.k),
        ("samples", question.samples or 1, service.settings.samples),
    ):
        if value > limit:
            raise ProblemError(422, "invalid", f"{name} is {limit:,} at most")
    if question.category is not None and question.category not in engine.categories:
        raise ProblemError(422, "unknown_category", "no item is of this category; /v1/model names all")
    if question.explain and question.samples is not None:
        raise ProblemError(422, "invalid", "an explanation is of the run's own sampling; leave out samples")
