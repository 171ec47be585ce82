"""The list of variants: each goes together with the recipes, and changes what it says."""

from pathlib import Path

import pytest
from studies.ablation import choose_variants, load_variants

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.recipe import load_recipe, resolve, shipped_recipes
from deftrec.sizes import Sizes
from toy import tiny_config

SHIPPED = load_variants()
SIZES = {"positions": 5000, "interactions": 6000, "users": 1000, "items": 900}


@pytest.mark.parametrize("recipe", ["default", "ml-100k", "nano"])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_variant_is_a_change_of_every_recipe(name: str, recipe: str) -> None:
    base = load_recipe(recipe, ["seed=3"] if recipe != "nano" else ["seed=3", "text.model=minilm"])
    config = SHIPPED[name].config(base)
    assert config.seed == 3
    assert config.retrieval.prior == "none"
    assert config.training.ensemble_size == (4 if name == "deftrec/members" else 1)
    if SHIPPED[name].recipe is None and name not in {"deftrec/mask-0", "deftrec/minilm"}:
        assert resolve(config, Sizes(**SIZES)) != base  # mask-0 is the default, minilm one recipe's


def test_there_is_a_variant_for_every_claim() -> None:
    wanted = "vq rq semantic-ids regression cross-entropy no-negatives pairwise preference k-2 k-4 k-8 mask-0 mask-0.2"
    wanted += " mask-0.5 no-modality-mask no-user-tokens user-tokens no-text no-collaborative frozen-tokenizer eps"
    wanted += " unrolled unrolled-control unrolled-3 unrolled-3-control minilm minilm-random minilm-lora minilm-frozen"
    wanted += " minilm-upper minilm-titles members authors"
    assert set(SHIPPED) == {f"deftrec/{name}" for name in wanted.split()}
    assert all(variant.about for variant in SHIPPED.values())
    assert "ablations" not in shipped_recipes()


def test_a_change_of_kind_leaves_nothing_of_the_old_one() -> None:
    config = SHIPPED["deftrec/minilm"].config(tiny_config())  # whose nano has a width of its own
    assert isinstance(config.language, PretrainedOptions)
    assert config.language == PretrainedOptions()
    assert config.training.batch_positions == tiny_config().training.batch_positions


def test_another_recipe_takes_the_place_of_the_one_asked_for() -> None:
    config = SHIPPED["deftrec/authors"].config(load_recipe("default", ["seed=5", "training.epochs=3"]))
    assert config == load_recipe("authors", ["seed=5", "training.ensemble_size=1"])


def test_choosing() -> None:
    assert choose_variants(SHIPPED, None) == SHIPPED
    assert list(choose_variants(SHIPPED, "eps, deftrec/vq")) == ["deftrec/eps", "deftrec/vq"]
    with pytest.raises(ConfigError, match=r"'pairwize': .*did you mean 'deftrec/pairwise'\? There are: .*deftrec/vq"):
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
