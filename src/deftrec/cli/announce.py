"""The line before a training: its stages, and how long each takes on this machine."""

from typing import TYPE_CHECKING

from deftrec.cli.console import working
from deftrec.cli.remaining import plan
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.config import Config
    from deftrec.data import Interactions


def announce(interactions: "Interactions", config: "Config", refit: bool, progress: Progress) -> None:
    """Probe the machine, say what a training takes, and expect its stages; arguments as for `forecast`.

    Raises:
        DeftRecError: the data or the options cannot be used.
    """
    with working(progress, "timing a training step on this machine"):
        from deftrec.training.forecast import forecast

        ahead = forecast(interactions, config, refit=refit)
    progress.say(f"{plan(ahead.seconds)}, with {ahead.machine}")
    progress.expect(ahead.seconds)
