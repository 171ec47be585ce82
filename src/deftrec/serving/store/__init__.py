"""Event store: interactions and erasures, in SQLite or PostgreSQL."""

from deftrec.serving.store.database import StoreUnavailableError
from deftrec.serving.store.sql import AppendResult, Event, EventConflictError, SqlStore, StoredHistory

__all__ = ["AppendResult", "Event", "EventConflictError", "SqlStore", "StoreUnavailableError", "StoredHistory"]
