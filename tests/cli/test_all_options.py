"""`deftrec options` shows what `--set` takes."""

import json

from calling import Call

from deftrec import load_recipe
from deftrec.recipe import shipped_recipes


def test_every_option_is_one_that_set_takes(deftrec: Call) -> None:
    said = deftrec("options", "--recipe", "minilm", "--json")
    found = json.loads(said.out)
    names = [one["name"] for one in found]
    assert {"seed", "training.epochs", "retrieval.prior", "language.reasoning.weight"} <= set(names)
    assert len(set(names)) == len(names)
    sets = [f"{one['name']}={json.dumps(one['value'])}" for one in found if one["name"] != "language.kind"]
    assert load_recipe("minilm", sets) == load_recipe("minilm")


def test_a_part_of_them_with_values_choices_and_recipes(deftrec: Call) -> None:
    said = deftrec("options", "retrieval.prior", "--recipe", "ml-100k")
    assert said.code == 0
    assert "retrieval.prior" in said.out
    assert "Values: any, ease, slit, graph, none." in " ".join(said.out.split())
    assert "training.epochs" not in said.out
    assert ", ".join(shipped_recipes()) in said.out


def test_what_is_no_option(deftrec: Call) -> None:
    assert "has 'colour' in its name" in deftrec("options", "colour").err
