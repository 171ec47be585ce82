"""Words around a history: paraphrases of the prompt, the question before a rationale, and item titles."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = "\x00"  # content of a user's turn, for the words around it in a chat template

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
"""Paraphrases of the prompt. Evaluation uses the first; training draws one per batch."""

QUESTION = "This person likes"  # text between a history and its rationale

CHARACTERS_PER_TOKEN = 20
"""Largest number of characters per token; the rest of a title is cut before tokenization, for speed."""


@dataclass(frozen=True)
class PromptWords:
    """Token ids around the history.

    Attributes:
        before: token ids before the history, for each paraphrase.
        after: token ids between the history and the rationale.
    """

    before: tuple[tuple[int, ...], ...]
    after: tuple[int, ...]


def prompt_words(
    paraphrases: tuple[str, ...], domain: str, tokenizer: "PreTrainedTokenizerBase", chat: bool
) -> PromptWords:
    """Token ids of prompts that end with `{history}`, for a kind of items (`domain`).

    Special tokens in the texts are read as plain text. With `chat`, the prompt is a user's turn in the tokenizer's chat
    template, before the answer.
    """
    texts = [one.format(domain=" ".join(domain.split()), history="").strip() for one in paraphrases]
    plain = [tuple(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]) for text in texts]
    question = tuple(tokenizer(QUESTION, add_special_tokens=False)["input_ids"])
    if chat:
        turn = [{"role": "user", "content": MARK}]
        frame = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)).split(MARK, 1)
        opening, closing = (tuple(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in frame)
        return PromptWords(tuple(opening + text for text in plain), closing + question)
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    start = () if first is None else (int(first),)
    return PromptWords(tuple(start + text for text in plain), question)


def title_words(titles: list[str], tokenizer: "PreTrainedTokenizerBase", most: int) -> Tensor:
    """The first `most` token ids of each title, -1 after the end. `[I, most]` int64

    Special tokens in a title are read as plain text, and white space of any kind as one space.
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
