"""What a benchmark runs on: costs mean nothing without it."""

import os
import platform
from pathlib import Path

import torch

from deftrec.run import environment


def machine() -> dict[str, str]:
    """CPU model, cores, threads and memory beside the versions of `deftrec.run.environment`."""
    known = {"cpu": _cpu(), "cores": str(_cores()), "memory": _memory()}
    return {name: value for name, value in (known | environment()).items() if value}


def deftrec_version() -> str:
    """The version of this package, or that there is none: it runs from a checkout."""
    return environment()["deftrec"]


def versions() -> dict[str, str]:
    """What decides results and costs beside data and options: versions, processor, threads."""
    known = machine()
    return {name: known[name] for name in ("deftrec", "python", "torch", "cpu", "threads", "gpu") if name in known}


def library() -> str:
    """What trains DeftRec."""
    return f"deftrec {deftrec_version()}"


def threads() -> int:
    """Threads that each system may use: those of torch, which `OMP_NUM_THREADS` sets."""
    return torch.get_num_threads()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    """The model's name, as Linux tells it; elsewhere what Python knows."""
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


def _memory() -> str:
    """Physical memory; empty where the system does not tell."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return ""
    return f"{size / 2**30:.1f} GiB"
