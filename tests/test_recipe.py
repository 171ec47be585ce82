"""Recipes: YAML and `--set` become options, and every mistake is named."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deftrec import Config, load_recipe
from deftrec.config import NanoOptions, PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.recipe import build_config, recipes_folder, resolve, shipped_recipes
from deftrec.sizes import Size, Sizes, sized_values

SHIPPED = shipped_recipes()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads(name: str) -> None:
    config = load_recipe(name)
    assert Config.model_validate_json(config.model_dump_json()) == config
    file = "fast" if name == "default" else name  # another name of it
    assert load_recipe(str(recipes_folder() / f"{file}.yaml")) == config


def test_default_and_nano_are_shipped() -> None:
    assert {"default", "nano"} <= set(SHIPPED)
    assert isinstance(load_recipe("nano").language, NanoOptions)


def test_a_file_and_overrides(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 3\ntraining:\n  epochs: 7\n  learning_rate: 1.0e-3\n")
    config = load_recipe(
        str(file),
        [
            "training.epochs=9",
            "training.learning_rate=2e-3",
            "text.model=some/name",
            "language.kind=pretrained",
            "language.prompts=['next: {history}']",
            "tokenizer.trainable_features=false",
            "data.max_history=auto",
        ],
    )
    assert (config.seed, config.training.epochs, config.training.learning_rate) == (3, 9, 2e-3)
    assert config.text.model == "some/name"
    assert isinstance(config.language, PretrainedOptions)
    assert config.language.prompts == ("next: {history}",)
    assert config.tokenizer.trainable_features is False
    assert config.data.max_history == "auto"
    assert load_recipe(str(file)).training.epochs == 7  # overrides leave the recipe as it is


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "empty.yml").write_text("# nothing\n")
    assert load_recipe(str(tmp_path / "empty.yml")) == Config()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainng.epochs=5", "unknown option 'trainng'; did you mean 'training'?"),
        ("training.epoch=5", "unknown option 'training.epoch'; did you mean 'training.epochs'?"),
        ("epochs=5", "unknown option 'epochs'; did you mean 'training.epochs'?"),
        ("diffusion.guidance=1", "did you mean 'diffusion.guidance_scale'?"),
        ("language.widht=64", "unknown option 'language.widht'; did you mean 'language.width'?"),
        ("language.tuning=lora", "option 'language.tuning' is of another language.kind"),
        ("retrieval.prior_max_item=5", "did you mean 'retrieval.prior_max_items'?"),
        ("training.epochs=many", "option 'training.epochs': Input should be a valid integer"),
        ("training.epochs=many", "or 'auto', not 'many'"),
        ("training.epochs=0", "option 'training.epochs': Input should be greater than or equal to 1, or 'auto', not 0"),
        ("training.learning_rate=-1", "option 'training.learning_rate': Input should be greater than 0"),
        ("tokenizer.trainable_features=maybe", "option 'tokenizer.trainable_features': "),
        ("tokenizer.mask_features=1", "option 'tokenizer.mask_features': Input should be less than 1, not 1"),
        ("data.split=random", "option 'data.split': Input should be 'leave-one-out' or 'temporal', not 'random'"),
        ("language.kind=gpt", "'nano', 'pretrained'"),
        ("language.width=30", "should be a multiple of 4"),
        ("training=5", "`overrides=...`: training is a group of options, not 5"),
        ("seed=-1", "`overrides=...`: option 'seed': "),
        ("size=huge", "option 'size': Input should be 'small', 'medium', 'large' or 'auto', not 'huge'"),
        ("language={layers: 1}", "`overrides=...`: language needs kind: nano or kind: pretrained"),
        ("retrieval.prior_max_items=-1", "option 'retrieval.prior_max_items': "),
        ("diffusion.guidance_scale=1", "needs condition_dropout above 0"),
        ("diffusion.samples=-1", "option 'diffusion.samples': Input should be greater than or equal to 0"),
        ("seed", "`overrides='seed'`: write key=value"),
        ("=3", "write key=value"),
        ("seed=[", "the value is not YAML"),
        ("seed.deep=1", "'seed' is a value, not a group"),
    ],
)
def test_mistakes_are_named(override: str, message: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("seed: 1\nlanguage: {kind: nano}\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(recipe), [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("`overrides=")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"language": {"kind": "pretrained", "prompts": ["before {history} after"]}}, "must end with the placeholder"),
        ({"language": {"kind": "pretrained", "prompts": ["{user} likes {history}"]}}, "{domain} and {history}"),
        ({"collaborative": {"encoder": "none"}, "text": {"model": None}}, "items have no vectors"),
        ({"language": {"kind": "pretrained", "condition": "reasoning"}}, "set reasoning.weight above 0"),
    ],
)
def test_senseless_combinations_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(values, "here")
    assert message in str(caught.value)
    assert str(caught.value).startswith("here: ")


def test_what_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'defualt'; give a YAML file or one of: .*default"):
        load_recipe("defualt")
    for name, content in (("list", "- 1\n"), ("broken", "a: [\n"), ("text", "words\n")):
        file = tmp_path / f"{name}.yaml"
        file.write_text(content)
        with pytest.raises(ConfigError, match=f"{name}.yaml: "):
            load_recipe(str(file))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not YAML"):
        load_recipe(str(tmp_path / "bytes.yaml"))


def test_mistakes_of_the_recipe_are_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    for content, message in (
        ("language: {layers: 1}\n", "language needs kind: nano or kind: pretrained"),
        ("training:\n", "training is a group of options"),
        ("sed: 1\n", "unknown option 'sed'; did you mean 'seed'?"),
        ("seed: 1\ntext: {}\nseed: 2\n", "'seed' stands there twice (lines 1 and 3); put them together"),
        ("data: {window: 9, window: 8}\n", "'window' stands there twice (lines 1 and 1); put them together"),
    ):
        file.write_text(content)
        for overrides in ([], ["training.epochs=3"], ["seed=-1"]):
            with pytest.raises(ConfigError) as caught:
                load_recipe(str(file), overrides)
            assert str(caught.value) == f"{file}: {message}"


def test_a_name_with_a_folder_is_a_path() -> None:
    for name in ("mine/nano", "./nano"):
        with pytest.raises(ConfigError, match=f"no recipe '{name}'; give a YAML file"):
            load_recipe(name)


def test_options_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().seed = 3  # type: ignore[misc]


@given(
    positions=st.integers(0, 10**7),
    interactions=st.integers(0, 10**7),
    users=st.integers(0, 10**6),
    items=st.integers(1, 10**6),
)
def test_nothing_stays_automatic(positions: int, interactions: int, users: int, items: int) -> None:
    config = resolve(Config(), Sizes(positions=positions, interactions=interactions, users=users, items=items))
    assert "auto" not in str(config.model_dump(exclude={"training": {"precision"}}))
    # The resolved values are themselves valid, and adapting them again changes nothing.
    again = Config.model_validate_json(config.model_dump_json())
    assert again == config == resolve(again, Sizes(positions=1, interactions=1, users=1, items=1))


@pytest.mark.parametrize("positions", [1, 10**6])
def test_what_is_adapted_is_a_configuration(positions: int) -> None:
    config = resolve(Config(), Sizes(positions=positions, interactions=1, users=1, items=1))
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_what_is_set_is_not_adapted() -> None:
    options = {"training": {"epochs": 3, "learning_rate": 0.5}, "tokenizer": {"trainable_features": False}}
    config = resolve(build_config(options, "test"), Sizes(positions=10**6, interactions=10**6, users=10, items=10))
    assert (config.training.epochs, config.training.learning_rate) == (3, 0.5)
    assert config.tokenizer.trainable_features is False
    assert config.training.batch_positions != "auto"


@pytest.mark.parametrize(
    ("seen", "repeated", "repeats", "last"),
    [
        ("exclude", 0.2, False, False),
        ("keep", 0.2, True, False),
        ("keep", 0.002, True, False),
        ("keep", 0.0005, False, True),
        ("keep", 0.0, False, True),
    ],
)
def test_seen_items_are_learnt_where_they_are_taken_again(
    seen: str, repeated: float, repeats: bool, last: bool
) -> None:
    config = build_config({"retrieval": {"seen": seen}}, "test")
    config = resolve(config, Sizes(positions=1000, interactions=1000, users=100, items=10, repeated=repeated))
    assert (config.objective.mask_seen, config.repeats, config.seen_last) == (not repeats, repeats, last)


@pytest.mark.parametrize(
    ("positions", "interactions", "users", "items", "share", "learn"),
    [
        (5_000, 8_000, 1_300, 800, 0.5, False),  # little
        (50_000, 52_000, 1_100, 3_600, 0.1, False),
        (38_000, 45_000, 7_300, 7_300, 0.5, True),  # more, but few takers an item and short histories
        (130_000, 153_000, 22_000, 12_000, 0.5, True),
        (97_000, 98_000, 943, 1_682, 0.1, False),
        (270_000, 275_000, 2_000, 3_300, 0.1, True),  # long histories
        (270_000, 290_000, 20_000, 3_300, 0.1, False),
        (800_000, 810_000, 6_000, 3_400, 0.1, True),
    ],
)
def test_where_items_have_few_takers_half_of_them_stand_without(
    positions: int, interactions: int, users: int, items: int, share: float, learn: bool
) -> None:
    config = resolve(
        load_recipe("default"), Sizes(positions=positions, interactions=interactions, users=users, items=items)
    )
    assert config.tokenizer.drop_collaborative == share
    assert config.tokenizer.trainable_features is learn


# positions, interactions, users, items of train (leave-one-out), and what was chosen on validation for them.
DEVELOPMENT = {
    "software": (
        Sizes(5_269, 6_620, 1_351, 778),
        (64, 1024, 120, 0.5, "none", False, 64, 2, 0.3, 1.5e-3, 1024, 40, 4),
    ),
    "lastfm": (
        Sizes(49_397, 50_488, 1_091, 3_685),
        (64, 1262, 120, 0.1, "folded", False, 64, 2, 0.3, 1e-3, 2048, 20, 3),
    ),
    "ml-100k": (
        Sizes(97_171, 98_114, 943, 1_682),
        (128, 2452, 120, 0.1, "folded", False, 64, 2, 0.2, 2e-3, 2048, 20, 2),
    ),
    "beauty": (
        Sizes(131_413, 153_776, 22_363, 12_101),
        (64, 3844, 60, 0.5, "none", True, 64, 2, 0.3, 2e-3, 2048, 12, 2),
    ),
    "ml1m": (
        Sizes(817_675, 823_713, 6_038, 3_307),
        (200, 54914, 40, 0.1, "folded", True, 128, 2, 0.1, 1.5e-3, 2048, 16, 1),
    ),
}


@pytest.mark.parametrize("name", DEVELOPMENT)
def test_measured_data_gets_the_measured_values(name: str) -> None:
    sizes, expected = DEVELOPMENT[name]
    assert tuple(sized_values(sizes).values()) == expected
    config = resolve(load_recipe("default"), sizes)
    assert isinstance(config.language, NanoOptions)
    assert (config.data.max_history, config.collaborative.batch_size, config.collaborative.epochs) == expected[:3]
    tokenizer = config.tokenizer
    assert (tokenizer.drop_collaborative, tokenizer.users, tokenizer.trainable_features) == expected[3:6]
    assert (config.language.width, config.language.layers, config.language.dropout) == expected[6:9]
    training = config.training
    assert (training.learning_rate, training.batch_positions, training.epochs) == expected[9:12]
    assert training.ensemble_size == expected[12]
    assert training.patience == max(4, expected[11] // 4)
    assert config.collaborative.encoder == "lightgcn"


UNITS = {"max_history": 8, "width": 16, "batch_positions": 64}
"""Rounding of the numbers; 1 for the other integers."""
LARGEST_STEP = 1.2
"""Largest ratio between the values of neighbours, whose sizes differ by a tenth, before a unit of rounding."""


def walks(interactions_per_item: float) -> Iterator[list[Sizes]]:
    """Data of growing size at every history length, and of growing length at every size, each step by a tenth."""
    lengths = [3 * 1.1**n for n in range(55)]  # to 515
    positions = [1_000 * 1.1**n for n in range(122)]  # to 102 M

    def sizes(count: float, length: float) -> Sizes:
        users = max(1, round(count / length))
        interactions = round(count + users)
        return Sizes(round(count), interactions, users, max(1, round(interactions / interactions_per_item)))

    yield from ([sizes(count, length) for count in positions] for length in lengths)
    yield from ([sizes(count, length) for length in lengths] for count in positions)


@pytest.mark.parametrize("size", ["small", "auto", "large"])
@pytest.mark.parametrize("interactions_per_item", [8.0, 32.0, 200.0])
def test_no_number_jumps_between_neighbours(interactions_per_item: float, size: Size) -> None:
    switches = {"users": 0, "trainable_features": 0}
    for walk in walks(interactions_per_item):
        resolved = [sized_values(sizes, size) for sizes in walk]
        for sizes, (before, after) in zip(walk, pairwise(resolved), strict=False):
            for name, one in before.items():
                other = after[name]
                if name in switches:
                    continue
                low, high = min(one, other), max(one, other)
                unit = UNITS.get(name, 1) if isinstance(low, int) else 0
                assert high <= low * LARGEST_STEP + unit, (name, sizes, one, other)
        for name in switches:
            changes = sum(one[name] != other[name] for one, other in pairwise(resolved))
            switches[name] = max(switches[name], changes)
    assert max(switches.values()) <= 2, "a switch is a line across the sizes, and a walk crosses it once or twice"


@pytest.mark.parametrize("interactions_per_item", [16.0, 60.0])
@pytest.mark.parametrize("positions", [5_000, 60_000, 400_000])
def test_density_moves_values_smoothly(positions: int, interactions_per_item: float) -> None:
    walk = [Sizes(positions, positions * 5 // 4, positions // 4, round(positions * 5 / 4 / d)) for d in (
        interactions_per_item * 1.1**n for n in range(20)
    )]  # fmt: skip
    for before, after in pairwise(sized_values(sizes)["drop_collaborative"] for sizes in walk):
        assert max(before, after) <= LARGEST_STEP * min(before, after)


def test_the_dial_grows_what_it_derives() -> None:
    sizes = DEVELOPMENT["ml-100k"][0]
    small, medium, auto, large = (
        resolve(load_recipe("default", [f"size={size}"]), sizes) for size in ("small", "medium", "auto", "large")
    )
    assert (small.training.epochs, medium.training.epochs, large.training.epochs) == (4, 20, 20)
    assert [one.training.ensemble_size for one in (small, medium, auto, large)] == [1, 1, 2, 4]
    assert isinstance(large.language, NanoOptions)
    assert (large.language.width, large.language.layers) == (128, 3)
    assert (small.collaborative.encoder, medium.collaborative.encoder) == ("spectral", "lightgcn")
    assert small.training.learning_rate == medium.training.learning_rate
    fixed = resolve(load_recipe("default", ["size=small", "training.epochs=7", "training.ensemble_size=2"]), sizes)
    assert (fixed.training.epochs, fixed.training.ensemble_size) == (7, 2), "what is set stays"
