"""Types of the fixtures that start the service, in process or on a port."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fastapi.testclient import TestClient

from deftrec.serving.service import Service

Opened: TypeAlias = Callable[..., TestClient]


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        host, port: Address.
        service: The service behind it.
    """

    host: str
    port: int
    service: Service

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"


Start: TypeAlias = Callable[..., Served]
