"""A server on this machine that misbehaves as it is told."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Served:
    """What the server does; a test sets it, and looks at `ranges` afterwards.

    Attributes:
        body: the file.
        etag: its version; empty sends none.
        break_after: bytes after which the connection is closed, one entry a request, `None` for a whole answer;
            requests beyond the list are answered whole.
        statuses: an HTTP error for each of the first requests, 0 for none.
        resumes: whether `Range` is understood.
        on_request: called with the number of the request before it is answered.
        ranges: the `Range` header of every request, "" where there was none.
    """

    body: bytes = b""
    etag: str = '"1"'
    break_after: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    resumes: bool = True
    redirect: str = ""
    send_length: bool = True
    wrong_range: bool = False
    on_request: Callable[[int], None] = lambda number: None
    ranges: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def sha256(self) -> str:
        return "sha256:" + hashlib.sha256(self.body).hexdigest()


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = len(state.ranges)
            asked = self.headers.get("Range", "")
            state.ranges.append(asked)
            state.on_request(number)
            if number < len(state.statuses) and state.statuses[number]:
                self.send_error(state.statuses[number])
                return
            if state.redirect:
                self.send_response(302)
                self.send_header("Location", state.redirect)
                self.end_headers()
                return
            start = 0
            if asked and state.resumes and self.headers.get("If-Range") == state.etag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(state.body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(state.body)}")
                    self.end_headers()
                    return
            if start:
                self.send_response(206)
                shown = 0 if state.wrong_range else start
                self.send_header("Content-Range", f"bytes {shown}-{len(state.body) - 1}/{len(state.body)}")
            else:
                self.send_response(200)
            if state.send_length:
                self.send_header("Content-Length", str(len(state.body) - start))
            if state.etag:
                self.send_header("ETag", state.etag)
            self.end_headers()
            end = state.break_after[number] if number < len(state.break_after) else None
            self.wfile.write(state.body[start:end])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/file.bin"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
