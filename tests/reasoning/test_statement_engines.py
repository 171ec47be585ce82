"""Engines that write statements: an OpenAI-compatible server that is right, slow, wrong or down, and embeddings."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deftrec.errors import ConfigError, DeftRecError
from deftrec.language import TextEngine
from deftrec.reasoning import (
    ItemWords,
    OpenAIEngine,
    Reasoner,
    ReasoningStore,
    Residual,
    StoredReasoning,
    build_reasoner,
)
from deftrec.reasoning.engines import LONGEST, PART, EmbeddingEngine, statement_of
from reasoned import options
from toy import ring, tiny_config

DATA = ring(users=60)
WORDS = ItemWords.of(DATA)
HISTORIES = [np.array([1, 2, n]) for n in range(3, 8)]


@dataclass
class Endpoint:
    """What a server on this machine answers; a test sets it.

    Attributes:
        statuses: status of each of the first requests; 200 after that.
        body: body of every answer; None: a chat completion that names the newest item.
        delay: seconds before an answer.
        broken: history, by its newest item's line, whose answer is a refusal.
        asked: content of all requests.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    body: str | None = None
    delay: float = 0.0
    broken: str = ""
    asked: list[dict[str, object]] = field(default_factory=list)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    state, lock = Endpoint(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.asked.append({"path": self.path, **asked})
                number = len(state.asked) - 1
            time.sleep(state.delay)
            newest = asked["messages"][1]["content"].splitlines()[-1]
            status = state.statuses[number] if number < len(state.statuses) else 200
            if newest == state.broken:
                status = 400
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"{newest}."}}
            good = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
            body = (json.dumps(good) if state.body is None else state.body).encode()
            self.send_response(status)
            kind = "text/html" if body.startswith(b"<") else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield state
        server.shutdown()


def engine(endpoint: Endpoint, **changes: float) -> OpenAIEngine:
    return OpenAIEngine(endpoint.url, "some-model", WORDS, "films", **changes)  # type: ignore[arg-type]


def written(engine: OpenAIEngine, histories: Sequence[np.ndarray] = HISTORIES) -> list[str]:
    return [text for _, texts in engine.write(histories) for text in texts]


def test_every_history_gets_the_answer_to_its_own_words(endpoint: Endpoint) -> None:
    many = [np.array([n % DATA.n_items]) for n in range(PART + 5)]
    seen: list[int] = []
    parts = list(engine(endpoint).write(many, seen.append))
    assert [start for start, _ in parts] == [0, PART]
    assert [text for _, texts in parts for text in texts] == [f"{WORDS.lines[int(one[0])]}." for one in many]
    assert sum(seen) == len(many)
    asked = endpoint.asked[0]
    assert (asked["path"], asked["model"], asked["temperature"]) == ("/v1/chat/completions", "some-model", 0.0)
    assert "films" in str(asked["messages"])


def test_overload_and_faults_of_the_server_are_tried_again(endpoint: Endpoint) -> None:
    endpoint.statuses = [429, 503]
    assert written(engine(endpoint), HISTORIES[:1]) == [f"{WORDS.lines[3]}."]
    assert len(endpoint.asked) == 3


@pytest.mark.parametrize(
    ("statuses", "body", "message"),
    [
        ([401] * 9, '{"error": "no key"}', "status 401: .*no key"),
        ([404] * 9, "<html>not here</html>", "status 404: <html>not here"),
        ([500] * 9, "{}", "status 500"),
        ([], "<!doctype html><html>a portal</html>", "no chat completion.*html.*usually ends in /v1"),
        ([], '{"choices": []}', "no chat completion"),
        ([], '{"choices": [{"message": {"content": null}}]}', "no chat completion"),
        ([], '{"choices": [{"message": {"content": " \\n "}}]}', "no text with model 'some-model'"),
        ([], '{"choices": [{"mess', "no valid JSON|no chat completion"),
        ([], "[1, 2]", "no chat completion"),
    ],
)
def test_a_wrong_answer_is_named(endpoint: Endpoint, statuses: list[int], body: str, message: str) -> None:
    endpoint.statuses, endpoint.body = statuses, body
    with pytest.raises(DeftRecError, match=message) as caught:
        written(engine(endpoint, attempts=1))
    assert str(caught.value).startswith(endpoint.url)
    assert "\n" not in str(caught.value)


def test_a_slow_server_is_left_after_the_timeout(endpoint: Endpoint) -> None:
    endpoint.delay = 5.0
    begun = time.monotonic()
    with pytest.raises(DeftRecError, match="does not answer in time; give it longer, `timeout=SECONDS`"):
        written(engine(endpoint, timeout=0.2, attempts=1), HISTORIES[:1])
    assert time.monotonic() - begun < 4.0


