"""Events come in."""

from fastapi import APIRouter, Depends

from deftrec.serving.problems import ProblemError
from deftrec.serving.schemas import Kept, NewEvents
from deftrec.serving.security import TheService, needs
from deftrec.serving.store import Event

router = APIRouter(tags=["events"])


@router.post("/v1/events", dependencies=[Depends(needs("write"))])
async def send_events(batch: NewEvents, service: TheService) -> Kept:
    """Keep a batch of events. When this answers 200 they are on disk.

    The same `event_id` sent again changes nothing. A batch with an unknown item, or with an id that belongs to another
    event, is refused whole; `index` says which event it is.
    """
    limit = service.settings.events
    if len(batch.events) > limit:
        raise ProblemError(422, "too_many_events", f"a batch holds {limit:,} events at most; send several", index=limit)
    known = (await service.knowing(event.item_id for event in batch.events)).numbers
    for index, event in enumerate(batch.events):
        if event.item_id not in known:
            raise ProblemError(
                422, "unknown_item", "this item is not in the run's catalogue; nothing was stored", index=index
            )
    events = [Event(one.event_id, one.user_id, one.item_id, one.time) for one in batch.events]
    kept = await service.threads.call(service.store.append, events)
    service.metrics.events.labels("stored").inc(kept.stored)
    service.metrics.events.labels("duplicate").inc(kept.duplicates)
    return Kept(stored=kept.stored, duplicates=kept.duplicates)
