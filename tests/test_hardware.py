"""Which numbers the matrix products run in."""

import warnings

import pytest
import torch

from deftrec import hardware
from deftrec.hardware import default_device, inference_dtype, multiplies_bf16, training_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "has_bf16", "dtype"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("bf16", True, torch.bfloat16),
        ("bf16", False, torch.bfloat16),
        ("fp32", False, torch.float32),
    ],
)
def test_the_dtype(precision: str, has_bf16: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "multiplies_bf16", lambda _: has_bf16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert training_dtype(precision, CPU) == dtype


def test_units_left_unused_are_a_warning_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "multiplies_bf16", lambda _: True)
    with pytest.warns(UserWarning, match=r"--set training\.precision=auto"):
        assert training_dtype("fp32", CPU) == torch.float32


def test_what_is_there() -> None:
    assert isinstance(multiplies_bf16(CPU), bool)
    assert default_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("precision", "tiles", "dots", "dtype"),
    [
        ("auto", False, True, torch.bfloat16),
        ("auto", True, False, torch.bfloat16),
        ("auto", False, False, torch.float32),
        ("bf16", False, False, torch.bfloat16),
        ("fp32", True, True, torch.float32),
    ],
)
def test_the_dtype_of_inference(
    precision: hardware.Precision, tiles: bool, dots: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "multiplies_bf16", lambda _: tiles)
    monkeypatch.setattr(hardware, "_has_avx512_bf16", lambda: dots)
    assert inference_dtype(precision, CPU) == dtype
    if precision == "auto":
        assert inference_dtype("auto", torch.device("meta")) == (torch.bfloat16 if tiles else torch.float32)