def test_a_server_that_is_down_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(DeftRecError, match=f"{url}: cannot be reached"):
        written(engine(Endpoint(url), attempts=1))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="http:// or https://"):
        engine(Endpoint("file:///etc/passwd"))


def test_a_key_is_sent_and_never_shown(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    endpoint.statuses, endpoint.body = [401], "{}"
    with pytest.raises(DeftRecError) as caught:
        written(engine(endpoint), HISTORIES[:1])
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('"This person likes Drama.\n\nMostly."', "Drama. Mostly."),
        ("this person likes  Crime", "Crime"),
        ("\x1b[31mRed\x07 things", "[31mRed things"),
        ("a " * 400, ("a " * (LONGEST // 2)).strip()),
        ("x" * 900, "x" * LONGEST),
    ],
)
def test_texts_are_cut_and_cleaned(content: str, text: str) -> None:
    assert statement_of(content) == text


# -- behind the store --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> Reasoner:
    torch.manual_seed(0)
    chosen = options(tmp_path_factory.mktemp("llama"))
    return build_reasoner(torch.randn(DATA.n_items, 7), slice(0, 3), tiny_config().tokenizer, chosen, DATA).eval()


def unreadable() -> Reasoner:
    raise AssertionError("the language model was loaded")


def test_the_store_keeps_what_was_made_before_an_error_and_goes_on(endpoint: Endpoint) -> None:
    endpoint.broken = WORDS.lines[6]
    stored = StoredReasoning(unreadable, Residual(32, 1, 5), ReasoningStore(None, "one"), 4)
    with pytest.raises(DeftRecError, match="status 400"):
        stored.make_statements(HISTORIES, engine=engine(endpoint, attempts=1))
    texts = [stored.store.get(history).text for history in HISTORIES]
    assert texts == [*(f"{WORDS.lines[n]}." for n in (3, 4, 5)), None, None]
    endpoint.broken = ""
    assert stored.make_statements(HISTORIES, engine=engine(endpoint)) == 2
    assert all(stored.store.get(history).text for history in HISTORIES)


def test_statements_of_a_server_are_read_where_the_residual_uses_them(endpoint: Endpoint, reasoner: Reasoner) -> None:
    residual = Residual(32, 1, 5)
    torch.nn.init.ones_(residual.statement.linear.weight)
    stored = StoredReasoning(reasoner, residual, ReasoningStore(None, "one"), 4)
    assert stored.make_statements(HISTORIES, engine=engine(endpoint)) == len(HISTORIES)
    for history in HISTORIES:
        row = stored.store.get(history)
        assert row.text is not None
        assert row.content is not None
        ids = reasoner.spelled(row.text)[:-1]
        reading = reasoner.lay_out([history], [ids])
        states = reasoner.hidden(reading)[0, int(reading.question[0]) + 1 :]
        torch.testing.assert_close(row.content, states.mean(0), rtol=0.02, atol=0.02)  # stored in bf16


class Echo(TextEngine):
    """Answers the number of tokens of each prompt."""

    def generate(self, prompts: Sequence[Tensor], max_tokens: int, end: int) -> list[list[int]]:
        return [[3 + len(prompt) % 7] for prompt in prompts]


def test_embeddings_are_those_of_the_own_prompt(reasoner: Reasoner) -> None:
    [(start, texts)] = EmbeddingEngine(reasoner, Echo()).write(HISTORIES)
    assert start == 0
    lengths = [int(reasoner.lay_out([history]).lengths[0]) for history in HISTORIES]
    assert texts == reasoner.language.spell([[3 + length % 7] for length in lengths])
    for prompt, history in zip(reasoner.prompts(HISTORIES), HISTORIES, strict=True):
        torch.testing.assert_close(prompt, reasoner.lay_out([history]).embeddings[0])


def test_vllm_gets_the_adapter(reasoner: Reasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, Path | None]] = []

    class Fake(Echo):
        def __init__(self, model: str, adapter: Path | None = None) -> None:
            made.append((model, adapter))

    monkeypatch.setattr("deftrec.reasoning.engines.VllmEngine", Fake)
    from deftrec.reasoning import vllm_engine

    vllm_engine(reasoner, Path("base"), tmp_path)
    assert made == [("base", tmp_path)]
    assert (tmp_path / "adapter_config.json").is_file()
    assert (tmp_path / "adapter_model.safetensors").is_file()
