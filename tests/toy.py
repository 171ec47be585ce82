"""Data whose right answer is known, language models of a few kilobytes, and options that train in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from deftrec import Config, Interactions
from deftrec.data import Meta
from deftrec.recipe import build_config

WORDS = [
    "what",
    "a",
    "person",
    "who",
    "likes",
    "took",
    "oldest",
    "first",
    "and",
    "comes",
    "next",
    "items",
    "number",
    ",",
    ":",
    "red",
    "green",
    "blue",
    "old",
    "new",
]


def ring(users: int = 200, items: int = 24, seed: int = 0, strings: bool = False) -> Interactions:
    """Steps around a ring of items: after an item comes its successor, or now and then a leap to anywhere.

    The last two interactions of all eight are steps, so the right answer to validation and test is the successor of
    the last item. At validation the predecessor is unseen too, and taken together with the last item just as often:
    whoever knows who goes with whom, but not in which order, gets an NDCG of (1 + 1 / log2(3)) / 2 = .815 at best.
    Item ids are in no order that tells the ring's.
    """
    rng = np.random.default_rng(seed)
    names = rng.permutation(items) + 100
    rows = []
    for user in range(users):
        walk: list[int] = []
        while len(walk) < 8:
            steps = 3 if len(walk) == 5 else min(int(rng.integers(2, 4)), 5 - len(walk))
            room = [n for n in range(items) if not {(n + m) % items for m in range(-1, steps)} & set(walk)]
            start = int(rng.choice(room))
            walk += [(start + step) % items for step in range(steps)]
        rows += [(user + 1000, int(names[item]), 60 * n + user % 7) for n, item in enumerate(walk)]
    events = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    catalogue = pl.DataFrame({"item": names, "title": [f"number {n}" for n in names], "category": "red|old"})
    if strings:
        events = events.with_columns(pl.format("u {}", "user").alias("user"), pl.format("i/{}", "item").alias("item"))
        catalogue = catalogue.with_columns(pl.format("i/{}", "item").alias("item"))
    return Interactions.from_frame(events, catalogue, meta=Meta(name="ring"))


def checkerboard(users: int = 80, items: int = 24, length: int = 7, seed: int = 0) -> Interactions:
    """Even users take even items in random order, odd users odd ones: who took what decides, the order says nothing."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, int(item), time)
        for user in range(users)
        for time, item in enumerate(2 * rng.permutation(items // 2)[:length] + user % 2)
    ]
    return Interactions.from_frame(
        pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), meta=Meta(name="checkerboard")
    )


def tiny_config(**groups: Any) -> Config:
    """Options for toy data; `groups` are merged into them, key by key."""
    values: dict[str, Any] = {
        "collaborative": {"dim": 16, "epochs": 10, "batch_size": 128},
        "text": {"encoder": "none"},
        "tokenizer": {
            "hidden": 32,
            "dropout": 0.0,
            "drop_collaborative": 0.0,
            "trainable_features": True,
            "users": "none",
        },
        "language": {"kind": "nano", "width": 32, "layers": 1, "heads": 2, "dropout": 0.0},
        "diffusion": {"width": 32, "depth": 1},
        "training": {
            "learning_rate": 1e-2,
            "batch_positions": 256,
            "epochs": 12,
            "patience": 12,
            "warmup_steps": 5,
            "average": 0.0,
            "precision": "fp32",
            "members": 1,
        },
        "retrieval": {
            "prior": {"kind": "ease", "regularisation": [10.0], "recency": [0.0, 1.0], "weights": [5.0, 50.0]}
        },
    }
    for group, options in groups.items():
        same_kind = isinstance(options, dict) and "kind" not in options
        values[group] = {**values.get(group, {}), **options} if same_kind else options
    return build_config(values, "test")


def tiny_tokenizer(folder: Path) -> int:
    """Write a word-level tokenizer into `folder`; its size."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = special + WORDS + [str(n) for n in range(100, 130)]
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    return len(words)


def tiny_bert(folder: Path, positions: int = 64) -> Path:
    """A random BERT of two layers, saved like a model from the hub."""
    config = BertConfig(
        vocab_size=tiny_tokenizer(folder),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.2,  # far from zero, so that whatever is read shows
        max_position_embeddings=positions,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def tiny_llama(folder: Path, positions: int = 64) -> Path:
    """A random Llama of two layers, saved like a model from the hub."""
    config = LlamaConfig(
        vocab_size=tiny_tokenizer(folder),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        initializer_range=0.2,  # far from zero, so that whatever is read shows
        max_position_embeddings=positions,
        pad_token_id=0,
    )
    LlamaModel(config).save_pretrained(folder)
    return folder
