"""The studio below a path, for a proxy that hands addresses on as they are."""

from typing import Final

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sppnet.errors import ArgumentError, message

ALLOWED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~/")


def checked_path(path: str) -> str:
    """Return a path as ``/studio``, "" for none; ArgumentError where it is no part of an address."""
    parts = [part for part in path.split("/") if part]
    if not set(path) <= ALLOWED or {".", ".."} & set(parts):
        expected, advice = "letters, digits, '-', '_' and '/'", "Give /studio, for example"
        raise ArgumentError(message("studio", "path", expected, repr(path), advice))
    return "".join(f"/{part}" for part in parts)


class Below:
    """ASGI application that answers below a path, "/studio", as another one does at the root."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what lies elsewhere is not found."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"].startswith(f"{self._path}/"):
            inner = scope["path"].removeprefix(self._path)
            await self._app({**scope, "path": inner, "raw_path": inner.encode()}, receive, send)
        elif scope["path"] == self._path:
            await RedirectResponse(f"{self._path}/")(scope, receive, send)
        else:
            await PlainTextResponse(f"The studio is at {self._path}/", 404)(scope, receive, send)
