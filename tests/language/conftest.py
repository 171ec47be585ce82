"""Small models of every family, saved like those of the hub."""

from pathlib import Path

import pytest
import torch

from toy import tiny_model

FAMILIES = ["bert", "roberta", "llama", "qwen3", "gemma3_text", "t5", "bart"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each family, by name."""
    torch.manual_seed(0)
    return {kind: tiny_model(kind, tmp_path_factory.mktemp(kind)) for kind in FAMILIES}
