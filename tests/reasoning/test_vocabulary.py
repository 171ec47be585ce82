"""Statements are made of whole words of what may be named, whatever the language model would rather say."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from deftrec.reasoning.vocabulary import StatementVocabulary

LETTERS = " abcdefghij.,:"
END = len(LETTERS)


def token_ids(text: str) -> list[int]:
    return [LETTERS.index(letter) for letter in text]


def generate(vocabulary: StatementVocabulary, wishes: torch.Tensor) -> list[str]:
    """The best allowed token of each step's wishes `[T, N, V]`, as text."""
    N = wishes.shape[1]
    texts, open_ = [""] * N, [True] * N
    for wish in wishes:
        forbidden = vocabulary.forbidden(END + 1)
        assert (~forbidden).any(1).all()
        tokens = wish.masked_fill(forbidden, -torch.inf).argmax(-1).tolist()
        vocabulary.advance(tokens)
        for row, token in enumerate(tokens):
            open_[row] = open_[row] and token != END
            texts[row] += LETTERS[token] if open_[row] else ""
    return texts


@given(st.integers(0, 2**31))
def test_every_word_is_one_of_those_given_and_the_first_phrase_is_whole(seed: int) -> None:
    phrases, words = [["ab cd", "ab"], ["j"]], [["a bc", "e"], ["fg"]]
    wishes = torch.randn(40, 2, END + 1, generator=torch.Generator().manual_seed(seed))
    wishes[:, :, END] -= 1.0
    for row, text in enumerate(generate(StatementVocabulary(phrases, words, token_ids, END), wishes)):
        assert any(text.startswith(f" {phrase}") for phrase in phrases[row])
        told = set(text.translate(str.maketrans(".,:", "   ")).split())
        known = {word for one in [*phrases[row], *words[row]] for word in one.split()}
        unfinished = text.split(" ")[-1]
        assert all(word in known or (word == unfinished and any(k.startswith(word) for k in known)) for word in told)


def test_rows_do_not_share_words() -> None:
    vocabulary = StatementVocabulary([["a"], ["b"]], [["c"], ["d"]], token_ids, END)
    wishes = torch.zeros(6, 2, END + 1)
    wishes[..., END] = -1.0
    first, second = generate(vocabulary, wishes)
    assert "d" not in first
    assert "b" not in first
    assert "c" not in second
    assert "a" not in second


def test_a_text_ends_only_behind_a_whole_word_or_a_mark() -> None:
    vocabulary = StatementVocabulary([["abc"]], [["de"]], token_ids, END)
    ended = []
    for token in [*token_ids(" abc"), *token_ids(" de"), *token_ids(".")]:
        ended.append(not vocabulary.forbidden(END + 1)[0, END])
        vocabulary.advance([token])
    ended.append(not vocabulary.forbidden(END + 1)[0, END])
    assert ended == [False, False, False, False, True, False, False, True, True]
