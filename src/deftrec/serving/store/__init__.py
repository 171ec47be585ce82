"""Event store: interactions and erasures, in SQLite or PostgreSQL."""

from deftrec.serving.store.base import (
    AppendResult,
    Event,
    EventConflictError,
    EventStore,
    StoredHistory,
    StoreUnavailableError,
)
from deftrec.serving.store.sql import SqlStore

__all__ = [
    "AppendResult",
    "Event",
    "EventConflictError",
    "EventStore",
    "SqlStore",
    "StoreUnavailableError",
    "StoredHistory",
]
