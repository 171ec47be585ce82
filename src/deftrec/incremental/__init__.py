"""Changes to a run after training: items, removals, events, and training that continues from its weights."""

from deftrec.incremental.capabilities import Capabilities, Capability
from deftrec.incremental.current_state import CurrentState, current_state
from deftrec.incremental.from_run import start_of
from deftrec.incremental.overlay import Overlay, Stamp, overlay_stamp, read_overlay, write_overlay

__all__ = [
    "Capabilities",
    "Capability",
    "CurrentState",
    "Overlay",
    "Stamp",
    "current_state",
    "overlay_stamp",
    "read_overlay",
    "start_of",
    "write_overlay",
]
