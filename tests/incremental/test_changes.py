"""Changes after training: items added by their text, items removed, new events; the trained files stay."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from deftrec import Recommender
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.incremental.changes import add_events, add_items, remove_items
from deftrec.incremental.overlay import FILE
from deftrec.pretrained_files.locate import model_folder
from deftrec.text.sentences import sentence_vectors
from sealing import reseal
from toy import ring, tiny_config
from worded import NEW, events, fitted

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    fitted(folder)
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def digests(run: Path) -> dict[str, str]:
    files = (path for path in run.rglob("*") if path.is_file() and "overlay" not in path.name)
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def everything(recommender: Recommender, history: list[int]) -> list[int]:
    found = recommender.recommend(history=history, k=recommender.interactions.n_items, exclude_seen=False)
    return [int(one.item) for one in found]


def test_items_are_added_by_their_text_and_nothing_else_changes(run: Path) -> None:
    before, files = Recommender.load(run), digests(run)
    done = add_items(run, NEW)
    assert (done.added, done.unchanged, done.items) == (3, 0, before.interactions.n_items + 3)
    after = Recommender.load(run)
    assert digests(run) == files
    assert after.interactions.catalogue["item"].to_list() == [*before.interactions.catalogue["item"], 900, 901, 902]
    history = before.interactions.history(1000)
    assert {900, 901, 902} <= set(everything(after, history))
    old = [one for one in everything(after, history) if one < 900]
    assert old == everything(before, history)
    # The new items' features: text scaled as in training, the collaborative half masked.
    features, width = after.catalogue.features, after.info.collaborative_width
    assert torch.equal(features[:-3], before.catalogue.features)
    assert torch.equal(features[-3:, :width], torch.zeros(3, width))
    texts = ["red number 103. red, old", "number 110 old. red", "blue new items. a person who likes green"]
    read = sentence_vectors(
        texts, model_folder(after.config.text.model or ""), max_tokens=64, device=CPU, dtype=torch.float32
    )
    torch.testing.assert_close(features[-3:, width:], after.run.scaling.columns(slice(width, None)).apply(read))
    assert after.popularity[-3:].tolist() == [0, 0, 0]
    # They serve in histories, alone too, and beside others.
    assert after.recommend(history=[901], k=3)
    assert after.similar(900, k=2)
    for one, found in zip(lists := [[900], [901, history[0]]], after.recommend_many(lists, k=4), strict=True):
        assert [each.item for each in found] == [each.item for each in after.recommend(history=one, k=4)]


def test_a_text_gets_the_vector_that_it_has_in_training(tmp_path: Path) -> None:
    recommender = fitted(tmp_path, tokenizer={"drop_collaborative": 0.5, "trainable_features": False})
    twin = recommender.interactions.catalogue[0].with_columns(pl.lit(999, dtype=pl.Int64).alias("item"))
    add_items(tmp_path / "run", twin)
    features, width = Recommender.load(tmp_path / "run").catalogue.features, recommender.info.collaborative_width
    torch.testing.assert_close(features[-1, width:], features[0, width:], atol=1e-3, rtol=1e-3)


def test_adding_again_adds_nothing_and_a_new_text_replaces_the_old_one(run: Path) -> None:
    add_items(run, NEW)
    content = (run / FILE).read_bytes()
    done = add_items(run, NEW)
    assert (done.added, done.updated, done.unchanged) == (0, 0, 3)
    assert (run / FILE).read_bytes() == content
    first = Recommender.load(run).catalogue.latents
    done = add_items(
        run, NEW.with_columns(title=pl.when(pl.col("item") == 901).then(pl.lit("blue")).otherwise("title"))
    )
    assert (done.added, done.updated, done.unchanged) == (0, 1, 2)
    second = Recommender.load(run)
    assert second.interactions.title(second.interactions.n_items - 2) == "blue"
    same = [torch.equal(first[-n], second.catalogue.latents[-n]) for n in (1, 2, 3)]
    assert same == [True, False, True]


def test_items_of_training_keep_their_text(run: Path) -> None:
    catalogue = Recommender.load(run).interactions.catalogue
    done = add_items(run, catalogue[:2].with_columns(title=pl.lit("blue")))
    assert (done.added, done.unchanged, done.trained) == (0, 2, 2)
    assert not (run / FILE).is_file()


def test_removed_items_are_never_recommended_and_stay_known(run: Path) -> None:
    add_items(run, NEW)
    before = Recommender.load(run)
    history = before.interactions.history(1000)
    best = [one for one in everything(before, history) if one < 900][:3]
    popular = int(before.recommend(history=[], k=1)[0].item)
    done = remove_items(run, [*best, 900, popular])
    after = Recommender.load(run)
    gone = {*best, 900, popular}
    assert done.removed == len(gone)
    assert done.items == before.interactions.n_items - len(gone)
    assert not gone & set(everything(after, history))
    assert not gone & {int(one.item) for one in after.recommend(history=[], k=100)}
    assert not gone & {int(one.item) for one in after.similar(901, k=100)}
    frame = pl.concat(list(after.recommend_all(k=50)))
    assert not gone & set(frame["item"].to_list())
    [explained, *_] = after.recommend(history=[best[0]], k=2, explain=True)
    assert explained.explanation is not None
    assert set(explained.explanation.shares) == {term.name for term in after.ranker.terms if term.explained}
    assert remove_items(run, best).before == len(best)
    # Back again, a trained one by its words and an added one too.
    back = before.interactions.catalogue.filter(pl.col("item").is_in([best[0], 900]))
    assert add_items(run, back).restored == 2
    assert {best[0], 900} <= set(everything(Recommender.load(run), history))


def test_a_removed_item_comes_back_as_it_was_by_its_id_alone(run: Path) -> None:
    add_items(run, NEW)
    before = Recommender.load(run)
    history = before.interactions.history(1000)
    expected = before.recommend(history=history, k=30, exclude_seen=False)
    trained = before.interactions.catalogue["item"][0]
    remove_items(run, [trained, 900])
    done = add_items(run, pl.DataFrame({"item": [900, trained]}))
    assert (done.added, done.updated, done.restored, done.unchanged, done.trained) == (0, 0, 2, 2, 0)
    after = Recommender.load(run)
    assert after.recommend(history=history, k=30, exclude_seen=False) == expected
    assert after.interactions.catalogue.equals(before.interactions.catalogue)


def test_a_run_without_text_takes_back_what_was_removed_and_nothing_else(tmp_path: Path) -> None:
    plain = Recommender.fit(ring(users=40), tiny_config(training={"epochs": 1}), out=tmp_path / "run")
    history = plain.interactions.history(1000)
    expected = plain.recommend(history=history, k=24, exclude_seen=False)
    items = plain.interactions.catalogue["item"].to_list()
    remove_items(tmp_path / "run", items[:2])
    unknown = pl.DataFrame({"item": [items[0], 900], "title": ["number 0", "red"]})
    with pytest.raises(ConfigError, match="cannot recommend items that it was not trained on"):
        add_items(tmp_path / "run", unknown)
    for back in (pl.DataFrame({"item": items[:1]}), plain.interactions.catalogue[1:2]):
        assert add_items(tmp_path / "run", back).restored == 1
    assert Recommender.load(tmp_path / "run").recommend(history=history, k=24, exclude_seen=False) == expected


def test_events_count_at_once_and_once(run: Path) -> None:
    before = Recommender.load(run)
    ids = before.interactions.catalogue["item"].to_list()
    history = before.interactions.history(1000)
    other = [one for one in ids if one not in history][:2]
    new = events([(1000, other[0], 10_000), (1000, other[1], 10_001), (7, ids[3], 5), (7, ids[4], 6)])
    done = add_events(run, pl.concat([new, new[:1]]))
    assert (done.added, done.known, done.users) == (4, 1, 1)
    after = Recommender.load(run)
    assert after.interactions.history(1000) == [*history, *other]
    assert after.interactions.history(7) == [ids[3], ids[4]]
    assert after.recommend(7, k=3) == before.recommend(history=[ids[3], ids[4]], k=3)
    assert after.recommend(1000, k=3) == before.recommend(history=[*history, *other], k=3)
    assert add_events(run, new).added == 0
    assert add_events(run, before.interactions.events()[:5]).known == 5
    # What the run was measured on stays what it was.
    assert after.evaluate("test").metrics["ndcg@10"] == before.evaluate("test").metrics["ndcg@10"]


def test_an_event_goes_where_its_time_puts_it(run: Path) -> None:
    data = Recommender.load(run).interactions
    history, times = data.history(1000), data.times[: len(data.history(1000))]
    other = next(one for one in data.catalogue["item"] if one not in history)
    add_events(run, events([(1000, other, int(times[2]))]))
    assert Recommender.load(run).interactions.history(1000) == [*history[:3], other, *history[3:]]


def test_items_with_interactions_get_a_collaborative_half(run: Path) -> None:
    add_items(run, NEW)
    data = Recommender.load(run).interactions
    ids = [one for one in data.catalogue["item"] if one < 900]
    width = Recommender.load(run).info.collaborative_width
    norms = []
    for user in range(3):
        rows = [(user, ids[0], 1), (user, ids[1], 2), (user, 900, 3)]
        add_events(run, events(rows))
        after = Recommender.load(run)
        half = after.catalogue.features[:, :width]
        norms.append(float(half[-3].norm()))
        assert torch.equal(half[-2:], torch.zeros(2, width))
        towards = half[[data.item_numbers([one])[0] for one in ids[:2]]].mean(0)
        torch.testing.assert_close(torch.cosine_similarity(half[-3], towards, dim=0), torch.tensor(1.0))
    torch.testing.assert_close(torch.tensor(norms) / norms[0], torch.tensor([1 / 5, 2 / 6, 3 / 7]) * 5)


def test_a_saved_copy_keeps_the_changes(run: Path, tmp_path: Path) -> None:
    add_items(run, NEW)
    remove_items(run, [901])
    recommender = Recommender.load(run)
    recommender.save(tmp_path / "copy")
    again = Recommender.load(tmp_path / "copy")
    assert everything(again, [900]) == everything(recommender, [900])
    (tmp_path / "copy" / FILE).unlink()
    without = Recommender.load(tmp_path / "copy")
    assert without.interactions.n_items == recommender.interactions.n_items - 3


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (NEW.with_columns(item=pl.Series(["a", "b", "c"])), "item 'a' is no whole number"),
        (pl.concat([NEW, NEW]), "item 900 appears twice"),
        (NEW.select("item"), "item 900 has no title, category or text"),
        (NEW.rename({"item": "sku"}), "no column 'item'"),
    ],
)
def test_items_that_cannot_be_added(items: pl.DataFrame, message: str, run: Path) -> None:
    with pytest.raises(DataError, match=message):
        add_items(run, items)
    assert not (run / FILE).is_file()


def test_unknown_items_are_refused_with_their_row(run: Path) -> None:
    known = Recommender.load(run).interactions.catalogue["item"][0]
    with pytest.raises(DataError, match="row 2, column 'item': 77 is not in the catalogue"):
        add_events(run, events([(1000, known, 1), (1000, 77, 2)]))
    with pytest.raises(DataError, match="user 'x' is no whole number"):
        add_events(run, pl.DataFrame({"user": ["x"], "item": [known], "time": [1]}))
    with pytest.raises(DataError, match="item 77"):
        remove_items(run, [77])
    everybody = Recommender.load(run).interactions.catalogue["item"].to_list()
    with pytest.raises(DataError, match="removes all"):
        remove_items(run, everybody)
    assert not (run / FILE).is_file()


def test_a_run_says_what_it_can_do(trained: Path, tmp_path: Path) -> None:
    can = Recommender.load(trained).capabilities
    assert all([can.unseen_users, can.unseen_items, can.text])
    refusals = {
        "drop_collaborative above 0": lambda folder: _edit(
            folder, '"drop_collaborative": 0.5', '"drop_collaborative": 0.0'
        ),
        "text.model minilm": lambda folder: _edit(folder, '"text_width": 32', '"text_width": 0', "run.json"),
    }
    for n, (mend, change) in enumerate(refusals.items()):
        folder = tmp_path / str(n)
        shutil.copytree(trained, folder)
        change(folder)
        with pytest.raises(ConfigError, match=mend):
            add_items(folder, NEW)


def _edit(folder: Path, old: str, new: str, name: str = "config.json") -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    reseal(folder)


def test_another_sentence_model_is_refused(run: Path) -> None:
    bert = Path(Recommender.load(run).config.text.model or "")
    weights = bert / "model.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-4] + b"\0\0\0\1")
        with pytest.raises(DeftRecError, match=r"text\.model"):
            add_items(run, NEW)
    finally:
        weights.write_bytes(content)


def test_an_overlay_of_other_data_or_a_damaged_one_is_refused(run: Path) -> None:
    from deftrec.incremental import read_overlay, write_overlay

    add_items(run, NEW)
    data = Recommender.load(run).fitted_on
    overlay = read_overlay(run, data)
    write_overlay(run, replace(overlay, fingerprint="another"))
    with pytest.raises(DeftRecError, match="belongs to a run on other data"):
        Recommender.load(run)
    write_overlay(run, replace(overlay, vectors=torch.zeros(3, 7)))
    with pytest.raises(DeftRecError, match="vectors of 7 numbers, and this run reads 32"):
        Recommender.load(run)
    write_overlay(run, overlay)
    (run / "scaling.safetensors").unlink()
    with pytest.raises(DeftRecError, match=r"scaling\.safetensors: missing or damaged"):
        Recommender.load(run)
    (run / FILE).write_bytes((run / FILE).read_bytes()[:100])
    with pytest.raises(DeftRecError, match="damaged"):
        Recommender.load(run)


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        ([True, False], "column 'item' holds Boolean, which cannot be an id"),
        ([["900"], ["901"]], r"column 'item' holds List\(String\), which cannot be an id"),
        (["900", "9\t1"], r"row 2, column 'item': '9\\t1' is not an id"),
        (["900", None], "row 2, column 'item': an empty value is not an id"),
        ([b"900", b"\xff"], r"row 2, column 'item': b'\\xff' is not UTF-8"),
    ],
)
def test_items_and_events_keep_the_rule_for_ids(run: Path, ids: list[object], fault: str) -> None:
    with pytest.raises(DataError, match=f"goods: .*{fault}"):
        add_items(run, pl.DataFrame({"item": ids, "title": ["a", "b"]}), source="goods")
    with pytest.raises(DataError, match=f"today: .*{fault}"):
        add_events(run, pl.DataFrame({"user": [1, 2], "item": ids, "time": [1, 2]}), source="today")
    with pytest.raises(DataError, match=f"today: .*{fault.replace('item', 'user')}"):
        add_events(run, pl.DataFrame({"user": ids, "item": [900, 901], "time": [1, 2]}), source="today")
    with pytest.raises(DataError, match="today: no column 'time'; the columns are user, item"):
        add_events(run, pl.DataFrame({"user": [1], "item": [900]}), source="today")
    assert not (run / FILE).is_file()


def test_texts_of_added_items_may_be_lists_and_no_records(run: Path) -> None:
    add_items(run, pl.DataFrame({"item": [900], "title": ["number"], "category": [["red", "old"]]}))
    assert Recommender.load(run).interactions.catalogue["category"][-1] == "red|old"
    with pytest.raises(DataError, match=r"items: row 1, column 'title': .* is neither text nor a list of texts"):
        add_items(run, pl.DataFrame({"item": [901], "title": [{"en": "x"}]}))
