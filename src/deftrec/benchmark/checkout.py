"""Uncommitted changes of the git checkout that the code runs from: a revision alone does not name such code."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deftrec.errors import DeftRecError
from deftrec.files import write_text

PACKAGE = Path(__file__).resolve().parents[1]
PEERS_FOLDER = Path("benchmarks", "peers")


@dataclass(frozen=True)
class UncommittedChanges:
    """Difference between a checkout and its last commit.

    Attributes:
        checkout: top folder of the checkout.
        diff: output of `git diff HEAD`.
        untracked: files that git neither tracks nor ignores, relative to `checkout`.
    """

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
    """Find changes that the revision of a checkout does not contain.

    Untracked files count only where the code is: in the package and among the scripts of the peers.

    Args:
        package: folder of the running code.

    Returns:
        The changes; None for a clean checkout, and outside a checkout, where the version names the code.
    """
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is None or not _git(package, "ls-files", "--", "."):  # installed inside another project's checkout
        return None
    checkout = Path(top.strip())
    diff = _git(checkout, "diff", "HEAD") or ""
    untracked = tuple((_git(checkout, "ls-files", "--others", "--exclude-standard") or "").splitlines())
    code = (package.resolve(), checkout.resolve() / PEERS_FOLDER)
    if not diff and not any((checkout.resolve() / name).is_relative_to(place) for name in untracked for place in code):
        return None
    return UncommittedChanges(checkout, diff, untracked)


def refuse(changes: UncommittedChanges) -> DeftRecError:
    """Make the error that says how to go on."""
    return DeftRecError(
        f"{changes.checkout}: the checkout has uncommitted changes, so its revision does not name the code that runs; "
        "commit them, or give --allow-dirty to store them beside the results"
    )


def _git(folder: Path, *words: str) -> str | None:
    """Output of a git command; None where git is absent, fails, or `folder` is in no checkout."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            ["git", "-C", str(folder), *words],  # noqa: S607 - the user's git
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
