"""Which run is served, and what is served next: another run, or the same one with what came to it.

Whatever comes next is made ready beside the present engine; requests that are under way keep the one they began with,
which is closed after the last of them.
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
from deftrec.serving.batching import OverloadedError
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.index import VectorIndex

R = TypeVar("R")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CHANGES = 16
"""Changes of the run that wait for one another, at most."""
RETRY = 5
"""Seconds after which one more may be tried."""


class NoSuchRunError(DeftRecError):
    """There is no run of that name beside the one that is served."""


class SwitchInProgressError(DeftRecError):
    """Another switch is under way."""


class ModelManager:
    """Holds the engine that new requests are given to.

    Args:
        engine: the first one.
        folder: whose directories are the runs that may be switched to.
        load: reads one of them.
        close: closes an engine that no job needs any more, when the model is at rest.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        folder: Path,
        load: Callable[[Path], InferenceEngine],
        close: Callable[[InferenceEngine], None],
    ) -> None:
        self.current, self.folder, self._load, self._close = engine, folder, load, close
        self._jobs: Counter[VectorIndex | None] = Counter()
        self._turn = asyncio.Lock()
        self._switching, self._changes = False, 0
        self._damaged: Stamp = None

    async def switch(self, name: str) -> InferenceEngine:
        """Load the run `name` beside the present one, then serve it; until then the present one goes on.

        Raises:
            NoSuchRunError: no directory of that name lies there.
            SwitchInProgressError: another switch is under way.
            DeftRecError: it is no complete run; the present one stays.
        """
        folder = self.folder / name
        if not NAME.fullmatch(name) or not folder.is_dir() or folder.resolve().parent != self.folder.resolve():
            raise NoSuchRunError(f"no run {name!r} beside the one that is served; give the name of its directory")
        if self._switching:
            raise SwitchInProgressError("another run is being loaded; wait for it")
        self._switching = True
        try:
            async with self._turn:
                before, self.current = self.current, await asyncio.to_thread(self._load, folder)
                self._close_unused(before)
                return self.current
        finally:
            self._switching = False

    @contextmanager
    def working(self, engine: InferenceEngine) -> Iterator[None]:
        """Inside the block a job of `engine` is under way; what it searches stays open, whatever is switched to."""
        self._jobs[engine.index] += 1
        try:
            yield
        finally:
            self._jobs[engine.index] -= 1
            self._close_unused(engine)

    def _close_unused(self, engine: InferenceEngine) -> None:
        """Close what was switched out and has no job left; a renewed engine has the index of the one before it."""
        if not self._jobs[engine.index]:
            del self._jobs[engine.index]
            if engine.index is not self.current.index:
                self._close(engine)

    async def renew(self) -> bool:
        """Serve what came to the present run since it was read, from whomever; whether anything did.

        Raises:
            DeftRecError: what came is damaged; what was known stays.
        """
        if not self.current.outdated():
            return False
        async with self._turn:
            stamp = overlay_stamp(self.current.folder)
            if stamp in (self.current.stamp, self._damaged):  # whoever had the turn before has seen to it
                return False
            try:
                self.current = await asyncio.to_thread(self.current.renewed)
            except DeftRecError:
                self._damaged = stamp  # not read again until it is replaced
                raise
            return True

    async def change(self, work: Callable[[InferenceEngine], R]) -> tuple[R, InferenceEngine]:
        """Let `work` change the present run on disk, then serve it so.

        Returns:
            What `work` returned, and the engine that knows of it.

        Raises:
            OverloadedError: too many changes wait.
            Exception: whatever `work` raises; what was known stays.
        """
        if self._changes > CHANGES:
            raise OverloadedError("too many changes of the run wait", RETRY)
        self._changes += 1
        try:
            async with self._turn:
                done = await asyncio.to_thread(work, self.current)
                if self.current.outdated():
                    self.current = await asyncio.to_thread(self.current.renewed)
                return done, self.current
        finally:
            self._changes -= 1
