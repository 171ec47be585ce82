"""Apps that answer, called directly or over a port of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fastapi.testclient import TestClient

from deftrec.serving.service import Service

Opened: TypeAlias = Callable[..., TestClient]


@dataclass(frozen=True)
class Served:
    """A server on a port of its own.

    Attributes:
        host, port: where it listens.
        service: behind it.
    """

    host: str
    port: int
    service: Service

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"


Start: TypeAlias = Callable[..., Served]
