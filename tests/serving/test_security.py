"""Protections of the threat model in docs/serving.md."""

import io
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from answering import Opened, Start
from fastapi.testclient import TestClient

from deftrec.errors import ConfigError
from deftrec.serving import keys as keys_module
from deftrec.serving.app import STATIC
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.keys import ApiKeys, add_key
from deftrec.serving.logs import JsonLines, log
from deftrec.serving.middleware import HEADERS
from deftrec.serving.security import CALLERS, RateLimit
from deftrec.serving.server import open_service
from deftrec.serving.settings import Settings

# -- keys ------------------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    return {scope: add_key(tmp_path / "keys.json", f"my-{scope}", scope) for scope in ("read", "write", "admin")}  # type: ignore[arg-type]


@pytest.fixture
def guarded(opened: Opened, secrets: dict[str, str], tmp_path: Path) -> TestClient:
    return opened(keys=ApiKeys.load(tmp_path / "keys.json"))


def test_keys_are_kept_as_hashes_in_a_private_file(secrets: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    assert not any(secret in file.read_text() for secret in secrets.values())
    assert file.stat().st_mode & 0o077 == 0
    assert len(set(secrets.values())) == 3
    assert min(len(secret) for secret in secrets.values()) >= 43, "256 bits"
    found = ApiKeys.load(file).find(secrets["write"])
    assert found is not None
    assert (found.name, found.scope) == ("my-write", "write")
    assert ApiKeys.load(file).find(secrets["write"] + "x") is None


def test_every_key_is_compared_in_constant_time(
    secrets: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    same = keys_module.hmac.compare_digest

    def counted(one: str, other: str) -> bool:
        compared.append(one)
        return same(one, other)

    monkeypatch.setattr(keys_module.hmac, "compare_digest", counted)
    ApiKeys.load(tmp_path / "keys.json").find(secrets["read"])
    assert len(compared) == 3


def test_keys_are_refused_by_name_and_shape(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    add_key(file, "shop", "read")
    with pytest.raises(ConfigError, match="there is already a key 'shop'"):
        add_key(file, "shop", "admin")
    with pytest.raises(ConfigError, match="use at most 64 letters"):
        add_key(file, "a b", "read")
    file.write_text('{"keys": []}')
    with pytest.raises(ConfigError, match="holds no key"):
        ApiKeys.load(file)
    with pytest.raises(ConfigError, match="not a file of API keys"):
        ApiKeys.load(tmp_path / "absent.json")


CALLS = [
    ("read", "POST", "/v1/recommendations", {"history": []}),
    ("read", "POST", "/v1/path", {"history": ["nothing"]}),
    ("read", "GET", "/v1/users", None),
    ("read", "GET", "/v1/users/ann/history", None),
    ("read", "GET", "/v1/user/history?user_id=ann", None),
    ("read", "GET", "/v1/items?q=number", None),
    ("read", "GET", "/v1/items/nothing", None),
    ("read", "GET", "/v1/items/nothing/similar", None),
    ("read", "GET", "/v1/item?item_id=nothing", None),
    ("read", "GET", "/v1/item/similar?item_id=nothing", None),
    ("read", "GET", "/v1/map", None),
    ("read", "GET", "/v1/model", None),
    ("read", "GET", "/metrics", None),
    ("write", "POST", "/v1/events", {"events": [{"event_id": "1", "user_id": "ann", "item_id": "nothing"}]}),
    ("admin", "DELETE", "/v1/users/ann", None),
    ("admin", "DELETE", "/v1/user?user_id=ann", None),
    ("admin", "PUT", "/v1/items/new", {"title": "new"}),
    ("admin", "DELETE", "/v1/items/new", None),
    ("admin", "PUT", "/v1/item?item_id=new", {"title": "new"}),
    ("admin", "DELETE", "/v1/item?item_id=new", None),
    ("admin", "POST", "/v1/admin/model", {"run": "nothing"}),
]
LEVELS = ["read", "write", "admin"]


def test_no_route_is_forgotten_here(client: TestClient) -> None:
    described = {
        (method.upper(), path)
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    asked = {(method, path.split("?")[0]) for _, method, path, _ in CALLS}
    plain = {
        (method, path.replace("{user_id}", "ann").replace("{item_id}", "nothing")) for method, path in described
    } - {("GET", "/healthz"), ("GET", "/readyz")}
    new = {(method, path.replace("/new", "/nothing")) for method, path in asked}
    assert plain == new


@pytest.mark.parametrize(("scope", "method", "path", "body"), CALLS, ids=[f"{c[1]} {c[2]}" for c in CALLS])
def test_every_route_wants_its_scope(
    guarded: TestClient, secrets: dict[str, str], scope: str, method: str, path: str, body: object
) -> None:
    def status(headers: dict[str, str]) -> int:
        return guarded.request(method, path, json=body, headers=headers).status_code

    assert status({}) == 401
    assert status({"Authorization": "Bearer wrong"}) == 401
    assert status({"Authorization": "Basic YTpi"}) == 401
    for level, secret in secrets.items():
        refused = LEVELS.index(level) < LEVELS.index(scope)
        assert (status({"Authorization": f"Bearer {secret}"}) == 403) == refused


def test_probes_need_no_key(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == guarded.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("host", "fine"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("", False), ("example.org", False)],
)
def test_without_keys_nobody_else_is_listened_to(settings: Settings, host: str, fine: bool) -> None:
    chosen = settings.model_copy(update={"host": host})
    if fine:
        open_service(chosen).store.close()
    else:
        with pytest.raises(ConfigError, match="give `api_keys=FILE`"):
            open_service(chosen)


def test_without_keys_other_names_and_other_sites_are_refused(client: TestClient, guarded: TestClient) -> None:
    body = {"history": []}
    rebound = client.post("/v1/recommendations", json=body, headers={"Host": "evil.example"})
    assert (rebound.status_code, rebound.json()["code"]) == (403, "other_host")
    foreign = client.post("/v1/recommendations", json=body, headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "other_site")
    own = client.post("/v1/recommendations", json=body, headers={"Origin": "http://testserver"})
    assert own.status_code == 200


@pytest.mark.parametrize("name", ["[", "[::1", "[x]"])
def test_malformed_names_of_hosts_and_sites_are_refused_as_foreign(
    client: TestClient, guarded: TestClient, name: str
) -> None:
    for asked in (client, guarded):
        foreign = asked.get("/v1/model", headers={"Origin": f"http://{name}"})
        assert (foreign.status_code, foreign.json()["code"]) == (403, "other_site")
    rebound = client.get("/v1/model", headers={"Host": name})
    assert (rebound.status_code, rebound.json()["code"]) == (403, "other_host")
    assert guarded.get("/v1/model", headers={"Host": name}).status_code == 401


def test_a_form_of_another_page_is_no_request(client: TestClient) -> None:
    answer = client.post("/v1/recommendations", content='{"history": []}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


# -- rates and sizes -------------------------------------------------------------------------------------------


def test_a_bucket_empties_and_fills() -> None:
    now = [0.0]
    limit = RateLimit(2, 3, now=lambda: now[0])
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 0]
    assert limit.wait("a") == pytest.approx(0.5)
    assert limit.wait("b") == 0, "others have their own"
    now[0] = 0.5
    assert limit.wait("a") == 0
    assert limit.wait("a") > 0
    for n in range(2 * CALLERS):
        limit.wait(str(n))
    assert len(limit._buckets) == CALLERS


def test_too_many_requests_are_told_when_to_go_on(opened: Opened) -> None:
    client = opened(rate=0.5, burst=2)
    codes = [client.get("/v1/model").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert client.get("/v1/model").headers["retry-after"] == "2"
    assert client.get("/healthz").status_code == 200


def test_guessing_keys_is_limited_too(opened: Opened, secrets: dict[str, str], tmp_path: Path) -> None:
    client = opened(keys=ApiKeys.load(tmp_path / "keys.json"), rate=0.001, burst=2)
    wrong = {"Authorization": "Bearer wrong"}
    assert [client.get("/v1/model", headers=wrong).status_code for _ in range(3)] == [401, 401, 429]
    right = {"Authorization": f"Bearer {secrets['read']}"}
    assert client.get("/v1/model", headers=right).status_code == 200, "who has a key is not shut out by who has none"


def test_a_large_body_is_refused(opened: Opened) -> None:
    client = opened(body_bytes=1000)
    answer = client.post("/v1/events", content=b"x" * 1001)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    streamed = client.post("/v1/events", content=iter([b"x" * 600, b"x" * 600]))
    assert streamed.status_code == 413


def test_histories_and_filters_have_limits(opened: Opened, engine: InferenceEngine) -> None:
    client = opened(history=2, filter_items=3)
    for question in (
        {"history": engine.items[:3]},
        {"history": [], "allow": engine.items[:4]},
        {"history": [], "deny": engine.items[:4]},
    ):
        answer = client.post("/v1/recommendations", json=question)
        assert (answer.status_code, answer.json()["code"]) == (422, "too_many_items")
    assert client.post("/v1/path", json={"history": engine.items[:3]}).status_code == 422


# -- a real server ---------------------------------------------------------------------------------------------


def test_one_byte_a_second_is_given_up(served: Start) -> None:
    server = served(body_seconds=0.5)
    with socket.create_connection((server.host, server.port), timeout=10) as slow:
        slow.sendall(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{")
        began = time.monotonic()
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 5


# -- the page --------------------------------------------------------------------------------------------------


def test_every_answer_has_the_headers(client: TestClient) -> None:
    for path in ("/", "/v1/model", "/v1/items/nothing", "/nowhere", "/static/page.js"):
        headers = client.get(path).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_no_path_leads_out_of_the_static_files(client: TestClient) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%5capp.py"):
        assert client.get(path).status_code == 404


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "innerHTML" not in text
        assert "eval(" not in text
        assert "https://" not in text.replace("http://www.w3.org/2000/svg", "")
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert " style=" not in page
    assert " onclick=" not in page
    assert "<script>" not in page


# -- logs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("deftrec.serving")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)


def test_nobody_writes_a_log_line_of_their_own(logged: io.StringIO) -> None:
    log("request", name='x\n{"event": "forged"}\r\u2028')
    [line] = logged.getvalue().splitlines()
    assert json.loads(line)["event"] == "request"


def test_logs_name_the_request_and_no_person_no_key_no_query(
    guarded: TestClient, secrets: dict[str, str], logged: io.StringIO
) -> None:
    headers = {"Authorization": f"Bearer {secrets['admin']}", "X-Request-Id": "my-id"}
    guarded.get("/v1/items?q=embarrassing", headers=headers)
    guarded.get("/v1/users/ann-secret/history", headers=headers)
    guarded.delete("/v1/users/ann-secret", headers=headers)
    forged = guarded.get("/healthz", headers={"X-Request-Id": "a b\tc"})
    assert forged.headers["x-request-id"] != "a b\tc"
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert {line["request_id"] for line in lines if line["event"] == "request"} >= {"my-id"}
    assert {line.get("key") for line in lines} >= {"my-admin"}
    for word in ("embarrassing", "ann-secret", secrets["admin"]):
        assert word not in logged.getvalue()
