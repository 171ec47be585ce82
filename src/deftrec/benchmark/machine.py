"""Machine and code of a benchmark: processor, memory, versions, and uncommitted changes of the git checkout."""

import hashlib
import os
import platform
from pathlib import Path
from typing import NamedTuple

from deftrec import __version__
from deftrec.files import write_text
from deftrec.run import PACKAGE, checkout_of, environment, git_output

PEERS_FOLDER = Path("benchmarks", "peers")


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


class UncommittedChanges(NamedTuple):
    """Difference between a checkout (its top folder) and its last commit: `git diff HEAD`, and untracked files."""

    checkout: Path
    diff: str
    untracked: tuple[str, ...]

    def write(self, folder: Path) -> str:
        """Store the changes in `folder` as a patch with the untracked files listed on top, and return its name."""
        text = "".join(f"# untracked: {name}\n" for name in self.untracked) + self.diff
        name = f"uncommitted-{hashlib.sha256(text.encode()).hexdigest()[:8]}.patch"
        write_text(folder / name, text)
        return name


def uncommitted_changes(package: Path = PACKAGE) -> UncommittedChanges | None:
    """Find changes that the revision of the checkout of the folder `package` does not contain.

    Untracked files count only where the code is: in the package and among the scripts of the peers.

    Returns:
        The changes; None for a clean checkout, and outside a checkout, where the version names the code.
    """
    checkout = checkout_of(package)
    if checkout is None:
        return None
    diff = git_output(checkout, "diff", "HEAD") or ""
    untracked = tuple((git_output(checkout, "ls-files", "--others", "--exclude-standard") or "").splitlines())
    code = (package.resolve(), checkout.resolve() / PEERS_FOLDER)
    if not diff and not any((checkout.resolve() / name).is_relative_to(place) for name in untracked for place in code):
        return None
    return UncommittedChanges(checkout, diff, untracked)
