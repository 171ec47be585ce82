"""`language.layers` keeps the lowest blocks of a pre-trained model, with their weights."""

from pathlib import Path

import pytest
import torch

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.language.backbone import read_backbone
from toy import tiny_bert


def test_the_lowest_blocks_are_kept(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert")
    whole = read_backbone(folder, PretrainedOptions(model=str(folder))).model.state_dict()
    cut = read_backbone(folder, PretrainedOptions(model=str(folder), layers=1)).model.state_dict()
    assert set(cut) < set(whole)
    assert not any(".layer.1." in name for name in cut)
    assert any(".layer.0." in name for name in cut)
    for name, weight in cut.items():
        assert torch.equal(weight, whole[name]), name


def test_more_blocks_than_there_are_is_an_error(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert")
    with pytest.raises(ConfigError, match=r"language\.layers is 9, and .* blocks: give fewer, or null"):
        read_backbone(folder, PretrainedOptions(model=str(folder), layers=9))
