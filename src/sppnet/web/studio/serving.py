"""Runs the studio on this machine until it is interrupted."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn

from sppnet.errors import ArgumentError, message
from sppnet.export.installed import TORCH
from sppnet.progress import Progress, silent
from sppnet.web.shared.memory import share_heaps
from sppnet.web.studio.access import Access
from sppnet.web.studio.app import studio_app
from sppnet.web.studio.below import Below, checked_path
from sppnet.web.studio.session import Session

HOST: Final = "127.0.0.1"  # this machine's programs only
EVERYWHERE: Final = "0.0.0.0"  # all addresses of this machine; none that others could open
SHUTDOWN: Final = 1  # seconds that requests have to end, once the events have


def serve_studio(
    folder: Path,
    *,
    host: str = HOST,
    port: int = 0,
    password: str | None = None,
    path: str = "",
    engine: str = TORCH,
    ready: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> None:
    """Open a folder and serve its page, until the process is interrupted.

    Args:
        folder: with images.
        host: address to listen on; other machines reach only another one than ``HOST``, and need a password.
        password: that everybody has to give; None asks for none.
        port: to listen on; 0 takes one that is free.
        path: below which the page lies, as "/studio", where a proxy hands addresses on as they are.
        engine: that runs the network.
        ready: called with the page's address once it can be asked for.
        progress: wraps the pass over images that are new.
    Raises:
        DataError: a folder that cannot be opened. ArgumentError: a port that cannot be taken.
    """
    if host != HOST and password is None:
        expected, advice = "given where other machines reach the studio", "Set SPPNET_STUDIO_PASSWORD"
        raise ArgumentError(message("studio", "password", expected, "none", advice))
    access = None if password is None else Access(password)
    below = checked_path(path)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            advice = "Name another one, or none to take any"
            raise ArgumentError(
                message("studio", "port", "a free port", f"{port}: {error.strerror}", advice)
            ) from error
        listening.listen()
        share_heaps()
        session = Session(folder, engine=engine, progress=progress)
        named = socket.gethostname() if host == EVERYWHERE else host
        ready(f"http://{named}:{listening.getsockname()[1]}{below}{'/' if below else ''}")
        app = studio_app(session, access=access)
        served = Below(app, below) if below else app
        config = uvicorn.Config(served, log_level="warning", timeout_graceful_shutdown=SHUTDOWN)
        _LettingGo(config, session).run(sockets=[listening])


class _LettingGo(uvicorn.Server):
    """Lets pages go before it waits for their connections: a stream of events ends by itself at no time."""

    def __init__(self, config: uvicorn.Config, session: Session) -> None:
        super().__init__(config)
        self._session = session

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._session.events.close()
        await super().shutdown(sockets)
