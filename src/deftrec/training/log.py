"""The training log: JSON lines, and TensorBoard events where TensorBoard is installed."""

import importlib.util
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TrainingLog:
    """Appends a JSON object a line to `folder/metrics.jsonl`, and scalars to TensorBoard files; None: logs nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._board: Any = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            if importlib.util.find_spec("tensorboard") is not None:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of a stage at `step` (an epoch)."""
        if self.folder is None:
            return
        row = {"time": round(time.time(), 3), "stage": stage, "epoch": step, **values}
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{stage}/{name}", value, step)
            self._board.flush()

    def close(self) -> None:
        """Close the log."""
        if self._board is not None:
            self._board.close()
