"""Changes to a run after training: items, removals, events, and training that continues from its weights."""

from deftrec.incremental.capabilities import Capabilities, Capability
from deftrec.incremental.changes import EventsAdded, ItemsAdded, ItemsRemoved, add_events, add_items, remove_items
from deftrec.incremental.current_state import current_state
from deftrec.incremental.overlay import Overlay, Stamp, overlay_stamp, read_overlay, save_with_overlay, write_overlay
from deftrec.incremental.places import RunInMemory
from deftrec.incremental.warm_start import WarmStart

__all__ = ["Capabilities", "Capability", "EventsAdded", "ItemsAdded", "ItemsRemoved", "Overlay", "RunInMemory", "Stamp"]
__all__ += ["WarmStart", "add_events", "add_items", "current_state", "overlay_stamp", "read_overlay", "remove_items"]
__all__ += ["save_with_overlay", "write_overlay"]
