"""A service in a process of its own, which can be killed as the machine's worst moment would."""

import os
import subprocess
import sys
from pathlib import Path

START = "import sys; from deftrec.cli import main; sys.exit(main())"


class ServerProcess:
    """Starts `deftrec serve` again and again.

    Args:
        run: directory of a run.
        store: URL.
    """

    def __init__(self, run: Path, store: str) -> None:
        self.words = [sys.executable, "-c", START, "serve", str(run), "--port", "0", "--rate", "0"]
        self.environment = {**os.environ, "DEFTREC_STORE": store}
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> str:
        """Start it; the address, once it listens."""
        self.process = subprocess.Popen(
            self.words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=self.environment
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert " serves " in said, "it did not start"
        return said.split()[0]

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
