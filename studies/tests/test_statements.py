"""The judge of statements against cases whose right answer is plain."""

import numpy as np
from studies.statements import faithful, named_words, specific

from deftrec.reasoning import ItemWords, short_title, statement

LINES = [[f"Film {chr(97 + n) * 4} (Drama)", f"Film {chr(97 + n) * 5} (Comedy)"] for n in range(12)]
OWN = [f"Drama, such as Film {chr(97 + n) * 4}." for n in range(12)]


def test_what_the_history_holds_is_faithful() -> None:
    assert faithful(OWN, LINES) == (1.0, 12 * 3)
    share, named = faithful(["Western, such as Film aaaa."], LINES[:1])
    assert (round(share, 3), named) == (0.667, 3)


def test_words_of_the_sentences_are_not_named() -> None:
    assert named_words("Comedy above all. Most recently Film aaaa. Likely to go on with Drama.") == [
        *("comedy", "film", "aaaa", "drama")
    ]


def test_a_title_of_the_history_is_specific_and_its_category_is_not() -> None:
    rng = np.random.default_rng(0)
    assert specific(OWN, LINES, rng) == 1.0
    assert specific(["Drama."] * 12, LINES, rng) == 0.0
    shifted = OWN[1:] + OWN[:1]
    assert specific(shifted, LINES, rng) < 0.2


def test_training_statements_are_faithful() -> None:
    words = ItemWords([short_title(f"Film {n}, The (1999)") for n in range(6)], [["Drama"], ["Comedy"]] * 3)
    texts = [statement(words.facts([0, 1, 2, 4], [3, 5, 4]), np.random.default_rng(seed)) for seed in range(20)]
    assert faithful(texts, [[words.lines[n] for n in (0, 1, 2, 4)]] * 20)[0] == 1.0
    assert len(set(texts)) > 5
    assert all("Film 3" not in text and "Film 5" not in text for text in texts)  # what comes later is not told
