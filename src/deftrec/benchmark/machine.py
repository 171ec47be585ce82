"""Processor, memory and versions of the machine, which training times and speeds depend on."""

import os
import platform
from pathlib import Path

from deftrec import __version__
from deftrec.run import environment


def machine() -> dict[str, str]:
    """Describe processor, cores that this process may use, threads, memory and versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    known = {"cpu": _cpu(), "cores": str(cores), "memory": _memory(), **environment(), "deftrec": __version__}
    return {name: value for name, value in known.items() if value}


def versions() -> dict[str, str]:
    """Select the facts that decide results and costs beside data and options."""
    known = machine()
    return {name: known[name] for name in ("deftrec", "python", "torch", "cpu", "threads", "gpu") if name in known}


def _cpu() -> str:
    """Name the processor: the model on Linux, elsewhere what Python knows."""
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


def _memory() -> str:
    """Physical memory; empty where the system does not report it."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return ""
    return f"{size / 2**30:.1f} GiB"
