"""Kinds and values of events in requests and answers."""

import time
from collections.abc import Iterator, Sequence
from math import isnan, nan

import numpy as np

from deftrec.data import Sequences
from deftrec.data.kinds import opinion
from deftrec.data.sequences import DAY
from deftrec.list_making import event_text
from deftrec.serving import schemas
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.problems import ProblemError


def event_signals(engine: InferenceEngine) -> schemas.EventSignals:
    """Describe the signals that a run reads."""
    interactions, roles = engine.recommender.fitted_on, engine.recommender.fitted_on.roles
    signals = interactions.signals
    values = signals["value"].drop_nulls().unique().to_list() if "value" in signals.columns else []
    says = {name: None if roles is None else opinion(roles, values, liked=name == "liked") for name in SAYS}
    kinds = {kind: one.role for kind, one in engine.recommender.config.data.kinds.items()}
    return schemas.EventSignals(kinds=dict(kinds), values=bool(values), **says)


SAYS = ("liked", "disliked")
NUMBERS = {"value": "value", "time": "day"}


def past_events(engine: InferenceEngine, history: Sequences) -> Iterator[dict[str, object]]:
    """What is known of each event of a history besides its item: `event` in words, `kind`, `value`, `time`."""
    kinds, now, columns = engine.recommender.kinds, time.time() / DAY, history.columns
    for at in range(len(history.items)):
        code = int(columns["kind"][at]) if "kind" in columns else -1
        numbers = {name: float(columns[key][at]) if key in columns else nan for name, key in NUMBERS.items()}
        value, day = (None if isnan(one) else one for one in numbers.values())
        yield {
            "event": event_text(history, at, kinds, now),
            "kind": kinds[code] if 0 <= code < len(kinds) else None,
            "value": value,
            "time": None if day is None else day * DAY,
        }


def check_kind(engine: InferenceEngine, kind: str | None, index: int) -> None:
    """Refuse with 422 an event whose kind the run does not know, and one without where the run has kinds."""
    kinds = engine.recommender.kinds
    if not kinds or kind in kinds:
        return
    known = f"the kinds are {', '.join(kinds)}"
    message = f"this event has no kind; {known}" if kind is None else f"no event of this run has this kind; {known}"
    raise ProblemError(422, "unknown_kind", message, index=index)


def given_history(engine: InferenceEngine, numbers: np.ndarray, given: Sequence[schemas.PastEvent | None]) -> Sequences:
    """The history of a query by item numbers, with what its events say besides; 422 for an unknown kind.

    `given` holds each event, None where only its item is given.
    """
    if not any(given):
        return Sequences.from_lists([numbers])
    for index, event in enumerate(given):
        if event is not None and event.kind is not None:
            check_kind(engine, event.kind, index)
    seconds, kinds, values = ([getattr(event, name, None) for event in given] for name in ("time", "kind", "value"))
    return engine.events(numbers.tolist(), seconds, kinds, values)
