"""Interface of event stores; `tests/serving/test_store.py` tests it for every store."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from deftrec.serving.problems import ProblemError


class StoreUnavailableError(ProblemError):
    """The store cannot be reached, is full or is busy; the same request may succeed later."""

    def __init__(self, reason: str) -> None:
        message = "the event store does not answer"
        super().__init__(503, "store_unavailable", message, retry_after=2, internal=f"{message} ({reason}); try again")


class EventConflictError(ProblemError):
    """An event id is stored already for another event; `index` is the position in the batch, from 0."""

    def __init__(self, index: int, event_id: str) -> None:
        message = f"event_id {event_id!r} belongs to another event; give every event its own id"
        super().__init__(409, "event_conflict", message, index=index)
        self.index = index


@dataclass(frozen=True)
class Event:
    """Interaction of a user with an item.

    Attributes:
        event_id: Id chosen by the client; events with the same id are stored once.
        user: External id.
        item: External id.
        time: Seconds since 1970; None stands for the time of arrival.
    """

    event_id: str
    user: str
    item: str
    time: float | None = None


@dataclass(frozen=True)
class AppendResult:
    """Outcome of a batch: numbers of events that are new, and of those that were stored before."""

    stored: int
    duplicates: int


@dataclass(frozen=True)
class StoredHistory:
    """Stored interactions of a user.

    Attributes:
        items: External ids, oldest first.
        erased: Whether the user was erased once, so that older interactions must not be used.
    """

    items: tuple[str, ...]
    erased: bool


class EventStore(ABC):
    """Stores events. Several threads and processes may use a store at the same time.

    Every method raises a `StoreUnavailableError` if the store does not answer.
    """

    @abstractmethod
    def append(self, events: Sequence[Event]) -> AppendResult:
        """Write a batch to disk, either all of it or nothing.

        Raises:
            EventConflictError: An event id is stored already with another user, item or time.
        """

    @abstractmethod
    def history(self, user: str, limit: int) -> StoredHistory:
        """Newest `limit` events of a user by time; events of equal time are in order of arrival."""

    @abstractmethod
    def forget(self, user: str) -> int:
        """Erase a user: delete the stored events, remember the erasure, and return the number of deleted events."""

    @abstractmethod
    def erased(self, users: Sequence[str]) -> frozenset[str]:
        """Those of `users` that were erased once."""

    @abstractmethod
    def ping(self) -> None:
        """Return if the store answers."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""
