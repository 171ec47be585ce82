"""The model's words against items' texts, alone and in the score."""

from dataclasses import replace

import pytest
import torch

from deftrec.data import Sequences
from deftrec.pretrained_files.locate import MINILM, model_folder
from deftrec.retrieval import OverlapMatch, Retriever, SentenceMatch
from deftrec.text.sentences import sentence_vectors

TEXTS = ["Drama, War. The long march", "Comedy. A day out", "", "drama"]


def test_overlap_is_the_share_of_the_words_said() -> None:
    match = OverlapMatch(TEXTS)
    scores = match.scores(match.encode(["DRAMA; next: comedy", "war war war", "", "nothing known"]))
    expected = torch.tensor([[1 / 3, 1 / 3, 0, 1 / 3], [1, 0, 0, 0], [0] * 4, [0] * 4])
    torch.testing.assert_close(scores, expected)
    assert OverlapMatch(["", ""]).scores(OverlapMatch(["", ""]).encode(["a"])).tolist() == [[0, 0]]


def test_sentences_fit_by_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(MINILM)
    texts = ["a war film", "tax software", ""]
    cpu = torch.device("cpu")
    items = sentence_vectors(texts, folder, max_tokens=16, device=cpu, dtype=torch.float32)
    match = SentenceMatch(items, folder, 16)
    said = ["accounting for small firms", "battle and soldiers", "accounting for small firms", ""]
    scores = match.scores(match.encode(said))
    assert scores.argmax(1)[:2].tolist() == [1, 0]
    assert torch.equal(scores[0], scores[2])
    assert (scores[3] == 0).all()
    assert (scores[:, 2] == 0).all()
    assert scores.min() >= 0
    assert scores.max() <= 1
    monkeypatch.setattr("deftrec.retrieval.terms.text_match.SentenceModel", None)  # read once, for whoever asks next
    assert torch.equal(match.encode(said[:1]), match.encode(said)[:1])


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_score_with_words(weight: float) -> None:
    match = OverlapMatch(TEXTS)
    plain = Retriever(torch.randn(4, 8), "cosine", 0.07)
    queries, histories = torch.randn(3, 8), Sequences.from_lists([[0], [1], [2, 3]])
    texts = match.encode(["drama", "a comedy", "war"])
    hybrid = replace(plain, match=match, text_weight=weight)
    similarity = 0.07 * plain.scores(queries, histories)
    expected = ((1 + similarity) * (1 + weight * match.scores(texts)) - 1) / 0.07
    torch.testing.assert_close(hybrid.scores(queries, histories, texts), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(hybrid.scores(queries, histories), plain.scores(queries, histories))
    found = hybrid.search(queries, histories, 4, True, texts)
    for row in range(3):  # in one go or one by one
        alone = hybrid.search(queries[row : row + 1], histories.select([row]), 4, True, texts[row : row + 1])
        assert torch.equal(alone.items[0], found.items[row])
