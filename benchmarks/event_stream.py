"""Clients that keep sending batches of events, and remember which were acknowledged."""

import http.client
import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

BATCH = 5


@dataclass
class Stream:
    """Sends batches from threads until it is stopped; a batch that got no answer is not sent again.

    Attributes:
        items: ids of items that the service knows.
        name: prefix of the ids of users and events.
        address: address of the service; may change while it runs; nothing is sent while it is empty.
        clients: number of threads.
        acknowledged, refused, unanswered: numbers of batches.
        statuses: HTTP statuses of the refusals.
    """

    items: Sequence[str]
    name: str = "s"
    address: str = ""
    clients: int = 1
    acknowledged: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    unanswered: list[int] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._numbers = itertools.count(1)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)]

    def __enter__(self) -> "Stream":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def sent(self) -> list[int]:
        """Numbers of all batches."""
        return [*self.acknowledged, *self.refused, *self.unanswered]

    def user(self, batch: int) -> str:
        """The user of a batch: one user each, so that a history shows the whole batch or nothing."""
        return f"{self.name}-{batch}"

    def wait_for(self, more: int, seconds: float = 30) -> None:
        """Return once `more` further batches were acknowledged."""
        goal, until = len(self.acknowledged) + more, time.monotonic() + seconds
        while len(self.acknowledged) < goal:
            assert time.monotonic() < until, f"{len(self.acknowledged)} of {goal} batches, {self.statuses}"
            time.sleep(0.005)

    def _run(self) -> None:
        while not self._stop.is_set():
            address = self.address
            if not address:
                time.sleep(0.01)
                continue
            number = next(self._numbers)
            events = [
                {"event_id": f"{self.user(number)}-{n}", "user_id": self.user(number), "item_id": self.items[n]}
                for n in range(BATCH)
            ]
            request = urllib.request.Request(
                f"{address}/v1/events",
                json.dumps({"events": events}).encode(),
                {"Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    assert json.load(answer)["stored"] == BATCH
                self.acknowledged.append(number)
            except urllib.error.HTTPError as error:
                self.refused.append(number)
                self.statuses.add(error.code)
                time.sleep(0.05)
            except (OSError, http.client.HTTPException):  # killed before it could answer
                self.unanswered.append(number)
                time.sleep(0.02)
