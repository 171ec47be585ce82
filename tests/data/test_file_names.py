"""Names of files: bytes that are not UTF-8, characters of patterns, and one name twice."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from deftrec import Recommender
from deftrec.cli import main
from deftrec.data import Interactions
from deftrec.data.download import checksums
from deftrec.data.prepare import prepare
from deftrec.data.sources.tabular import read_tabular
from deftrec.errors import DeftRecError
from toy import ring, tiny_config

LATIN = os.fsdecode(b"caf\xe9")
TABLE = pl.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "time": [1, 2]})


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", [LATIN, "a[1]", "what?"])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_table_may_have_any_name(name: str, form: str, tmp_path: Path) -> None:
    table, to = tmp_path / f"{name}.{form}", tmp_path / name
    with table.open("wb") as file:
        {"csv": TABLE.write_csv, "jsonl": TABLE.write_ndjson, "parquet": TABLE.write_parquet}[form](file)
    prepare(read_tabular(table), name=name).save(to)
    found, shown = Interactions.load(to), name.replace("\udce9", "\\udce9")
    assert found.history("u") == ["a", "b"]
    assert (found.meta.name, found.meta.source) == (shown, f"{shown}.{form}")
    assert list(found.meta.sha256) == [f"{shown}.{form}"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_an_import_says_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    TABLE.write_csv((tmp_path / f"{LATIN}.csv").open("wb"))
    words = [sys.executable, "-m", "deftrec", "data", "import", f"{LATIN}.csv", "--to", LATIN, "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert (said["name"], said["source"]) == ("caf\\udce9", "caf\\udce9.csv")
    assert Interactions.load(tmp_path / said["directory"]).history("u") == ["a", "b"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_run_needs_a_name_in_utf8_before_it_is_trained(tmp_path: Path) -> None:
    with pytest.raises(DeftRecError, match=r"caf\\udce9/run: not a name in UTF-8, which other libraries need"):
        Recommender.fit(ring(users=20), tiny_config(), out=tmp_path / LATIN / "run")
    assert not (tmp_path / LATIN).exists()


def test_no_checksum_is_lost(tmp_path: Path) -> None:
    names = ["a/x.csv", "b/x.csv", "c/b/x.csv", "b/y.csv"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = checksums(*(tmp_path / name for name in names), tmp_path / "a/x.csv")
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert found == {
        "a/x.csv": digests["a/x.csv"],
        f"{tmp_path.name}/b/x.csv": digests["b/x.csv"],
        "c/b/x.csv": digests["c/b/x.csv"],
        "y.csv": digests["b/y.csv"],
    }
    events, items = tmp_path / "events" / "x.csv", tmp_path / "items" / "x.csv"
    for file, table in ((events, TABLE), (items, TABLE.select("item").with_columns(title=pl.lit("t")))):
        file.parent.mkdir()
        table.write_csv(file)
    assert main(["data", "import", str(events), "--items", str(items), "--to", str(tmp_path / "d")]) == 0
    assert set(Interactions.load(tmp_path / "d").meta.sha256) == {"events/x.csv", "items/x.csv"}
