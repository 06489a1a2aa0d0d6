"""What may reach a page that works on this machine's files: requests of its own pages, and nothing else.

A page of another site can send requests to any port of the visitor's machine, and a name that its owner points there
makes the browser take the two for one site. So the host must be this machine by one of its own names, a request that
changes something must come from a page of the same host, and its body must be JSON, which other sites cannot send.
"""

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
READING: Final = frozenset({"GET", "HEAD"})
MAX_BODY: Final = 1_000_000  # bytes: thousands of boxes

PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""For every answer: nothing is loaded from elsewhere, no script runs but the page's own files."""


class PageHeaders:
    """ASGI middleware that adds ``PAGE_HEADERS`` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(PAGE_HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class OwnPagesOnly:
    """ASGI middleware that refuses what does not come from a page of this machine's own server.

    A refusal is JSON with ``detail``: 400 for a foreign host, 403 for a foreign page, 415 for a body that is not JSON,
    411 for one without a length, 413 for one that is too long.

    Args:
        uploads: the paths that take files, of type application/octet-stream, instead of JSON.
        most: bytes of such a file.
        any_host: the server has names of its own on a network, see ``refused_sender``.
    """

    def __init__(
        self, app: ASGIApp, *, uploads: Collection[str] = (), most: int = MAX_BODY, any_host: bool = False
    ) -> None:
        self.app, self._uploads, self._most, self._any_host = app, uploads, most, any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refused(scope["method"], scope["path"], Headers(scope=scope))
        if refused is None:
            await self.app(scope, receive, send)
        else:
            status, reason = refused
            await JSONResponse({"detail": reason}, status)(scope, receive, send)

    def _refused(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        """Return status and reason of a refusal, None for a request that may pass."""
        refused = refused_sender(method, headers, any_host=self._any_host)
        if refused or method in READING:
            return refused
        if path in self._uploads:
            return _refused_body(headers, "application/octet-stream", self._most)
        return _refused_body(headers, "application/json", MAX_BODY)


def refused_sender(method: str, headers: Headers, *, any_host: bool = False) -> tuple[int, str] | None:
    """Return status and reason of a refusal for where a request comes from, None for one that may pass.

    Args:
        any_host: the server has names of its own on a network: its host is not checked, and other sites may link to it.
    """
    host = headers.get("host", "")
    if not any_host and _name(host) not in OWN_NAMES:
        return 400, f"host must be one of {', '.join(sorted(OWN_NAMES))}, got {host[:100]!r}."
    reading = method in READING
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not (any_host and reading):
        return 403, "requests must come from the page itself, this one comes from another site."
    origin = headers.get("origin", f"http://{host}")
    own = {f"http://{host}"} | ({f"https://{host}"} if any_host else set())  # elsewhere a proxy may add the TLS
    if not reading and origin not in own:
        return 403, f"origin must be http://{host}, got {origin[:100]!r}."
    return None


def _refused_body(headers: Headers, wanted: str, most: int) -> tuple[int, str] | None:
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != wanted:
        return 415, f"content-type must be {wanted}, got {kind[:100]!r}."
    if "transfer-encoding" in headers:  # of the two lengths the other one would hold
        return 411, "content-length must be given, and no transfer-encoding."
    length = headers.get("content-length", "")
    if not length.isdecimal():  # the server holds the sender to the length that it gave
        return 411, "content-length must be given."
    if len(length) > len(str(most)) or int(length) > most:
        return 413, f"the body must be at most {most} bytes, got {length[:20]}."
    return None


def _name(host: str) -> str:
    try:
        return urlsplit(f"http://{host}").hostname or ""
    except ValueError:
        return ""
