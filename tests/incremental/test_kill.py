"""A change that is killed anywhere leaves the run old or new, and a reader beside it never sees half."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from deftrec import Interactions
from deftrec.incremental.changes import add_events, add_items, remove_items
from deftrec.incremental.overlay import FILE, read_overlay
from worded import fitted

KILLS = 40

WRITER = """
import os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch

from deftrec.data import Interactions
from deftrec.incremental.overlay import changing, write_overlay

run, rng = Path(sys.argv[1]), random.Random(0)


def write_for_ever(told):  # adds a thousand items, takes them away, adds them, ...
    data = Interactions.load(run / "data")
    batch = pl.DataFrame({"item": range(10_000, 11_000), "title": "new", "category": "", "text": ""})
    while True:
        with changing(run, data) as overlay:
            if overlay.items.height:
                after = replace(overlay, items=overlay.items[:0], vectors=overlay.vectors[:0])
            else:
                after = overlay.with_items(batch, torch.full((1000, 32), float(overlay.version)))
            write_overlay(run, replace(after, version=overlay.version + 1))
        os.write(told, b"1")  # a pipe that nobody empties holds 64 thousand of them


for _ in range(int(sys.argv[2])):
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        write_for_ever(told)
    os.read(heard, 1)  # it has changed the run once and goes on, however busy the machine is
    time.sleep(rng.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(heard)
    os.close(told)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    fitted(folder)
    return folder / "run"


def whole(run: Path, data: Interactions) -> int:
    """The version of the overlay, which is one or the other as a whole."""
    overlay = read_overlay(run, data)
    assert overlay.items.height in {0, 1000}
    assert len(overlay.vectors) == overlay.items.height
    if overlay.items.height:
        assert (overlay.vectors == overlay.version - 1).all()  # of one change, not of two
    return overlay.version


def test_a_killed_change_leaves_the_run_old_or_new(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    data, last, versions = Interactions.load(run / "data"), 0, 0
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(run), str(KILLS)])
    while process.poll() is None:
        version = whole(run, data)  # while others write and are killed
        assert version >= last
        versions += version > last
        last = version
    assert process.returncode == 0
    last = whole(run, data)
    assert last >= KILLS
    assert versions > KILLS // 4, "the reader was there while it changed"
    # Whatever was killed, the next change goes on from there and leaves nothing behind.
    rest = read_overlay(run, data).items.height
    batch = pl.DataFrame({"item": [20_000], "title": ["red"]})
    assert add_items(run, batch).items == data.n_items + rest + 1
    assert not list(run.glob(".overlay*"))
    assert read_overlay(run, data).version == last + 1


def test_two_that_change_a_run_at_once_lose_nothing(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    data = Interactions.load(run / "data")
    code = (
        "import sys, polars as pl; from deftrec.incremental.changes import add_events\n"
        "for n in range(10): add_events(sys.argv[1], pl.DataFrame({'user': [int(sys.argv[2])], "
        "'item': [int(sys.argv[3])], 'time': [n]}))"
    )
    item = str(data.catalogue["item"][0])
    both = [subprocess.Popen([sys.executable, "-c", code, str(run), user, item]) for user in ("1", "2")]
    assert [process.wait(120) for process in both] == [0, 0]
    assert read_overlay(run, data).events.height == 20


def test_a_thousand_items_come_and_go_in_seconds(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    many = pl.DataFrame({"item": range(10_000, 11_000), "title": [f"red number {n}" for n in range(1000)]})
    started = time.monotonic()
    assert add_items(run, many).added == 1000
    assert remove_items(run, many["item"].to_list()).removed == 1000
    rows = pl.DataFrame({"user": 5, "item": many["item"], "time": range(1000)})
    assert add_events(run, rows).added == 1000
    assert time.monotonic() - started < 60  # a sentence model of real size takes a few seconds more
    assert (run / FILE).stat().st_size < 1 << 20
