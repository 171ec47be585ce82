"""Where the changes of a run are kept: in its directory, or in memory."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from deftrec.incremental.overlay import Overlay, changing, write_overlay
from deftrec.run import Run, read_run


class RunFolder:
    """A run directory, whose overlay is one file; a `DeftRecError` if it holds no complete run."""

    adding = "'deftrec items add'"  # name of the way to add items, for errors

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.name = Path(folder), str(folder)
        self.interactions, self.config, self.info = read_run(self.folder)

    def changing(self) -> AbstractContextManager[Overlay]:
        """The overlay, which no other process changes inside the block."""
        return changing(self.folder, self.interactions)

    def write(self, overlay: Overlay) -> None:
        """Replace the overlay."""
        write_overlay(self.folder, overlay)


class RunInMemory:
    """A loaded run and its overlay (None: an empty one), which a change replaces."""

    adding = "add_items"

    def __init__(self, run: Run, overlay: Overlay | None) -> None:
        self.interactions, self.config, self.info, self.name = run.interactions, run.config, run.info, "this run"
        self.overlay = Overlay.empty(run.interactions) if overlay is None else overlay

    @contextmanager
    def changing(self) -> Iterator[Overlay]:
        """The overlay."""
        yield self.overlay

    def write(self, overlay: Overlay) -> None:
        """Replace the overlay."""
        self.overlay = overlay


ChangedRun: TypeAlias = str | Path | RunFolder | RunInMemory
"""A run directory, or a run in memory."""


def opened(run: ChangedRun) -> RunFolder | RunInMemory:
    """The place of the changes of a run."""
    return RunFolder(run) if isinstance(run, str | Path) else run
