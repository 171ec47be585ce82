"""Sentence vectors: mean-pooled, normalised, and indifferent to who shares a batch."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from deftrec.errors import ConfigError
from deftrec.text.sentences import sentence_vectors
from toy import tiny_bert

TEXTS = ["red", "", "what a person likes first and next", "  ", "old old blue items", "red", "zebra", "blue " * 60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def vectors(folder: Path, texts: list[str], max_tokens: int = 20, batch_size: int = 64) -> torch.Tensor:
    return sentence_vectors(
        texts,
        folder,
        max_tokens=max_tokens,
        device=torch.device("cpu"),
        dtype=torch.float32,
        batch_size=batch_size,
    )


def test_they_are_the_mean_of_the_last_layer(folder: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = vectors(folder, TEXTS)
    assert found.shape == (len(TEXTS), 32)
    for text, vector in zip(TEXTS, found, strict=True):
        if not text.strip():
            assert torch.equal(vector, torch.zeros(32))
            continue
        ids = tokenizer(text, truncation=True, max_length=20, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            mean = model(input_ids=ids).last_hidden_state[0].mean(0)
        torch.testing.assert_close(vector, mean / mean.norm(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[0], found[5])


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_change_nothing(folder: Path, batch_size: int) -> None:
    torch.testing.assert_close(vectors(folder, TEXTS, batch_size=batch_size), vectors(folder, TEXTS))


def test_long_texts_are_cut(folder: Path) -> None:
    texts = ["red blue " + "old " * 60, "red blue " + "new " * 60]
    short, long = vectors(folder, texts, max_tokens=4), vectors(folder, texts, max_tokens=20)
    torch.testing.assert_close(short[0], short[1])
    assert not torch.isclose(long[0], long[1], atol=1e-4).all()


def test_progress_counts_texts_that_are_read(folder: Path) -> None:
    counted: list[int] = []
    device = torch.device("cpu")
    sentence_vectors(
        TEXTS, folder, max_tokens=9, device=device, dtype=torch.float32, batch_size=4, on_batch=counted.append
    )
    assert counted == [4, 2]
    assert torch.equal(vectors(folder, [""]), torch.zeros(1, 32))


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read as a language model"):
        vectors(tmp_path, ["red"])
