"""Settings and limits of the service."""

import ipaddress
from pathlib import Path

from pydantic import BaseModel, Field

from deftrec.hardware import Runtime
from deftrec.serving.index.base import IndexChoice


class Settings(BaseModel, frozen=True, extra="forbid"):
    """Settings of a service; each field describes itself. Limits apply to one request unless stated otherwise."""

    run: Path = Field(description="run directory to serve first; other runs in its parent can be switched to by name")
    store: str | None = Field(None, description="SQLAlchemy URL of the event store; None: events.sqlite beside the run")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free port")
    api_keys: Path | None = Field(None, description="file of hashed API keys; None: no keys, loopback addresses only")
    runtime: Runtime = Field("torch", description="library that runs a pre-trained language model")
    reasoning_refresh: bool = Field(
        True, description="whether a run's reasoner computes missing reasoning in the background"
    )
    index: IndexChoice = Field("auto", description="item index; auto: exact for small catalogues, else faiss-ivfpq")
    rules: Path | None = Field(None, description="YAML file of business rules for every request; None: no rules")
    body_bytes: int = Field(1 << 20, gt=0, description="bytes of a body")
    body_seconds: float = Field(10.0, gt=0, description="seconds until the complete body must have arrived")
    events: int = Field(1000, gt=0, description="events in a batch")
    history: int = Field(1000, gt=0, description="items in a history that a request contains")
    user_history: int = Field(10_000, gt=0, description="newest stored events of a user that are read")
    filter_items: int = Field(10_000, gt=0, description="ids in an allow or deny list")
    k: int = Field(200, gt=0, description="recommended items")
    offset: int = Field(1000, gt=0, description="items before a list")
    request_rules: int = Field(50, gt=0, description="business rules of a request")
    samples: int = Field(64, gt=0, description="noise draws to average")
    batch: int = Field(32, gt=0, description="requests per batch of the model")
    queue: int = Field(256, gt=0, description="requests that may wait; further ones get 503")
    wait_ms: float = Field(2.0, ge=0, description="milliseconds that the first request of a batch waits for others")
    deadline: float = Field(10.0, gt=0, description="seconds until a waiting request gets 503")
    watch_seconds: float = Field(1.0, gt=0, description="seconds between checks for changes of the run by others")
    rate: float = Field(200.0, ge=0, description="requests per second of one key (or address), on average; 0: no limit")
    burst: int = Field(400, gt=0, description="requests that one key (or address) may send at once")

    @property
    def store_url(self) -> str:
        """URL of the event store, with the default filled in."""
        return self.store or f"sqlite:///{self.run.resolve().parent / 'events.sqlite'}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
