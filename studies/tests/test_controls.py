"""The control without diffusion: nothing of the target or of chance reaches it, in training or in retrieval."""

from dataclasses import replace
from pathlib import Path

import torch
from studies.controls import NoDiffusionHead, without_diffusion
from studies.pretrained import random_copy
from transformers import AutoModel, AutoTokenizer

from deftrec import Recommender
from deftrec.config import DiffusionOptions
from deftrec.diffusion import Sampling
from deftrec.ensemble import build_member
from deftrec.language import PretrainedLanguageModel
from deftrec.recipe import resolve
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from toy import ring, tiny_bert, tiny_config

SIZES = Sizes(positions=100, interactions=110, users=10, items=20)


def head() -> NoDiffusionHead:
    torch.manual_seed(0)
    made = NoDiffusionHead(8, DiffusionOptions(width=16, depth=1))
    for parameter in made.parameters():  # the last layer starts at zero, which would hide everything
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def test_training_and_generation_are_one_evaluation_without_noise() -> None:
    made, condition = head(), torch.randn(5, 8)
    one, two = (made.training_pair(latents, condition) for latents in torch.randn(2, 5, 8))
    assert torch.equal(one, two)
    sampling = replace(Sampling.of(DiffusionOptions(steps=3)), keep_path=True)
    first, second = (made.generate(condition, sampling, torch.Generator().manual_seed(n)) for n in (0, 1))
    torch.testing.assert_close(first.x0, one)
    assert torch.equal(first.x0, second.x0)
    assert first.path is not None
    assert first.path.shape == (3, 5, 8)


def test_members_have_the_head_inside_the_block_alone() -> None:
    config = resolve(tiny_config(), SIZES)
    features = ItemFeatures.build(torch.randn(20, 16), None)
    with without_diffusion():
        assert isinstance(build_member(features, config, "items").diffusion, NoDiffusionHead)
    assert not isinstance(build_member(features, config, "items").diffusion, NoDiffusionHead)


def test_a_classifier_learns_the_ring(tmp_path: Path) -> None:
    config = tiny_config(objective={"error_weight": 0.0}, retrieval={"prior": "none", "trend": False})
    with without_diffusion():
        recommender = Recommender.fit(ring(), config, out=tmp_path / "run")
        again = Recommender.load(tmp_path / "run")
    assert isinstance(again.model.diffusion, NoDiffusionHead)
    found = recommender.evaluate("test").metrics["ndcg@10"]
    assert found > 0.85
    assert again.evaluate("test").metrics["ndcg@10"] == found


def test_a_random_copy_has_other_weights_and_the_same_words(tmp_path: Path) -> None:
    source = tiny_bert(tmp_path / "bert")
    copies = [random_copy(str(source), tmp_path / f"copy-{n}", seed) for n, seed in enumerate((1, 1, 2))]
    weights = [AutoModel.from_pretrained(folder).embeddings.word_embeddings.weight for folder in (source, *copies)]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[3])
    texts = [
        AutoTokenizer.from_pretrained(folder)("what a person likes")["input_ids"] for folder in (source, copies[0])
    ]
    assert texts[0] == texts[1]
    state = torch.random.get_rng_state()
    assert random_copy(str(source), tmp_path / "copy-0", 9) == tmp_path / "copy-0", "a finished copy is kept"
    random_copy(str(source), tmp_path / "copy-9", 9)
    assert torch.equal(torch.random.get_rng_state(), state)
    config = tiny_config(language={"kind": "pretrained", "model": str(copies[0]), "prompts": ["what : {history}"]})
    config = resolve(config, SIZES)
    member = build_member(ItemFeatures.build(torch.randn(20, 16), None), config, "items")
    assert isinstance(member.language, PretrainedLanguageModel)
