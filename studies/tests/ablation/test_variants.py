"""The list of variants: each goes together with the recipes, and changes what it says."""

from pathlib import Path

import pytest
import torch
from studies.ablation import Variant, choose_variants, load_variants
from studies.authors.model import AuthorsDeftRec
from studies.controls import NoDiffusionHead
from studies.discrete_tokens.model import DiscreteTokenizer
from studies.semantic_ids.head import SemanticIdHead

from deftrec.config import PretrainedOptions
from deftrec.ensemble import build_member
from deftrec.errors import ConfigError
from deftrec.recipe import load_recipe, resolve
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from toy import tiny_bert, tiny_config

SHIPPED = load_variants()
SIZES = Sizes(positions=5000, interactions=6000, users=1000, items=900)


@pytest.mark.parametrize("recipe", ["default", "ml-100k"])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_variant_is_a_change_of_every_recipe(name: str, recipe: str) -> None:
    base = load_recipe(recipe, ["seed=3"])
    config = SHIPPED[name].config(base)
    assert config.seed == 3
    assert config.retrieval.prior == "none"
    assert config.training.ensemble_size == (4 if name == "deftrec/ensemble" else 1)
    if name not in {"deftrec/mask-0", "deftrec/minilm"}:
        assert resolve(config, SIZES) != base  # mask-0 is the default, minilm one recipe's


def test_there_is_a_variant_for_every_claim() -> None:
    wanted = "vq rq semantic-ids regression cross-entropy no-negatives pairwise preference k-2 k-4 k-8 mask-0"
    wanted += " mask-0.2 mask-0.5 no-modality-mask no-user-tokens user-tokens no-text no-collaborative eps minilm"
    wanted += " minilm-random minilm-lora minilm-frozen minilm-titles ensemble authors"
    assert set(SHIPPED) == {f"deftrec/{name}" for name in wanted.split()}
    assert all(variant.about for variant in SHIPPED.values())


def test_a_change_of_kind_leaves_nothing_of_the_old_one() -> None:
    config = SHIPPED["deftrec/minilm"].config(tiny_config())  # whose nano has a width of its own
    assert isinstance(config.language, PretrainedOptions)
    assert config.language == PretrainedOptions()
    assert config.training.batch_positions == tiny_config().training.batch_positions


def test_another_recipe_takes_the_place_of_the_one_asked_for(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("objective: {negatives: pairwise}\n")
    variant = Variant(about="another recipe", recipe=str(tmp_path / "other.yaml"), set={"tokenizer": {"ways": 2}})
    config = variant.config(load_recipe("default", ["seed=5", "training.epochs=3"]))
    changes = [
        "seed=5",
        "tokenizer.ways=2",
        "training.ensemble_size=1",
        "retrieval.prior=none",
        "retrieval.trend=false",
    ]
    assert config == load_recipe(str(tmp_path / "other.yaml"), changes)


@pytest.mark.parametrize("name", ["cross-entropy", "regression"])
def test_the_controls_build_the_head_without_diffusion(name: str) -> None:
    variant = SHIPPED[f"deftrec/{name}"]
    config = resolve(variant.config(tiny_config()), SIZES)
    features = ItemFeatures.build(torch.randn(20, 16), None)
    with variant.patched():
        assert isinstance(build_member(features, config, "items").diffusion, NoDiffusionHead)
    assert not isinstance(build_member(features, config, "items").diffusion, NoDiffusionHead)


def test_the_authors_procedure_is_a_recipe_and_a_model() -> None:
    variant = SHIPPED["deftrec/authors"]
    config = resolve(variant.config(load_recipe("default", ["seed=5"])), SIZES)
    assert (config.seed, config.diffusion.prediction, config.text.model) == (5, "eps", None)
    with variant.patched():
        assert isinstance(build_member(ItemFeatures.build(torch.randn(40, 16), None), config, "items"), AuthorsDeftRec)


@pytest.mark.parametrize("name", ["vq", "rq", "semantic-ids"])
def test_discrete_controls_replace_a_part(name: str) -> None:
    variant = SHIPPED[f"deftrec/{name}"]
    config = resolve(variant.config(tiny_config()), SIZES)
    features = ItemFeatures.build(torch.randn(40, 16), None)
    with variant.patched():
        member = build_member(features, config, "items")
    quantised, decodes = (
        isinstance(member.item_tokenizer, DiscreteTokenizer),
        isinstance(member.diffusion, SemanticIdHead),
    )
    assert (quantised, decodes) == (name != "semantic-ids", name == "semantic-ids")


def test_a_random_language_model_is_a_copy_for_each_seed(tmp_path: Path) -> None:
    bert = tiny_bert(tmp_path / "bert")
    variant = Variant(about="random weights", random_language=True)
    language = PretrainedOptions(model=str(bert))
    first, second = (
        variant.with_random_language(tiny_config(seed=seed, language=language.model_dump()), tmp_path).language.model
        for seed in (0, 1)
    )
    assert len({str(bert), first, second}) == 3
    with pytest.raises(ConfigError, match="kind pretrained"):
        variant.with_random_language(tiny_config(), tmp_path)
    config = tiny_config()
    assert SHIPPED["deftrec/minilm"].with_random_language(config, tmp_path) is config


def test_choosing() -> None:
    assert choose_variants(SHIPPED, None) == SHIPPED
    assert list(choose_variants(SHIPPED, "eps, deftrec/k-2")) == ["deftrec/eps", "deftrec/k-2"]
    with pytest.raises(ConfigError, match=r"'pairwize': .*did you mean 'deftrec/pairwise'\? There are: .*deftrec/k-2"):
        choose_variants(SHIPPED, "pairwize")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("- 1\n", r"no list of variants \("),
        ("a: [\n", "not YAML: "),
        ("deftrec/x: {about: y}\ndeftrec/x: {about: z}\n", "'deftrec/x' stands there twice"),
        ("deftrec/x: {set: {}}\n", r"no list of variants \("),
        ("deftrec/x: {about: y, colour: z}\n", r"no list of variants \("),
    ],
)
def test_what_is_no_list_of_variants(content: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=f"mine.yaml: {reason}"):
        load_variants(file)
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read: No such file"):
        load_variants(tmp_path / "none.yaml")
