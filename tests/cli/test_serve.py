"""`deftrec serve` and `deftrec api-key` as processes."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from calling import Call

START = [sys.executable, "-c", "import sys; from deftrec.cli import main; sys.exit(main())"]


def post(address: str, path: str, body: object, key: str | None = None) -> dict[str, object]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_it_serves_until_it_is_stopped(run: Path, deftrec: Call, tmp_path: Path) -> None:
    key = deftrec("api-key", "shop", "--scope", "write", "--file", tmp_path / "keys.json").out.strip()
    words = ["serve", run, "--port", 0, "--store", f"sqlite:///{tmp_path / 'e.sqlite'}"]
    words += ["--host", "0.0.0.0", "--api-keys", tmp_path / "keys.json"]
    process = subprocess.Popen(
        [*START, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.endswith(f"serves {run}; Ctrl-C stops it\n")
        address = said.split()[0].replace("0.0.0.0", "127.0.0.1")
        events = [{"event_id": "1", "user_id": "new", "item_id": "i/101"}]
        assert post(address, "/v1/events", {"events": events}, key) == {"stored": 1, "duplicates": 0}
        found = post(address, "/v1/recommendations", {"user_id": "new", "k": 3}, key)
        assert found["history_length"] == 1
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    lines = err.splitlines()
    assert lines[-1] == "interrupted"
    assert [json.loads(line)["event"] for line in lines if line.startswith("{")].count("request") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "give --api-keys FILE"),
        (["--store", "mysql://host/db"], "give sqlite:///PATH"),
        (["--api-keys", "{tmp}/absent.json"], "make one with 'deftrec api-key'"),
    ],
)
def test_a_wrong_start_is_one_line(deftrec: Call, run: Path, tmp_path: Path, words: list[str], message: str) -> None:
    said = deftrec("serve", run, *(word.format(tmp=tmp_path) for word in words))
    assert said.code == 1
    assert message in said.err.splitlines()[-1]


def test_without_the_extra_it_says_which(deftrec: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("deftrec.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    said = deftrec("serve", run)
    assert said.code == 1
    assert said.err.splitlines()[-1] == 'error: the service needs fastapi: pip install "deftrec[serve]"'
