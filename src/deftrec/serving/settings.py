"""Every limit of the service, once."""

import ipaddress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from deftrec.hardware import Runtime
from deftrec.serving.index.base import IndexChoice


class Settings(BaseModel):
    """What a service is started with. Sizes are of one request unless said otherwise.

    Attributes:
        run: the run directory that is served first; others are switched to by name, beside it.
        store: SQLAlchemy URL of the event store; None: `events.sqlite` beside the run.
        host, port: where it listens.
        api_keys: file of hashed keys (`deftrec.serving.keys`); None: everybody may do everything, on loopback alone.
        runtime: what runs a pre-trained language model.
        index: how items are found; `exact` looks at all of them, `auto` as long as they are not too many.
        body_bytes: of a request.
        body_seconds: until the whole body has to be there; a slower client is refused.
        events: of one batch.
        history: items of an ad-hoc history.
        user_history: newest stored events of a user that are read.
        filter_items: ids of an allow or deny list.
        k: length of a list.
        samples: draws of noise that are averaged.
        batch: requests that the model reads at once.
        queue: requests that may wait for it; past it 503.
        wait_ms: how long the first of a batch waits for others.
        deadline: seconds until a request that still waits is given up, with 503.
        watch_seconds: until what other workers and the command line did to the run is served, at most.
        rate: requests a second that a key (without keys: an address) may make on average; 0: no limit.
        burst: requests that it may make at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Path
    store: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    api_keys: Path | None = None
    runtime: Runtime = "torch"
    index: IndexChoice = "auto"
    body_bytes: PositiveInt = 1 << 20
    body_seconds: PositiveFloat = 10.0
    events: PositiveInt = 1000
    history: PositiveInt = 1000
    user_history: PositiveInt = 10_000
    filter_items: PositiveInt = 10_000
    k: PositiveInt = 200
    samples: PositiveInt = 64
    batch: PositiveInt = 32
    queue: PositiveInt = 256
    wait_ms: float = Field(2.0, ge=0)
    deadline: PositiveFloat = 10.0
    watch_seconds: PositiveFloat = 1.0
    rate: float = Field(200.0, ge=0)
    burst: PositiveInt = 400

    @property
    def store_url(self) -> str:
        """The URL of the store, the default one where none is given."""
        return self.store or f"sqlite:///{self.run.resolve().parent / 'events.sqlite'}"

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine reaches the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
