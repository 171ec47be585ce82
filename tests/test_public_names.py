"""The public names of the package, and the marker that says it is typed."""

import re
import subprocess
import sys
from importlib.resources import files

import pytest

import deftrec

PUBLIC = {
    *("Config", "ConfigError", "DataError", "DeftRecError", "Explanation", "Interactions", "Ranker", "Recommendation"),
    *("Recommender", "Result", "Rule", "ScoreTerm", "Session", "load_recipe"),
}


def test_the_public_names_are_these() -> None:
    assert set(deftrec.__all__) == PUBLIC, "a change of the public names: say so in CHANGELOG.md, and hold it here"
    assert len(deftrec.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_there_documented_and_listed(name: str) -> None:
    found = getattr(deftrec, name)
    assert found.__name__ == name
    assert found.__doc__
    assert name in dir(deftrec)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Recomender'"):
        deftrec.Recomender  # noqa: B018


def test_the_version_is_one_of_pep_440() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", deftrec.__version__)


def test_no_name_is_loaded_before_it_is_used() -> None:
    code = "import sys, deftrec; print('torch' in sys.modules, 'polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert files("deftrec").joinpath("py.typed").is_file()
