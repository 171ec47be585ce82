"""Memory of this process, as Linux counts it."""

import resource
from pathlib import Path


def peak() -> float:
    """Peak resident memory so far, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024.0 * int(status.split("VmHWM:")[1].split()[0])


def resident() -> float:
    """Resident memory now, in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return float(pages * resource.getpagesize())
