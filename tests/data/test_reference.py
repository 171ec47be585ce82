"""The authors' own format: what it means, and every way it can be wrong."""

from pathlib import Path

import pytest

from deftrec.data import leave_one_out, temporal
from deftrec.data.prepare import prepare
from deftrec.data.sources.reference import read_reference
from deftrec.errors import DataError

TEST = "0 2 0 0 1\n1 1 0\n"
TRAIN = "0 2 0 0\n1 1\n"
ITEMS = 'org_id remap_id category title\n900 0 "Fed &amp; E-file" "TurboTax ""2011"" [Old]"\n77 1 "" Café\n5 2 X ""\n'
USERS = "org_id remap_id\nA1 0\nA0 1\n"


def write(directory: Path, **files: str) -> Path:
    contents = {"train": TRAIN, "test": TEST, "item_list": ITEMS, "user_list": USERS, **files}
    for name, text in contents.items():
        if text:
            (directory / f"{name}.txt").write_text(text, encoding="utf-8")
    return directory


def test_order_ids_and_words_are_kept(tmp_path: Path) -> None:
    raw = read_reference(write(tmp_path))
    interactions = prepare(raw, name="r", tie_seed=3)
    assert interactions.history("A1") == [5, 900, 900, 77]
    assert interactions.history("A0") == [77, 900]
    assert interactions.n_interactions == 6
    items = dict(zip(interactions.catalogue["item"], interactions.catalogue.rows(named=True), strict=True))
    assert items[900]["title"] == 'TurboTax "2011" [Old]'
    assert items[900]["category"] == "Fed & E-file"
    assert items[77]["title"] == "Café"
    assert (items[5]["title"], items[77]["category"]) == ("", "")
    assert set(raw.sha256) == {"train.txt", "test.txt", "item_list.txt", "user_list.txt"}


def test_the_columns_of_the_list_may_stand_in_any_order(tmp_path: Path) -> None:
    one = prepare(read_reference(write(tmp_path)), name="r")
    reordered = 'title remap_id org_id category\n"TurboTax ""2011"" [Old]" 0 900 "Fed &amp; E-file"\n'
    other = prepare(read_reference(write(tmp_path, item_list=reordered + 'Café 1 77 ""\n"" 2 5 X\n')), name="r")
    assert one.catalogue.equals(other.catalogue)


def test_without_lists_the_numbers_are_the_ids(tmp_path: Path) -> None:
    interactions = prepare(read_reference(write(tmp_path, item_list="", user_list="")), name="r")
    assert interactions.history(0) == [2, 0, 0, 1]
    assert interactions.title(0) == str(interactions.item_ids([0])[0])


def test_positions_are_no_clock(tmp_path: Path) -> None:
    interactions = prepare(read_reference(write(tmp_path)), name="r")
    assert interactions.meta.times == "position"
    assert len(leave_one_out(interactions).cases("test")) == 1
    with pytest.raises(DataError, match="not their times"):
        temporal(interactions)


def test_a_user_may_have_the_test_item_alone(tmp_path: Path) -> None:
    raw = read_reference(write(tmp_path, test=TEST + "2 1\n", train=TRAIN + "2 \n", user_list=""))
    assert prepare(raw, name="r").history(2) == [77]


def test_a_mark_of_byte_order_is_no_letter(tmp_path: Path) -> None:
    write(tmp_path, item_list="\ufeff" + ITEMS)
    assert read_reference(tmp_path).items is not None


def test_a_long_title_is_a_title(tmp_path: Path) -> None:
    items = read_reference(write(tmp_path, item_list=ITEMS.replace("Café", "x" * 140_000))).items
    assert items is not None
    assert items["title"].str.len_chars().max() == 140_000


@pytest.mark.parametrize("name", ["item_list.txt", "test.txt"])
def test_another_encoding_is_named(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / name).write_bytes("org_id remap_id title\n1 2 Café\n".encode("latin1"))
    with pytest.raises(DataError, match=rf"{name}: not UTF-8 .*iconv"):
        read_reference(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train": "0 2 0 0\n1 0\n"},
            r"train\.txt: line 2: the items of user 1 do not begin those in test\.txt, which holds complete",
        ),
        ({"train": "\n0 2 0 0 1\n"}, r"train\.txt: line 2: the items of user 0"),
        ({"train": "0 2\n9 1\n"}, r"train\.txt: line 2: user 9 is not in test\.txt"),
        ({"test": "0 2 x\n"}, r"test\.txt: line 1: 'x' is not a number"),
        ({"test": "0 2 -1\n"}, r"test\.txt: line 1: '-1' is not a number"),
        ({"test": TEST + "0 1 2\n"}, r"test\.txt: line 3: user 0 is on line 1 already"),
        ({"test": TEST + "7\n"}, r"test\.txt: line 3: user 7 has no items"),
        ({"test": " \n"}, r"test\.txt: no interactions"),
        ({"item_list": "org_id title\n1 x\n"}, r"item_list\.txt: line 1: no column 'remap_id'"),
        ({"item_list": ITEMS.replace('"Fed &amp; E-file"', "Fed E-file")}, r"item_list\.txt: line 2: 5 fields"),
        ({"item_list": ITEMS + "900 3 a b\n"}, r"item_list\.txt: org_id 900 occurs twice"),
        ({"item_list": ITEMS.replace("5 2 X", "5 7 X")}, r"item_list\.txt: item 2 of test\.txt is not listed"),
        ({"user_list": "org_id remap_id\nA1 0\n"}, r"user_list\.txt: user 1 of test\.txt is not listed"),
    ],
)
def test_what_is_wrong_is_named(files: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_reference(write(tmp_path, **files))


def test_the_directory_needs_a_test_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no test\.txt; the reference format is"):
        read_reference(tmp_path)
