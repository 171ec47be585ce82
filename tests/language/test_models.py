"""Language models: causal, indifferent to packing, and the same as the model they wrap."""

from pathlib import Path
from typing import Any

import pytest
import torch
from asking import PROMPT, D, lay, pretrained
from torch import Tensor
from transformers import AutoModel

from deftrec.config import NanoOptions, PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.language import LanguageModel, Layout, build_language_model
from toy import tiny_bert

KINDS = ["bert", "roberta", "llama", "qwen3", "gemma3_text", "t5", "bart"]
VARIANTS = [f"{kind}-{attention}" for kind in KINDS for attention in ("eager", "sdpa")]


@pytest.fixture(params=["nano", *VARIANTS, "llama-lora", "t5-lora"])
def language(request: pytest.FixtureRequest, folders: dict[str, Path]) -> LanguageModel:
    if request.param == "nano":
        options = NanoOptions(width=D, layers=2, dropout=0.3)
        return build_language_model(options, domain="items", ways=3, max_history=6).eval()
    name, variant = request.param.split("-")
    if variant == "lora":
        return with_a_moved_adapter(pretrained(folders[name], tuning="lora"))
    return pretrained(folders[name], attention=variant)


def with_a_moved_adapter(model: LanguageModel) -> LanguageModel:
    """An adapter starts as zero; after training it is not."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(params=[1, 3])
def ways(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def test_who_sees_whom() -> None:
    attention_mask = lay([2, 1], width=4).attention_mask()[0]
    assert attention_mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@torch.no_grad()
def test_packed_equals_separate(language: LanguageModel, ways: int) -> None:
    histories = [torch.randn(length, ways, D) for length in (4, 2, 6, 1)]
    alone = [language(one[None], lay([len(one)]))[0] for one in histories]
    empty = torch.randn(3, ways, D)  # what lies at an empty place is not read
    together = language(torch.cat([*histories, empty])[None], lay([4, 2, 6, 1], width=16))[0]
    start = 0
    for expected in alone:
        torch.testing.assert_close(together[start : start + len(expected)], expected, atol=2e-5, rtol=1e-4)
        start += len(expected)
    assert together.isfinite().all()


@torch.no_grad()
def test_padding_is_not_read_on_either_side(language: LanguageModel, ways: int) -> None:
    lengths, width = (4, 1, 6), 9
    tokens = [torch.randn(length, ways, D) for length in lengths]
    answers = []
    for left in (False, True):
        layout = lay(*([length] for length in lengths), width=width, left=left)
        padded = torch.randn(len(lengths), width, ways, D)  # what lies at an empty place is not read
        filled = layout.segments == 0
        padded[filled] = torch.cat(tokens)
        answers.append(language(padded, layout)[filled])
    alone = torch.cat([language(one[None], lay([len(one)]))[0] for one in tokens])
    for found in answers:
        torch.testing.assert_close(found, alone, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_rows_do_not_see_each_other(language: LanguageModel, ways: int) -> None:
    tokens, layout = torch.randn(2, 6, ways, D), lay([6], [2, 3], width=6)
    both = language(tokens, layout)
    for row in range(2):
        one = Layout(layout.segments[row : row + 1], layout.positions[row : row + 1])
        torch.testing.assert_close(language(tokens[row : row + 1], one)[0], both[row], atol=2e-5, rtol=1e-4)


def test_nothing_sees_what_comes_later(language: LanguageModel, ways: int) -> None:
    tokens = torch.randn(1, 6, ways, D)
    with torch.no_grad():
        before = language(tokens, lay([6]))[0]
        for place in range(6):
            changed = tokens.clone()
            changed[:, place] = torch.randn(ways, D)
            after = language(changed, lay([6]))[0]
            torch.testing.assert_close(after[:place], before[:place], atol=1e-6, rtol=1e-5)
            same = torch.isclose(after[place:], before[place:], atol=1e-4)
            assert not same.all(1).any()  # all that is earlier counts
    tokens.requires_grad_()
    (language(tokens, lay([6]))[0, 2] * torch.randn(D)).sum().backward()  # norms of layer norms never change
    assert tokens.grad is not None
    norms = tokens.grad[0].flatten(1).norm(dim=1)
    assert (norms[:3] > 1e-6).all()
    assert (norms[3:] == 0).all()


@torch.no_grad()
def test_every_token_of_an_item_is_read(language: LanguageModel) -> None:
    tokens = torch.randn(1, 4, 3, D)
    before = language(tokens, lay([4]))[0, 1]
    for way in range(3):
        changed = tokens.clone()
        changed[0, 1, way] = torch.randn(D)
        assert not torch.isclose(language(changed, lay([4]))[0, 1], before, atol=1e-4).all()


@torch.no_grad()
def test_order_matters(language: LanguageModel) -> None:
    tokens = torch.randn(1, 4, 1, D)
    swapped = tokens[:, [1, 0, 2, 3]]
    left, right = (language(one, lay([4]))[0, 3] for one in (tokens, swapped))
    assert not torch.isclose(left, right, atol=1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", KINDS)
def test_it_is_the_model_it_wraps_run_causally(name: str, attention: str, ways: int, folders: dict[str, Path]) -> None:
    """Words, then tokens, through the library's own positions and, where it has one, its own causal mask."""
    language = pretrained(folders[name], attention=attention)
    own_mask = {"is_decoder": True} if name in {"bert", "roberta"} else {}
    oracle = AutoModel.from_pretrained(folders[name], attn_implementation=attention, **own_mask).eval()
    mask = None
    tokens = torch.randn(2, 5, ways, D)
    P = len(language.prompts.before[0])
    if oracle.config.is_encoder_decoder:
        oracle = oracle.get_encoder()
        mask = torch.ones(P + 5 * ways, P + 5 * ways).tril()[None, None].log().clamp_min(-1e9).expand(2, 1, -1, -1)
    words = oracle.get_input_embeddings()(torch.tensor(language.prompts.before[0]))
    average = oracle.get_input_embeddings()(torch.arange(oracle.config.vocab_size)).norm(dim=-1).mean()
    flat = torch.nn.functional.normalize(tokens, dim=-1).flatten(1, 2) * average
    embeddings = torch.cat([words.expand(2, -1, -1), flat], 1)
    hidden = oracle(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
    expected = hidden[:, P:].unflatten(1, (5, ways))[:, :, -1]
    torch.testing.assert_close(language(tokens, lay([5], [5])), expected, atol=2e-5, rtol=1e-4)


def test_the_prompt_is_read(folders: dict[str, Path]) -> None:
    one, other = (pretrained(folders["bert"], prompts=(f"{words} {{history}}",)) for words in ("likes {domain}", "a"))
    tokens = torch.randn(1, 3, 1, D)
    assert not torch.isclose(one(tokens, lay([3])), other(tokens, lay([3])), atol=1e-4).all(2).any()
    vocabulary = {number: word for word, number in _tokenizer(folders["bert"]).get_vocab().items()}
    assert [vocabulary[n] for n in one.prompts.before[0]] == ["[CLS]", "likes", "old", "red", "items"]


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def learnt(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", KINDS)
def test_what_each_tuning_trains(name: str, folders: dict[str, Path]) -> None:
    frozen = pretrained(folders[name], tuning="frozen")
    assert learnt(frozen) == {"scale"}
    full = pretrained(folders[name], tuning="full")
    everything = {parameter for parameter, _ in full.named_parameters()}
    words = {parameter for parameter in everything if "word_embeddings" in parameter or "embed_tokens" in parameter}
    assert len(words) == 1
    assert learnt(full) == everything - words
    lora = pretrained(folders[name], tuning="lora", lora_rank=2)
    assert all("lora_" in parameter for parameter in learnt(lora) - {"scale"})
    adapted = {parameter.split(".lora_")[0].split(".")[-1] for parameter in learnt(lora) - {"scale"}}
    linear = {"bert": "query key value dense", "roberta": "query key value dense", "t5": "q k v o wi wo"}
    linear |= {"bart": "q_proj k_proj v_proj out_proj fc1 fc2"}
    assert adapted == set(linear.get(name, "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj").split())
    for model in (frozen, full, lora):
        model.train()
        tokens: Tensor = torch.randn(2, 4, 1, D, requires_grad=True)
        model(tokens, lay([4], [3, 1])).square().sum().backward()
        assert tokens.grad is not None
        assert tokens.grad.abs().sum() > 0
        for parameter_name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, parameter_name


def test_an_adapter_starts_as_the_model_itself(folders: dict[str, Path]) -> None:
    tokens = torch.randn(1, 4, 1, D)
    lora, frozen = (pretrained(folders["bert"], tuning=tuning) for tuning in ("lora", "frozen"))
    torch.testing.assert_close(lora(tokens, lay([4])), frozen(tokens, lay([4])))


@pytest.mark.parametrize("name", ["nano", *KINDS])
def test_dropout_is_for_training_only(name: str, folders: dict[str, Path]) -> None:
    tokens = torch.randn(1, 4, 1, D)
    if name == "nano":
        options = NanoOptions(width=D, layers=2, dropout=0.5)
        model: LanguageModel = build_language_model(options, domain="", ways=3, max_history=6)
    else:
        model = pretrained(folders[name], dropout=0.5)
    model.eval()
    assert torch.equal(model(tokens, lay([4])), model(tokens, lay([4])))
    model.train()
    assert not torch.equal(model(tokens, lay([4])), model(tokens, lay([4])))


@pytest.mark.parametrize("name", KINDS)
def test_tokens_get_the_size_of_words(name: str, folders: dict[str, Path]) -> None:
    model = pretrained(folders[name])
    table = model.model.get_input_embeddings()  # type: ignore[operator]
    words = table(torch.arange(table.num_embeddings))
    norms = model.rescale(1000 * torch.randn(2, 3, 1, D)).norm(dim=-1)
    torch.testing.assert_close(norms, words.norm(dim=-1).mean().expand_as(norms))


@pytest.mark.parametrize(
    ("options", "ways", "max_history"),
    [
        ({}, 1, 11),  # 16 tokens, of which the prompt has 5
        ({"max_tokens": 12}, 1, 7),
        ({}, 3, 3),
        ({"titles": 2}, 1, 3),
        ({"reasoning": {"weight": 0.1, "max_tokens": 4}}, 1, 4),  # and three words of the question
    ],
)
def test_the_oldest_items_are_left_out_where_not_all_fit(
    options: dict[str, Any], ways: int, max_history: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    asked = PretrainedOptions(model=str(tiny_bert(tmp_path, positions=16)), prompts=(PROMPT,), **options)
    model = build_language_model(asked, domain="", ways=ways, max_history=12, titles=["red old"] * 3).eval()
    assert model.max_history == max_history
    items = torch.zeros(1, max_history, dtype=torch.int64)
    assert model(torch.randn(1, max_history, ways, D), lay([max_history]), items).isfinite().all()
    few = build_language_model(asked, domain="", ways=ways, max_history=2, titles=["red old"] * 3)
    assert few.max_history == 2


def test_a_model_that_reads_no_item_says_why(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = PretrainedOptions(model=str(tiny_bert(tmp_path, positions=16)), prompts=(PROMPT,), titles=9)
    with pytest.raises(
        ConfigError, match=r"16 tokens hold no item beside 5 words; .*language.titles \(9\).*ways \(3\)"
    ):
        build_language_model(options, domain="", ways=3, max_history=12, titles=["red"])


def test_a_folder_that_is_no_model_is_said_to_be_none(tmp_path: Path, folders: dict[str, Path]) -> None:
    (tmp_path / "config.json").write_text((folders["bert"] / "config.json").read_text())
    with pytest.raises(ConfigError, match="cannot be read as a language model"):
        build_language_model(
            PretrainedOptions(model=str(tmp_path), prompts=(PROMPT,)), domain="", ways=1, max_history=4
        )
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as a language model"):
        build_language_model(
            PretrainedOptions(model=str(tmp_path), prompts=(PROMPT,)), domain="", ways=1, max_history=4
        )
