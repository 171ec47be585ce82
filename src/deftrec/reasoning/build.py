"""Builds a reasoner: its language model, and tokenizers whose tokens mean words from the start."""

import torch
from torch import Tensor

from deftrec.config import ReasonerOptions, TokenizerOptions
from deftrec.data import Interactions
from deftrec.errors import ConfigError
from deftrec.hardware import multiplies_bf16
from deftrec.language import PretrainedLanguageModel
from deftrec.language.backbone import blocks_of
from deftrec.pretrained_files.locate import model_folder
from deftrec.reasoning.reasoner import Reasoner
from deftrec.reasoning.statements import ItemWords
from deftrec.tokenizer import RobustTokenizer
from deftrec.tokenizer.robust import Way

RIDGE = 0.1
"""Weight of the squared norm in the least-squares fit of the tokenizers, per item."""


def build_reasoner(
    features: Tensor,
    block: slice | None,
    tokens: TokenizerOptions,
    options: ReasonerOptions,
    interactions: Interactions,
) -> Reasoner:
    """A reasoner without training, its language model in bf16 where the processor multiplies it.

    Its tokenizers are fitted in closed form: the first way to the mean embedding of the words of an item's categories,
    the others to that of its title, as far as an item has them. They are not trained any further: a token then means
    words to a language model that was never trained on it.

    Raises the errors of `model_folder` and `PretrainedLanguageModel`.

    Args:
        features: features of the items, and the columns of them that are masked as a whole (`block`). `[I, F]`
        tokens: masking of the tokenizers.
        options: language model and what it reads.
        interactions: the items' titles and categories.
    """
    folder, domain = model_folder(options.model), interactions.meta.domain
    dtype = "bf16" if multiplies_bf16(features.device) else "fp32"
    reads = options.language.model_copy(update={"dtype": dtype})
    language = PretrainedLanguageModel(folder, reads, domain, options.ways, options.history, ())
    language.scale.requires_grad_(False)  # or the gradient would go down to the tokens, through every block
    _check(language, options)
    words = ItemWords.of(interactions)
    columns, tokens = features.shape[1], tokens.model_copy(update={"ways": options.ways, "positions": "each"})
    item_tokenizer = RobustTokenizer(columns, language.width, tokens, block)
    fit_to_words(item_tokenizer, features, language, words)
    user_tokenizer = RobustTokenizer(columns, language.width, tokens, block)
    user_tokenizer.load_state_dict(item_tokenizer.state_dict())  # a mean of items: linear, so the mean of their tokens
    for tokenizer in (item_tokenizer, user_tokenizer):
        tokenizer.requires_grad_(False)
    return Reasoner(features, words, item_tokenizer, user_tokenizer, language, options)


def _check(language: PretrainedLanguageModel, options: ReasonerOptions) -> None:
    """Refuse a language model that cannot write statements, and options that it does not suit."""
    blocks = len(blocks_of(language.model)[1])
    if not (language.causal and language.caches):
        raise ConfigError(
            f"reasoner.model {options.model}: not a model that writes text; give a causal one, as smollm2"
        )
    if options.tuned_layers >= blocks:
        raise ConfigError(
            f"reasoner.tuned_layers is {options.tuned_layers}, and {options.model} has {blocks} blocks: leave one or "
            "more for the hidden states"
        )
    if language.max_history < options.history:
        raise ConfigError(
            f"reasoner.history is {options.history}, and {options.model} has room for {language.max_history} items: "
            "give fewer, or lower reasoner.titles"
        )


@torch.no_grad()
def fit_to_words(
    tokenizer: RobustTokenizer, features: Tensor, language: PretrainedLanguageModel, words: ItemWords
) -> None:
    """Fit the linear part of every way to mean word embeddings by ridge regression, and silence its perceptron."""
    categories = _mean_embeddings([", ".join(names) for names in words.categories], language)
    titles = _mean_embeddings(words.titles, language)
    count = len(features)
    ones = torch.cat([features.float().cpu(), torch.ones(count, 1)], 1)
    for number, way in enumerate(tokenizer.encoders):
        assert isinstance(way, Way)
        means, known = categories if number == 0 and categories[1].any() else titles
        rows = ones[known]
        gram = rows.T @ rows + RIDGE * len(rows) * torch.eye(ones.shape[1])
        solved = torch.linalg.solve(gram, rows.T @ means[known])  # [F + 1, D]
        way.linear.weight.copy_(solved[:-1].T)
        way.linear.bias.copy_(solved[-1])
        way.contract.weight.zero_()
        way.contract.bias.zero_()


def _mean_embeddings(texts: list[str], language: PretrainedLanguageModel) -> tuple[Tensor, Tensor]:
    """Mean word embedding of each text `[I, D]`, and which texts have words `[I]` bool."""
    table = language.embed(torch.arange(language.vocabulary)).float()
    means, known = torch.zeros(len(texts), language.width), torch.zeros(len(texts), dtype=torch.bool)
    for row, text in enumerate(texts):
        ids = language.token_ids(f" {text}") if text else []
        if ids:
            means[row], known[row] = table[torch.tensor(ids)].mean(0), True
    return means, known
