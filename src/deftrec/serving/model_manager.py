"""The run that is served, its replacement by another run, and its reload after changes.

A new engine is loaded beside the present one. Requests in progress keep the engine they began with; it is closed after
the last of them.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from deftrec.errors import DeftRecError
from deftrec.incremental import Stamp, overlay_stamp
from deftrec.run import Run
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.problems import ProblemError
from deftrec.serving.queues import OverloadedError

R = TypeVar("R")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CHANGES = 17  # largest number of changes of the run that are in progress or wait
RETRY = 5  # seconds that a client should wait before it tries a change again


class DamagedRunError(ProblemError):
    """A run cannot be read or changed; the present state is kept."""


@contextmanager
def _damaged_run() -> Iterator[None]:
    """Convert errors of a run to a `DamagedRunError`."""
    try:
        yield
    except ProblemError:
        raise
    except (DeftRecError, OSError) as error:
        message = "the run cannot be read or changed, so the present state stays; the service's log has the reason"
        raise DamagedRunError(409, "damaged_run", message, internal=str(error)) from error


class ModelManager:
    """Holds the engine for new requests; runs in the directory of its run may be switched to.

    `close` closes an engine that is no longer used; it must wait until the model is idle.
    """

    def __init__(
        self, engine: InferenceEngine, load: Callable[[Path], InferenceEngine], close: Callable[[InferenceEngine], None]
    ) -> None:
        self.current, self.folder, self._load, self._close = engine, engine.folder.resolve().parent, load, close
        self._jobs: Counter[Run] = Counter()  # of all engines with the same weights, which share an index
        self._lock, self._switching, self._changes = asyncio.Lock(), asyncio.Lock(), asyncio.Semaphore(CHANGES)
        self._damaged: Stamp = None

    async def switch(self, name: str) -> InferenceEngine:
        """Load the run `name`, then serve it; the present run is served meanwhile."""
        folder = self.folder / name
        if not NAME.fullmatch(name) or not folder.is_dir() or folder.resolve().parent != self.folder:
            message = f"there is no run {name!r} beside the present one; give the name of its directory"
            raise ProblemError(404, "unknown_run", message)
        if self._switching.locked():
            raise ProblemError(409, "switching", "another run is being loaded; try again when it is served")
        async with self._switching, self._lock:
            with _damaged_run():
                loaded = await asyncio.to_thread(self._load, folder)
            before, self.current = self.current, loaded
            self._close_unused(before)
            return self.current

    @contextmanager
    def in_use(self, engine: InferenceEngine) -> Iterator[None]:
        """Keep the index and the refresher of `engine` open inside the block, whichever run is switched to."""
        self._jobs[engine.run] += 1
        try:
            yield
        finally:
            self._jobs[engine.run] -= 1
            self._close_unused(engine)

    def _close_unused(self, engine: InferenceEngine) -> None:
        """Close a replaced engine without requests in progress, unless the current engine has the same weights."""
        if not self._jobs[engine.run]:
            del self._jobs[engine.run]
            if engine.run is not self.current.run:
                self._close(engine)

    async def reload(self) -> bool:
        """Reload what changed in the present run since it was read; returns whether anything changed.

        Damaged changes raise a `DeftRecError`, and the present state stays.
        """
        if not self.current.outdated():
            return False
        async with self._lock:
            stamp = overlay_stamp(self.current.folder)
            if stamp in (self.current.stamp, self._damaged):  # handled while this call waited for the lock
                return False
            try:
                self.current = await asyncio.to_thread(self.current.renewed)
            except DeftRecError:
                self._damaged = stamp  # not read again until it is replaced
                raise
            return True

    async def change(self, work: Callable[[InferenceEngine], R]) -> tuple[R, InferenceEngine]:
        """Let `work` change the present run on disk, then reload it; returns its result and the changed engine."""
        if self._changes.locked():
            raise OverloadedError("too many changes of the run wait", RETRY)
        async with self._changes, self._lock:
            with _damaged_run():
                done = await asyncio.to_thread(work, self.current)
                if self.current.outdated():
                    self.current = await asyncio.to_thread(self.current.renewed)
            return done, self.current
