"""Changes to a run after training: items, removals, events, and training that continues from its weights."""

from deftrec.incremental.capabilities import Capabilities, Capability
from deftrec.incremental.current_state import current_state
from deftrec.incremental.overlay import Overlay, Stamp, overlay_stamp, read_overlay, save_with_overlay, write_overlay
from deftrec.incremental.warm_start import WarmStart

__all__ = ["Capabilities", "Capability", "Overlay", "Stamp", "WarmStart", "current_state", "overlay_stamp"]
__all__ += ["read_overlay", "save_with_overlay", "write_overlay"]
