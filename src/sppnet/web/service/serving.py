"""Runs the service: workers first, then the socket; a signal ends both once the requests in work are answered."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from sppnet.errors import ArgumentError, message
from sppnet.export.installed import TORCH
from sppnet.web.service.app import make_app
from sppnet.web.service.connections import GuardedProtocol
from sppnet.web.service.limits import ServiceLimits
from sppnet.web.service.machine import usable_workers
from sppnet.web.service.workers import Workers

GRACE_SECONDS: Final = 20  # for requests in work when the service is told to end
IDLE_SECONDS: Final = 5
SHORTEST_KEY: Final = 16  # characters


def serve(
    paths: list[Path],
    *,
    host: str,
    port: int,
    workers: int | None = None,
    engine: str = TORCH,
    limits: ServiceLimits | None = None,
    key: str | None = None,
    started: Callable[[str], object] = print,
) -> None:
    """Serve models until SIGTERM or Ctrl-C.

    Args:
        paths: model files, and folders that an export wrote.
        host: address to listen on. port: 0 takes a free one.
        workers: processes that compute, one thread each; by default one for each core, see ``usable_workers``.
        engine: that runs the models' networks.
        limits: of requests.
        key: that every question must bring; None asks for none.
        started: told the address once images can be answered.
    Raises:
        DataError: a model that cannot be loaded, or an address that is not to be had. ArgumentError: a short key.
    """
    if key is not None and not (len(key) >= SHORTEST_KEY and key.isascii() and key.isprintable()):
        expected, advice = f"of at least {SHORTEST_KEY} printable ASCII characters", "Choose another one"
        raise ArgumentError(message("serve", "key", expected, f"{len(key)} characters", advice))
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # strangers must not be able to fill the log
    count = workers or usable_workers()
    named = [path.absolute() if path.is_dir() else path for path in paths]  # "." has no name that a model could have
    with contextlib.closing(_listening(host, port)) as listener:
        made = Workers(named, count=count, limits=limits or ServiceLimits(), engine=engine)
        asyncio.run(_serve(made, listener, host, key, started))


async def _serve(
    workers: Workers, listener: socket.socket, host: str, key: str | None, started: Callable[[str], object]
) -> None:
    await workers.start()
    try:
        app = make_app(workers, limits=workers.limits, local=_is_local(host), key=key)
        protocol = type("Protocol", (GuardedProtocol,), {"limits": workers.limits})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        name = f"[{host}]" if ":" in host else host
        server = _Server(config, lambda: started(f"http://{name}:{listener.getsockname()[1]}"))
        await server.serve([listener])
    finally:
        await workers.stop()


class _Server(uvicorn.Server):
    """Tells when it listens, and ends by itself on a signal, so that the workers can be ended after it."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], object]) -> None:
        super().__init__(config)
        self._listens = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._listens()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        detail = f"serve: {host}:{port} must be a free address of this machine: {reason}. Name another."
        raise ArgumentError(detail) from error
    return listener


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
