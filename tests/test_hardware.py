"""Which numbers the matrix products run in."""

import re
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
    with pytest.warns(UserWarning, match=r"`training\.precision=auto`"):
        assert training_dtype("fp32", CPU) == torch.float32


def test_what_is_there() -> None:
    assert isinstance(multiplies_bf16(CPU), bool)
    assert default_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("precision", "fast", "dtype"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("bf16", False, torch.bfloat16),
        ("fp32", True, torch.float32),
    ],
)
def test_the_dtype_of_inference(
    precision: hardware.Precision, fast: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "multiplies_bf16", lambda _: fast)
    assert inference_dtype(precision, CPU) == dtype


@pytest.mark.parametrize(("tiles", "dots"), [(False, False), (True, False), (False, True)])
def test_tiles_or_dot_products_of_bf16_are_fast(tiles: bool, dots: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: dots)
    assert multiplies_bf16(CPU) == (tiles or dots)


def test_the_machine_in_words() -> None:
    assert re.fullmatch(
        r"\d+ CPU threads? \(\w+\), (fp32|bf16) at [\d,]+ GFLOP/s", hardware.describe(CPU, torch.float32)
    )
