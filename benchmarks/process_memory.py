"""What this process holds of the machine's memory, as Linux counts it."""

import resource
from pathlib import Path


def peak() -> float:
    """The most that it held so far, bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024.0 * int(status.split("VmHWM:")[1].split()[0])


def resident() -> float:
    """What it holds now, bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return float(pages * resource.getpagesize())
