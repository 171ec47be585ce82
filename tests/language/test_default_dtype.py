"""The default dtype of torch while another thread loads a language model."""

import threading
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, modeling_utils

from deftrec.language.default_dtype import LOCK, guard_default_dtype, steady_default_dtype
from toy import tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model("llama", tmp_path / "llama", dtype=torch.bfloat16)


def test_it_is_steady_while_another_thread_loads_a_model(folder: Path) -> None:
    guard_default_dtype()
    done = threading.Event()

    def load() -> None:
        for _ in range(10):
            assert AutoModel.from_pretrained(folder, dtype=torch.bfloat16).dtype == torch.bfloat16
        done.set()

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    rounds = 0
    while not done.is_set():
        with steady_default_dtype():
            assert {torch.zeros(1).dtype for _ in range(100)} == {torch.float32}
        rounds += 1
    for thread in threads:
        thread.join()
    assert rounds
    assert torch.get_default_dtype() == torch.float32, "threads that load at the same time restore it"


def test_it_changes_only_under_the_lock(folder: Path) -> None:
    guard_default_dtype()
    guard_default_dtype()
    entered = threading.Event()

    def change() -> None:
        with modeling_utils.local_torch_dtype(torch.bfloat16):
            entered.set()

    with steady_default_dtype():
        thread = threading.Thread(target=change)
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(30)
    thread.join()
    with LOCK:
        assert torch.get_default_dtype() == torch.float32
