"""The contract of every event store; `tests/serving/test_store.py` holds all of them to it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from deftrec.errors import DeftRecError


class StoreUnavailableError(DeftRecError):
    """The store cannot be reached, is full, or is too busy; the same request may succeed later."""


class EventConflictError(DeftRecError):
    """An event id is known already, of another event.

    Attributes:
        index: place of the event in its batch, from 0.
    """

    def __init__(self, index: int, event_id: str) -> None:
        super().__init__(f"event_id {event_id!r} was used for another event; give every event an id of its own")
        self.index = index


@dataclass(frozen=True)
class Event:
    """Somebody took something.

    Attributes:
        event_id: the client's own; an event that is sent again under it is kept once.
        user: external id.
        item: external id.
        time: seconds since 1970; None: when it arrives.
    """

    event_id: str
    user: str
    item: str
    time: float | None = None


@dataclass(frozen=True)
class AppendResult:
    """What became of a batch: how many events are new, and how many were known already."""

    stored: int
    duplicates: int


@dataclass(frozen=True)
class StoredHistory:
    """What the store knows of a user.

    Attributes:
        items: external ids, oldest first.
        erased: whether the user was erased once, so that nothing older than these items may be used.
    """

    items: tuple[str, ...]
    erased: bool


class EventStore(ABC):
    """Keeps events. Safe to be called from several threads and processes at once.

    Every method raises `StoreUnavailableError` where the store does not answer.
    """

    @abstractmethod
    def append(self, events: Sequence[Event]) -> AppendResult:
        """Keep a batch, all of it or nothing; it is on disk when this returns.

        Raises:
            EventConflictError: an event id is known, of another user, item or time.
        """

    @abstractmethod
    def history(self, user: str, limit: int) -> StoredHistory:
        """The newest `limit` events of a user by time; those of equal time in the order in which they came."""

    @abstractmethod
    def forget(self, user: str) -> int:
        """Erase a user's events, and remember that they may be used no more; how many there were."""

    @abstractmethod
    def erased(self, users: Sequence[str]) -> frozenset[str]:
        """Which of some users were erased once."""

    @abstractmethod
    def ping(self) -> None:
        """Return if the store answers."""

    @abstractmethod
    def close(self) -> None:
        """Let go of all connections."""
