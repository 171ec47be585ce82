"""The words around a history: paraphrases of one request, what is asked after it, and titles as data."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HISTORY = "{history}"

PARAPHRASES = (
    "What a person who likes {domain} took, oldest first, and what comes next: {history}",
    "A history of {domain}, oldest first, and the next one: {history}",
    "Someone chose these {domain} one after the other. What follows? {history}",
    "Read the {domain} of one person in order and guess what is taken next: {history}",
    "These {domain} were taken by the same person; the newest stands last: {history}",
    "Given what a person took before, recommend one of the {domain}: {history}",
    "The person's past {domain}, from the first to the latest: {history}",
    "Here is what somebody enjoyed among {domain}, in the order of time: {history}",
    "Predict the next of the {domain} after these: {history}",
    "A list of {domain} in the order in which they were taken, to be continued: {history}",
)
"""The first one is asked in evaluation; training draws one for each batch."""

QUESTION = "This person likes"
"""What stands between a history and the preference in words."""

CHARACTERS_PER_TOKEN = 20
"""More of a title than this is not even tokenised: a word piece of any script is shorter."""


@dataclass(frozen=True)
class PromptWords:
    """Word pieces around the history.

    Attributes:
        before: of each paraphrase, what stands before the history.
        after: what stands between the history and the preference in words.
    """

    before: tuple[tuple[int, ...], ...]
    after: tuple[int, ...]


def prompt_words(
    paraphrases: tuple[str, ...], domain: str, tokenizer: "PreTrainedTokenizerBase", chat: bool
) -> PromptWords:
    """Word pieces of the prompts, in the model's chat format where `chat`; the domain is data, never a special token.

    Args:
        paraphrases: each ends with `{history}`.
        domain: what the items are.
        chat: render a user's turn by the tokenizer's chat template; the answer begins after it.
    """
    texts = [one.format(domain=" ".join(domain.split()), history="").strip() for one in paraphrases]
    plain = [tuple(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]) for text in texts]
    question = tuple(tokenizer(QUESTION, add_special_tokens=False)["input_ids"])
    if chat:
        opening, closing = _chat_frame(tokenizer)
        return PromptWords(tuple(opening + text for text in plain), closing + question)
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    start = () if first is None else (int(first),)
    return PromptWords(tuple(start + text for text in plain), question)


def _chat_frame(tokenizer: "PreTrainedTokenizerBase") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Word pieces before and after the content of a user's turn, the second up to where the answer begins."""
    mark = "\x00"
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": mark}], tokenize=False, add_generation_prompt=True
    )
    opening, _, closing = str(rendered).partition(mark)
    ids = [tuple(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (opening, closing)]
    return ids[0], ids[1]


def title_words(titles: list[str], tokenizer: "PreTrainedTokenizerBase", most: int) -> Tensor:
    """Word pieces of titles, the first `most` of each, -1 behind the end of a shorter one. `[I, most]` int64

    A title is data: what looks like a special token in it is spelt out, and white space of any kind is one space.
    """
    ids = torch.full((len(titles), most), -1)
    short = [" ".join(title[: most * CHARACTERS_PER_TOKEN].split()) for title in titles]
    if not short or not most:
        return ids
    pieces = tokenizer(short, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    for row, words in enumerate(pieces):
        kept = words[:most]
        ids[row, : len(kept)] = torch.tensor(kept, dtype=torch.int64)
    return ids
