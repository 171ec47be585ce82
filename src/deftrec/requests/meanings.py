"""Meanings of categories as sentence vectors, for requests that name none: "a whodunit" is nearest to mysteries."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.errors import ConfigError
from deftrec.language.backbone import writes_text
from deftrec.pretrained_files.locate import model_folder
from deftrec.pretrained_files.reading import reading
from deftrec.requests.lexicon import Lexicon, words_of

MOST_CATEGORIES = 256
"""Largest number of categories that requests are compared with by meaning."""

RELATED = 12
"""Number of words that a language model relates to a category."""

SHORTEST = 4
"""Smallest number of letters of such a word: shorter ones are mostly pieces of words."""

OPENINGS = (
    "{domain} of the kind: {category}. Such {domain} are about",
    "{category} {domain} have a lot of",
    "Words that describe {category} {domain}:",
    "People who like {category} {domain} also like",
)
"""Beginnings of sentences whose next word is related to a category."""


def category_meanings(
    lexicon: Lexicon, sentences: Tensor, encode: Callable[[list[str]], Tensor], related: Mapping[str, Sequence[str]]
) -> tuple[list[str], Tensor]:
    """Categories, and the meaning of each: the mean of up to three vectors, those of its name, items and words.

    Each of the three is centred over the categories first, so that what all of them share says nothing. No categories
    where there are fewer than two, or more than `MOST_CATEGORIES`.

    Args:
        lexicon: categories and their items.
        sentences: sentence vectors of the items. `[I, E]`
        encode: sentence vectors of texts. N texts -> `[N, E]`
        related: words related to each category; empty where no language model was asked.

    Returns:
        `C` names, and vectors of unit norm `[C, E]`.
    """
    names = list(lexicon.members)
    if not 1 < len(names) <= MOST_CATEGORIES:
        return [], sentences[:0]
    members = [torch.from_numpy(lexicon.members[name]).to(sentences.device) for name in names]
    views = [
        encode([f"{name} {lexicon.domain}" for name in names]).to(sentences),
        torch.stack([sentences[items].mean(0) for items in members]),
    ]
    words = list(dict.fromkeys(word for name in names for word in related.get(name, ())))
    if words:
        vectors = dict(zip(words, encode(words).to(sentences), strict=True))
        own = [[vectors[word] for word in related.get(name, ())] for name in names]
        views.append(torch.stack([torch.stack(one).mean(0) if one else torch.zeros_like(sentences[0]) for one in own]))
    return names, F.normalize(sum(map(_centred, views), torch.zeros_like(views[0])), dim=-1)


def _centred(vectors: Tensor) -> Tensor:
    """Vectors of unit norm without their mean, again of unit norm. `[C, E]`"""
    units = F.normalize(vectors, dim=-1)
    return F.normalize(units - units.mean(0), dim=-1)


@torch.no_grad()
def related_words(model: str, categories: Sequence[str], domain: str) -> dict[str, list[str]]:
    """Words that a causal language model relates to each category more than to the others, without the category's own.

    A word w counts p(w | category) log(p(w | category) / p(w)), where p is the model's probability of the next word
    after `OPENINGS` (its share of the Kullback-Leibler divergence). Only words that are one token are considered.

    Raises a `ConfigError` if the model does not write text, or the errors of `model_folder`.

    Args:
        model: name or folder of the model, as in `language.model`.
        categories: names of the categories.
        domain: kind of the items in a word or two.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # slow imports, only where needed

    folder = model_folder(model)
    with reading(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if not writes_text(config):
            raise ConfigError(f"{model}: not a model that writes text; give a causal one, as smollm2")
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        language = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    language.eval()
    rows = []
    for category in categories:
        texts = [opening.format(domain=domain, category=category) for opening in OPENINGS]
        logits = [language(**tokenizer(text, return_tensors="pt")).logits[0, -1].float() for text in texts]
        rows.append(torch.stack(logits).softmax(-1).mean(0))
    shares = torch.stack(rows)
    words = [tokenizer.decode([token]) for token in range(shares.shape[1])]
    usable = torch.tensor([_is_word(word) for word in words])
    counts = (shares * (shares / shares.mean(0)).log()).masked_fill(~usable, -torch.inf)
    found = {}
    for category, row in zip(categories, counts, strict=True):
        own = set(words_of(category))
        likelier = row.argsort(descending=True)[: min(4 * RELATED, int((row > 0).sum()))]
        best = (words[token].strip() for token in likelier.tolist())
        found[category] = [word for word in best if own.isdisjoint(words_of(word))][:RELATED]
    return found


def _is_word(token: str) -> bool:
    """Whether a token is a whole word in small letters, as it stands within a sentence."""
    return token.startswith(" ") and token[1:].isalpha() and token[1:].islower() and len(token) > SHORTEST
