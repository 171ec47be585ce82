"""What becomes known after training: users, items and events that a run has never seen."""

from deftrec.later.capabilities import Capabilities, Capability
from deftrec.later.merge import Known, merge
from deftrec.later.overlay import Overlay, Stamp, overlay_stamp, read_overlay, write_overlay
from deftrec.later.start import start_of

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
