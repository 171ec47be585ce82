"""Tables as the newest migration leaves them; a test compares both."""

from sqlalchemy import Column, Double, Index, Integer, MetaData, String, Table

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("item_id", String, nullable=False),
    Column("time", Double, nullable=False, comment="seconds since 1970, the client's or when it arrived"),
    Column("received", Double, nullable=False, comment="seconds since 1970, when the batch arrived"),
    Column("place", Integer, nullable=False, comment="in its batch"),
    Column("kind", String, nullable=True, comment="kind of event, such as purchase"),
    Column("value", Double, nullable=True, comment="rating or amount"),
    Index("events_of_user", "user_id", "time", "received", "place"),
)

erased = Table(
    "erased",
    metadata,
    Column("user_sha256", String, primary_key=True, comment="the id itself is erased too"),
    Column("time", Double, nullable=False),
)
