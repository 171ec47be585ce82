"""Data whose right answer is known, language models of a few kilobytes, and options that train in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

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
        "text": {"model": None},
        "tokenizer": {
            "hidden": 32,
            "dropout": 0.0,
            "drop_collaborative": 0.0,
            "trainable_features": True,
            "users": "none",
        },
        "language": {"kind": "nano", "width": 32, "layers": 1, "dropout": 0.0},
        "diffusion": {"width": 32, "depth": 1},
        "training": {
            "learning_rate": 1e-2,
            "batch_positions": 256,
            "epochs": 12,
            "average": 0.0,
            "precision": "fp32",
            "ensemble_size": 1,
        },
        "retrieval": {"prior": "ease"},
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


def trained_tokenizer(folder: Path) -> int:
    """Write a byte-level tokenizer trained on a few words, as causal models have it, into `folder`; its size."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return tokenizer.get_vocab_size()


SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,  # far from zero, so that whatever is read shows
}
DECODER: dict[str, Any] = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
SEQ2SEQ: dict[str, Any] = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "init_std": 0.2, "initializer_range": 0.2},
    **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64},
}
T5: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "is_encoder_decoder": True}


def tiny_model(
    kind: str, folder: Path, positions: int = 64, dtype: torch.dtype = torch.float32, width: int = 32
) -> Path:
    """A random model of two layers, saved in `folder` like one from the hub.

    Args:
        kind: `model_type` of `transformers`.
        positions: tokens that it reads at most, where it has such a limit.
        dtype: of its files.
        width: of a model that calls it hidden_size.
    """
    sizes: dict[str, dict[str, Any]] = {
        "bert": {**SIZES, "num_attention_heads": 2},
        "roberta": {**SIZES, "pad_token_id": 0},
        "llama": DECODER,
        "qwen3": DECODER,
        "gemma3_text": {**DECODER, "sliding_window": 40, "layer_types": ["sliding_attention", "full_attention"]},
        "t5": {**T5, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 24},
        "bart": SEQ2SEQ,
        "umt5": T5,
        "fnet": SIZES,
        "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
        "electra": {**SIZES, "embedding_size": 16},
    }
    folder.mkdir(parents=True, exist_ok=True)
    size = tiny_tokenizer(folder) if kind in {"bert", "roberta", "electra"} else trained_tokenizer(folder)
    arguments = sizes[kind] if width == 32 else {**sizes[kind], "hidden_size": width}
    config = AutoConfig.for_model(kind, vocab_size=size, max_position_embeddings=positions, **arguments)
    model = AutoModel.from_config(config, dtype=dtype)
    for name, parameter in model.named_parameters():
        if "relative_attention_bias" in name:  # near zero, so that no distance would show
            torch.nn.init.normal_(parameter, std=2.0)
    model.save_pretrained(folder)
    return folder


def tiny_bert(folder: Path, positions: int = 64) -> Path:
    """A random BERT of two layers, saved like a model from the hub."""
    return tiny_model("bert", folder, positions)


def reads_text(model: Path) -> dict[str, Any]:
    """Options of the group `text`: items are read by the sentence model in the folder `model`."""
    return {"model": str(model)}


def no_text() -> dict[str, Any]:
    """Options of the group `text`: the text of items is not read."""
    return {"model": None}


def sampled_softmax(items: int) -> dict[str, Any]:
    """Options of the group `objective`: a softmax over what a batch holds and `items` drawn ones, less than a third."""
    return {"sampled_items": items}
