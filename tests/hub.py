"""A hub of one model, on this machine."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the hub holds and how it answers.

    Attributes:
        files: of the one model `group/model`, by name.
        commit: the newest; of others it only knows the names, so that a client must have their files.
        status: of every answer, 0 for a good one.
        truncate: names whose bytes break off half way.
        asked: paths of all requests.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    commit: str = COMMIT
    status: int = 0
    truncate: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def serve(self, folder: Path) -> None:
        """Hold what lies in `folder`."""
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextmanager
def serving(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, which `huggingface_hub` asks in place of the real one."""
    served = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            served.asked.append(self.path)
            name = self.path.split(f"/resolve/{served.commit}/")[-1]
            if served.status:
                self.reply(served.status, b"", {}, body)
            elif self.path.startswith("/api/models/group/model/tree/"):
                tree = [{"type": "file", "path": n, "size": len(c), "oid": n} for n, c in served.files.items()]
                self.reply(200, json.dumps(tree).encode(), {}, body)
            elif self.path.startswith("/api/models/group/model"):
                files = [{"rfilename": name} for name in served.files]
                asked = re.search(r"/revision/([0-9a-f]{40})", self.path)
                content = {"id": "group/model", "sha": asked[1] if asked else served.commit, "siblings": files}
                self.reply(200, json.dumps(content).encode(), {}, body)
            elif name in served.files:
                etag = hashlib.sha256(served.files[name]).hexdigest()
                self.reply(200, served.files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": served.commit}, body, name)
            else:
                self.reply(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

        def reply(self, status: int, content: bytes, headers: dict[str, str], body: bool, name: str = "") -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content[: len(content) // 2] if name in served.truncate else content)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    yield served
    server.shutdown()
    server.server_close()
