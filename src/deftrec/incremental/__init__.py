"""What becomes known after training: users, items and events that a run has never seen."""

from deftrec.incremental.capabilities import Capabilities, Capability
from deftrec.incremental.merge import Known, merge
from deftrec.incremental.overlay import Overlay, Stamp, overlay_stamp, read_overlay, write_overlay
from deftrec.incremental.from_run import start_of

__all__ = [
    "Capabilities",
    "Capability",
    "Known",
    "Overlay",
    "Stamp",
    "merge",
    "overlay_stamp",
    "read_overlay",
    "start_of",
    "write_overlay",
]
