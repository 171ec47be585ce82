"""Two worker processes with one run and one store."""

import json
import time
from pathlib import Path
from typing import Any

from server_process import ServerProcess
from serving_faults import send


def ask(address: str, method: str, path: str, body: object = None) -> Any:
    status, said = send(address, method, path, b"" if body is None else json.dumps(body).encode())
    assert status < 300, said
    return json.loads(said)


def test_both_know_every_event_and_every_item(worded_run: Path, store_url: str) -> None:
    with ServerProcess(worded_run, store_url) as first, ServerProcess(worded_run, store_url) as second:
        one, other = first.start(), second.start()
        assert ask(one, "PUT", "/v1/items/900", {"title": "red number 103"})["removed"] is False
        event = {"event_id": "1", "user_id": "zoe", "item_id": "900"}
        assert ask(other, "POST", "/v1/events", {"events": [event]}) == {"stored": 1, "duplicates": 0}
        assert ask(one, "POST", "/v1/events", {"events": [event]}) == {"stored": 0, "duplicates": 1}
        for address in (one, other):
            assert [item["item_id"] for item in ask(address, "GET", "/v1/users/zoe/history")["items"]] == ["900"]
        question = {"user_id": "zoe", "k": 5}
        answers = [ask(address, "POST", "/v1/recommendations", question) for address in (one, other)]
        assert answers[0]["items"] == answers[1]["items"]
        assert answers[0]["model"] == answers[1]["model"]
        # What nobody names is learnt within a second.
        gone = answers[0]["items"][0]["item_id"]
        ask(other, "DELETE", f"/v1/items/{gone}")
        until = time.monotonic() + 30
        while gone in {item["item_id"] for item in ask(one, "POST", "/v1/recommendations", question)["items"]}:
            assert time.monotonic() < until
            time.sleep(0.1)
