"""Process of the service: loads the run, opens the store and runs the HTTP server."""

from collections.abc import Callable

import torch
import uvicorn
from fastapi import FastAPI
from sqlalchemy import make_url

from deftrec.errors import ConfigError, DeftRecError
from deftrec.serving.app import create_app
from deftrec.serving.keys import ApiKeys
from deftrec.serving.logs import log, log_to
from deftrec.serving.service import Service, load_engine
from deftrec.serving.settings import Settings
from deftrec.serving.store import SqlStore, StoreUnavailableError


def open_service(settings: Settings) -> Service:
    """Load the run and open the event store; a `ConfigError` if other machines could use the service without a key."""
    log_to()
    keys = None if settings.api_keys is None else ApiKeys.load(settings.api_keys)
    if keys is None and not settings.loopback:
        raise ConfigError(
            f"`host={settings.host}`: other machines could use the service without a key; "
            "give `api_keys=FILE` ('deftrec api-key' makes one)"
        )
    try:
        store = SqlStore(settings.store_url)
    except StoreUnavailableError as error:  # the password of the address is not shown
        raise DeftRecError(f"event store {make_url(settings.store_url)}: {error}") from error
    return Service(settings, load_engine(settings.run, settings), store, keys)


def serve_until_stopped(
    service: Service,
    ready: Callable[[str], None] = lambda address: None,
    make_app: Callable[[Service], FastAPI] = create_app,
) -> None:
    """Serve until interrupted, after calling `ready` with the address; requests in progress are answered first."""
    settings = service.settings
    config = uvicorn.Config(
        make_app(service),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(settings.deadline) + 5,
        h11_max_incomplete_event_size=32 << 10,
    )
    server = _Server(config, ready)
    log("starting", run=service.engine.name, version=service.engine.version, threads=torch.get_num_threads())
    try:
        server.run()
    except SystemExit as error:  # raised by uvicorn if the port is in use
        raise DeftRecError(f"cannot listen on {settings.host}:{settings.port}; choose another `port=...`") from error


class _Server(uvicorn.Server):
    """Server that reports its address when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """See `uvicorn.Server.startup`."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
