"""Vocabulary of a statement: generation is limited to whole words of the items read and of the sentences learnt."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

MARKS = (".", ",", ":")
"""Punctuation marks, one of which may follow every word."""


class Node(dict[int, "Node"]):
    """A place within the words that share their first tokens, and the places behind each next token.

    Attributes:
        ends: whether a word ends here.
    """

    ends = False


class StatementVocabulary:
    """Constrained decoding for N statements side by side: which tokens may come next in each.

    A statement begins with one of its phrases. Any word may follow a word or a mark, and the text ends behind one of
    the two.

    Args:
        phrases: possible beginnings of each statement, at least one text. `N`
        texts: texts whose words each statement may use. `N`
        token_ids: tokenizer of a text.
        end: token id that ends a text.
    """

    def __init__(
        self,
        phrases: Sequence[Iterable[str]],
        texts: Sequence[Iterable[str]],
        token_ids: Callable[[str], list[int]],
        end: int,
    ) -> None:
        known: dict[str, list[int]] = {}

        def tree(own: Iterable[str]) -> Node:
            """The tokens of texts that follow a space."""
            root = Node()
            for text in own:
                if text not in known:
                    known[text] = token_ids(f" {text}")
                node = root
                for token in known[text]:
                    node = node.setdefault(token, Node())
                node.ends = True
            return root

        self.end = end
        self.marks = [token for mark in MARKS for token in token_ids(mark)]
        self.words = [tree({word for text in own for word in text.split()}) for own in texts]
        self.nodes = [tree(own) for own in phrases]
        self.whole = [False] * len(self.nodes)  # whether the text may end here

    def forbidden(self, vocabulary: int) -> Tensor:
        """Tokens that cannot come next. `[N, vocabulary]` bool"""
        forbidden = torch.ones(len(self.nodes), vocabulary, dtype=torch.bool)
        for row, (node, words) in enumerate(zip(self.nodes, self.words, strict=True)):
            allowed = list(node)
            if node.ends:
                allowed += [*words, *self.marks]
            if self.whole[row] or not allowed:
                allowed.append(self.end)
            forbidden[row, allowed] = False
        return forbidden

    def advance(self, tokens: Sequence[int]) -> None:
        """Take the next token of each statement; tokens after its end do not count. `N`"""
        for row, token in enumerate(tokens):
            node, words = self.nodes[row], self.words[row]
            after = node.get(token, words.get(token) if node.ends else None)  # None: a mark
            self.nodes[row] = words if after is None else after
            self.whole[row] = after is None or after.ends
