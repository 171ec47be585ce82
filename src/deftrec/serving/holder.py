"""Which run is served, and the switch to another one: requests that are under way keep the run they began with."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from deftrec.errors import DeftRecError
from deftrec.serving.engine import Engine

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class NoSuchRunError(DeftRecError):
    """There is no run of that name beside the one that is served."""


class SwitchingError(DeftRecError):
    """Another switch is under way."""


class ModelHolder:
    """Holds the engine that new requests are given to.

    Args:
        engine: the first one.
        folder: whose directories are the runs that may be switched to.
        load: reads one of them.
    """

    def __init__(self, engine: Engine, folder: Path, load: Callable[[Path], Engine]) -> None:
        self.current, self.folder, self._load = engine, folder, load
        self._switching = asyncio.Lock()

    async def switch(self, name: str) -> Engine:
        """Load the run `name` beside the present one, then serve it; until then the present one goes on.

        Raises:
            NoSuchRunError: no directory of that name lies there.
            SwitchingError: another switch is under way.
            DeftRecError: it is no complete run; the present one stays.
        """
        folder = self.folder / name
        if not NAME.fullmatch(name) or not folder.is_dir() or folder.resolve().parent != self.folder.resolve():
            raise NoSuchRunError(f"no run {name!r} beside the one that is served; give the name of its directory")
        if self._switching.locked():
            raise SwitchingError("another run is being loaded; wait for it")
        async with self._switching:
            engine = await asyncio.to_thread(self._load, folder)
            self.current = engine
            return engine
