"""Requests per second and latencies of the service over HTTP, beside the model called directly.

    python benchmarks/serving_load.py RUN --seconds 10 --clients 32

Expected before measuring: saturated, the service answers at least 0.8 times as many recommendations as a loop over
`Recommender.recommend`, for batches win back what HTTP costs; an idle request's p99 is at most 3 times the direct
call's.
The clients run in a process of their own on the same machine, and use a share of it that the service lacks.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np

START = "import sys; from deftrec.cli import main; sys.exit(main())"
K = 10
Make: TypeAlias = Callable[[np.random.Generator], tuple[str, object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=10, help="seconds of every measurement")
    parser.add_argument("--clients", type=int, default=32, help="number of connections when saturated")
    parser.add_argument("--store", help="URL of the event store; default: a new SQLite file")
    parser.add_argument("--index", default="exact")
    options = parser.parse_args()

    direct, users, items = measured_directly(options.run, options.seconds)
    show("direct, one by one", direct)
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or f"sqlite:///{folder}/events.sqlite"
        with serving(options.run, store, options.index) as port:
            kinds: dict[str, Make] = {
                "recommendations": lambda rng: ("/v1/recommendations", {"user_id": rng.choice(users), "k": K}),
                "events": lambda rng: ("/v1/events", {"events": [event(rng, users, items)]}),
            }
            kinds["half of each"] = lambda rng: kinds[("recommendations", "events")[rng.integers(2)]](rng)
            idle = load(port, kinds["recommendations"], 1, options.seconds)
            show("recommendations, idle", idle)
            full = {name: load(port, kind, options.clients, options.seconds) for name, kind in kinds.items()}
            for name, seconds in full.items():
                show(f"{name}, {options.clients} clients", seconds, options.clients)
    share = rate(full["recommendations"], options.clients) / rate(direct)
    times = np.quantile(idle, 0.99) / np.quantile(direct, 0.99)
    print(f"saturated: {share:.2f} times the direct loop; idle p99: {times:.2f} times the direct call's")


def event(rng: np.random.Generator, users: list[str], items: list[str]) -> dict[str, str]:
    return {"event_id": uuid.UUID(bytes=rng.bytes(16)).hex, "user_id": rng.choice(users), "item_id": rng.choice(items)}


def measured_directly(run: Path, seconds: float) -> tuple[np.ndarray, list[str], list[str]]:
    """Seconds of every call in a loop; ids of users and items."""
    from deftrec import Recommender

    recommender = Recommender.load(run)
    users = [str(user) for user in recommender.interactions.users]
    rng = np.random.default_rng(0)
    for _ in range(20):
        recommender.recommend(rng.choice(users), k=K)
    took, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        recommender.recommend(rng.choice(users), k=K)
        took.append(time.perf_counter() - began)
    return np.array(took), users, [str(item) for item in recommender.interactions.catalogue["item"]]


@contextmanager
def serving(run: Path, store: str, index: str) -> Iterator[int]:
    words = ["serve", str(run), "--port", "0", "--rate", "0", "--deadline", "60", "--index", index]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "DEFTREC_STORE": store},
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[0].rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait()


def load(port: int, make: Make, clients: int, seconds: float) -> np.ndarray:
    """Seconds of every request that `clients` connections made, one after the other, for `seconds`."""

    async def all_of_them() -> list[float]:
        until = time.perf_counter() + seconds
        rngs = np.random.default_rng().spawn(clients)
        lists = await asyncio.gather(*(client(port, make, rng, until) for rng in rngs))
        return [took for one in lists for took in one]

    return np.array(asyncio.run(all_of_them()))


async def client(port: int, make: Make, rng: np.random.Generator, until: float) -> list[float]:
    """Send requests over one connection. An HTTP library would use more of the machine than the service does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took = []
    while time.perf_counter() < until:
        path, body = make(rng)
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(content)}\r\n\r\n"
        began = time.perf_counter()
        writer.write(head.encode() + content)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        lengths = (line.split(":")[1] for line in answer.lower().splitlines() if line.startswith("content-length:"))
        said = await reader.readexactly(int(next(lengths)))
        took.append(time.perf_counter() - began)
        if " 200 " not in answer.splitlines()[0]:
            raise SystemExit(f"{answer.splitlines()[0]}: {said.decode()}")
    writer.close()
    return took


def rate(took: np.ndarray, clients: int = 1) -> float:
    """Requests a second: each client makes one after the other."""
    return clients * len(took) / took.sum()


def show(name: str, took: np.ndarray, clients: int = 1) -> None:
    p50, p95, p99 = 1000 * np.quantile(took, [0.5, 0.95, 0.99])
    print(f"{name:32} {rate(took, clients):8.0f} /s   p50 {p50:7.1f}   p95 {p95:7.1f}   p99 {p99:7.1f} ms", flush=True)


if __name__ == "__main__":
    main()
