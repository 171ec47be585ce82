"""Random and malformed requests: no server errors, no internal details, no growing memory."""

import json
import os
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import schemathesis
from answering import Opened, Start
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from toy import ring
from worded import fitted

EXAMPLES = int(os.environ.get("DEFTREC_EXAMPLES", "200"))
"""Requests of each of these tests; docs/serving.md says how many were made once."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *(
            "events",
            "event_id",
            "user_id",
            "item_id",
            "time",
            "history",
            "k",
            "allow",
            "deny",
            "seed",
            "samples",
            "run",
        ),
        *("title", "category", "text"),
    ]
)
BODIES = st.binary(max_size=200) | (st.dictionaries(NAMES, JSON, max_size=6) | JSON).map(lambda one: json.dumps(one))
PLACES = st.sampled_from(
    [
        *(("POST", path) for path in ("/v1/events", "/v1/recommendations", "/v1/path", "/v1/admin/model")),
        ("PUT", "/v1/items/new"),
    ]
)
TYPE = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def open_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that items of any id may come to, so that those requests go all the way too."""
    folder = tmp_path_factory.mktemp("open")
    fitted(folder, ring(users=60, strings=True))
    return folder / "run"


@pytest.fixture
def client(opened: Opened, open_run: Path) -> TestClient:
    return opened(run=open_run)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=PLACES, body=BODIES)
def test_no_body_breaks_it(client: TestClient, place: tuple[str, str], body: bytes | str) -> None:
    answer = client.request(*place, content=body, headers=TYPE)
    assert answer.status_code < 500, (body, answer.text)
    assert "Traceback" not in answer.text


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["GET", "DELETE", "PUT"]), prefix=st.sampled_from(["users", "items"]), name=st.text())
def test_no_path_breaks_it(client: TestClient, method: str, prefix: str, name: str) -> None:
    path = quote(name.encode("utf-8", "surrogatepass"))
    for end in ("", "/history", "/similar", f"?q={path}&limit={path}"):
        answer = client.request(method, f"/v1/{prefix}/{path}{end}")
        assert answer.status_code < 500, (method, path, answer.text)


@pytest.mark.parametrize(
    "body", ["[" * 100_000, '{"events": ' + "9" * 10_000 + "}", '{"user_id": "\\ud800"}', '{"\\ud800": 1}']
)
def test_bodies_that_break_parsers(client: TestClient, body: str) -> None:
    assert client.post("/v1/recommendations", content=body, headers=TYPE).status_code in (400, 422)


def test_no_operation_of_the_document_breaks_it(served: Start, open_run: Path) -> None:
    """Requests that schemathesis makes up from the OpenAPI document; what comes back is what the document says."""
    document = schemathesis.openapi.from_url(f"{served(run=open_run).address}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @settings(max_examples=max(10, EXAMPLES // 10), suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            answer = case.call()
            assert answer.status_code < 500, answer.text
            case.validate_response(answer, checks=[response_schema_conformance, status_code_conformance])

        ask()


def test_refused_requests_leave_nothing_behind(client: TestClient) -> None:
    process = psutil.Process()

    def refuse(count: int) -> None:
        for n in range(count):
            body = json.dumps({"events": [{"event_id": str(n), "user_id": "x" * 9000, "item_id": n}] * 20})
            assert client.post("/v1/events", content=body, headers=TYPE).is_client_error
            assert client.get(f"/v1/nowhere/{n}").status_code == 404

    refuse(100)
    before = process.memory_info().rss
    refuse(400)
    assert process.memory_info().rss - before < 16 << 20, "72 MB were refused"
    assert client.get("/metrics").text.count("deftrec_request_seconds_count") < 10, "no label for what is made up"
