"""The doctor's figures: those of a model that was really built, and known in closed form where nothing was."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from deftrec import Recommender
from deftrec.batch import Batch
from deftrec.config import Config
from deftrec.diffusion import Sampling
from deftrec.doctor import Examination, Subject, examination, examine, subject_of
from deftrec.doctor.skeleton import build_skeleton
from deftrec.ensemble import Model, build_model, members_of
from deftrec.errors import ConfigError
from deftrec.language import Layout
from deftrec.pretrained_files import architecture
from deftrec.recipe import load_recipe, resolve
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from toy import ring, tiny_config, tiny_model

ITEMS, WIDTH = 24, 16
PROMPT = "next : {history}"


def subject(config: Config, items: int = ITEMS, text: int = 0) -> Subject:
    return Subject("toy", resolve(config, Sizes(positions=1, interactions=1, users=1, items=items)), items, WIDTH, text)


def toy(**groups: Any) -> Config:
    return tiny_config(**{"data": {"max_history": 12}, **groups})


def language(folder: Path, **options: Any) -> dict[str, Any]:
    return {"kind": "pretrained", "model": str(folder), "prompts": (PROMPT,), **options}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: tiny_model(kind, tmp_path_factory.mktemp(kind)) for kind in ("llama", "bert", "t5")}


VARIANTS: dict[str, dict[str, Any]] = {
    "nano": {},
    "ways": {"tokenizer": {"ways": 3}},
    "folded": {"tokenizer": {"users": "folded"}},
    "members": {"training": {"ensemble_size": 2}},
    "steps": {"diffusion": {"steps": 5, "samples": 2}},
    "guided": {"diffusion": {"condition_dropout": 0.1, "guidance_scale": 1.0}},
    "frozen-features": {"tokenizer": {"trainable_features": False}},
    "llama-lora": {"language": {"tuning": "lora"}},
    "llama-full": {"language": {"tuning": "full"}},
    "bert-frozen": {"language": {"tuning": "frozen"}},
    "t5-lora": {"language": {"tuning": "lora"}},
}


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Config:
    groups = dict(VARIANTS[request.param])
    if "language" in groups:
        groups["language"] = language(folders[request.param.split("-")[0]], **groups["language"])
    return toy(**groups)


def build(asked: Subject) -> Model:
    """The same model with values, on the CPU."""
    features = ItemFeatures(torch.randn(asked.items, WIDTH), slice(0, WIDTH), slice(WIDTH, WIDTH))
    return build_model(features, asked.config, asked.domain)


def test_a_skeleton_has_the_parameters_of_the_model(config: Config) -> None:
    asked = subject(config)
    found, model = examine(asked), build(asked)
    assert sum(found.parameters.values()) == sum(p.numel() for p in model.parameters())
    assert found.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    assert found.serving_bytes["weights"] == held
    assert found.training_bytes["weights"] == held
    trained = 4 * found.trained // found.members  # one member at a time learns
    assert found.training_bytes["gradients"] == trained
    assert found.training_bytes["AdamW states"] == 2 * trained


def test_the_work_is_that_of_the_model(config: Config) -> None:
    asked = subject(config)
    members = members_of(build(asked))
    places = torch.arange(12)[None]
    tokens = [member.eval().item_tokenizer(member.features.values.detach()).ways.detach() for member in members]
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused kernels are not counted
        for member, ways in zip(members, tokens, strict=True):
            condition = member.condition(ways, member.features.values.detach(), places, Layout(places * 0, places))
            member.diffusion.generate(condition[:, -1].float(), Sampling.of(config.diffusion))
    work = examine(asked).flops_per_user
    assert work["language model"] + work["denoising"] == counter.get_total_flops()
    scored = 2 * ITEMS * members[0].language.width * len(members)
    assert work.get("scoring", 0) == scored


def test_activations_are_what_autograd_keeps(config: Config) -> None:
    """Of the whole forward pass with its losses; the estimate leaves those out."""
    asked = subject(config, items=300)
    model = members_of(build(asked))[0].train()
    rows = int(asked.config.training.batch_positions) // 12
    items, places = torch.randint(300, (rows, 12)), torch.arange(12).expand(rows, 12)
    batch = Batch(torch.arange(300), items, torch.roll(items, -1, 1), Layout(places * 0, places))
    kept = examination._Kept(model)
    with kept:
        model(batch)
    estimate = examine(asked).training_bytes["activations (estimate)"]
    assert 0.6 * kept.bytes < estimate < 1.2 * kept.bytes


def test_checkpointing_is_counted(folders: dict[str, Path]) -> None:
    def kept(**options: Any) -> int:
        asked = subject(toy(language=language(folders["llama"], tuning="lora", **options)))
        return examine(asked).training_bytes["activations (estimate)"]

    assert kept(gradient_checkpointing=True) < 0.8 * kept()


def test_a_longer_history_and_a_larger_catalogue_cost_more() -> None:
    small, long = (examine(subject(toy(data={"max_history": max_history}))) for max_history in (12, 24))
    assert long.flops_per_user["language model"] > 2 * small.flops_per_user["language model"]
    assert long.flops_per_user["denoising"] == small.flops_per_user["denoising"]
    large = examine(subject(toy(), items=10 * ITEMS))
    assert large.flops_per_user["scoring"] == 10 * small.flops_per_user["scoring"]
    assert large.flops_per_user["language model"] == small.flops_per_user["language model"]


# -- models that are not at hand ---------------------------------------------------------------------------------------

RECIPES = {
    "llama-3.2-1b": ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400),
    "qwen3-0.6b": ("Qwen/Qwen3-0.6B", 596_049_920),
    "smollm2-135m": ("HuggingFaceTB/SmolLM2-135M", 134_515_008),
}


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> Path:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(architecture, "from_hub", asked)
    monkeypatch.setattr(architecture, "cached_architecture", lambda *_: None)


@pytest.mark.usefixtures("_no_hub")
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_of_large_models(recipe: str) -> None:
    """Their sizes are as published, and what is trained is the adapter and what DeftRec adds."""
    name, parameters = RECIPES[recipe]
    assert load_recipe(recipe).language.model == name  # type: ignore[union-attr]
    found = examine(subject_of(recipe, overrides=["tokenizer.trainable_features=false"]))
    assert found.parameters["language model"] == parameters
    assert (found.architecture, found.tuning, found.members) == ("packaged copy", "lora", 1)
    assert found.trained == sum(found.parameters[part] for part in ("adapter", "tokenizer", "head"))
    assert found.trained < 0.1 * parameters
    others = sum(found.parameters.values()) - parameters
    assert found.training_bytes["weights"] == pytest.approx(2 * parameters + 4 * others, rel=1e-4)  # bf16, and fp32
    assert any("packaged copy" in note for note in found.notes)
    assert any("estimated" in note for note in found.notes)
    assert not any("sharded" in note for note in found.notes)
    apart = examine(subject_of(recipe, overrides=["training.sharded=true"]))
    assert any("sharded" in note for note in apart.notes)


@pytest.mark.usefixtures("_no_hub")
def test_work_of_llama_in_closed_form() -> None:
    """Twice the weights of every linear layer for every token, and attention over the whole row."""
    found = examine(subject_of("llama-3.2-1b", overrides=["language.tuning=frozen"]))
    T = found.prompt_tokens + found.history_tokens
    linear = 16 * (2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192)
    attention = 16 * 2 * 2 * T * T * 2048
    assert found.flops_per_user["language model"] == 2 * linear * T + attention


@pytest.mark.usefixtures("_no_hub")
def test_four_bits_are_counted() -> None:
    lora, nf4 = (examine(subject_of("llama-3.2-1b", overrides=[f"language.tuning={name}"])) for name in ("lora", "nf4"))
    linear = 16 * (2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192)
    saved = lora.training_bytes["weights"] - nf4.training_bytes["weights"]
    assert saved == pytest.approx(linear * (16 - 4.127) / 8, rel=1e-3)
    assert nf4.trained == lora.trained


@pytest.mark.usefixtures("_no_hub")
def test_every_packaged_shape_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture, "present_folder", lambda model: None)
    root = architecture.PACKAGED
    packaged = {str(file.parent.relative_to(root)) for file in root.rglob("config.json")}
    assert {name for name, _ in RECIPES.values()} | {"minilm", "smollm2"} == packaged
    found = examine(subject_of("minilm"))
    assert (found.language_model, found.architecture) == ("minilm", "packaged copy")
    assert found.parameters["language model"] == 22_565_376


def test_the_packaged_minilm_is_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = examine(subject_of("minilm"))
    if real.architecture != "local folder":
        pytest.skip("all-MiniLM-L6-v2 is not installed")
    monkeypatch.setattr(architecture, "present_folder", lambda model: None)
    packaged = examine(subject_of("minilm"))
    assert packaged.parameters == real.parameters
    assert abs(packaged.prompt_tokens - real.prompt_tokens) <= 4  # an estimate


# -- what can be examined ----------------------------------------------------------------------------------------------


def test_a_run_is_examined_as_it_was_trained(folders: dict[str, Path], tmp_path: Path) -> None:
    options = toy(language=language(folders["llama"], tuning="lora"), training={"epochs": 1})
    recommender = Recommender.fit(ring(), options, out=tmp_path / "run")
    found = examine(subject_of(str(tmp_path / "run")))
    assert sum(found.parameters.values()) == recommender.info.parameters
    assert found.items == recommender.interactions.n_items
    shutil.rmtree(tmp_path / "run" / "logs")
    more = examine(subject_of(str(tmp_path / "run"), items=1000))
    assert more.items == 1000
    assert more.parameters["language model"] == found.parameters["language model"]


def test_a_recipe_with_data_is_resolved_for_them(tmp_path: Path) -> None:
    ring().save(tmp_path / "data")
    with_data = subject_of("nano", data=tmp_path / "data")
    assert with_data.items == 24
    assert with_data.assumed == ()
    without = subject_of("default", items=500)
    assert without.items == 500
    assert "auto" not in {without.config.data.max_history, without.config.training.ensemble_size}
    assert "500 users of 20 interactions" in without.assumed[0]
    assert without.text_width == 384


def test_the_hub_is_asked_for_one_small_file(hub: Any, folders: dict[str, Path]) -> None:
    hub.serve(folders["llama"])
    found = examine(subject(toy(language=language(Path("group/model"), tuning="lora"))))
    assert found.architecture == "hub"
    assert [path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path and "config.json" not in path] == []
    here = examine(subject(toy(language=language(folders["llama"], tuning="lora"))))
    assert found.parameters == here.parameters
    again = examine(subject(toy(language=language(Path("group/model"), tuning="lora"))))
    assert again.architecture == "hub cache"


def test_a_model_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a local folder nor a hub id"):
        build_skeleton(subject(toy(language=language(tmp_path / "absent"))))


def test_json_has_the_sums() -> None:
    found: Examination = examine(subject(toy()))
    written = found.to_json_dict()
    assert written["total_parameters"] == sum(found.parameters.values())
    assert written["trained_share"] == found.trained / written["total_parameters"]
    assert written["total_training_bytes"] == sum(found.training_bytes.values())
    assert written["total_flops_per_user"] == sum(found.flops_per_user.values())
