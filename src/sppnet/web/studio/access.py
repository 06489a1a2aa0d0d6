"""A password for a studio that others reach: who knows it gets a session, all else is refused.

The password is held as its scrypt hash. Guessing is slowed down: after a few wrong ones an address has to wait, and all
addresses together after some more, for behind a proxy they look the same. TLS is left to a proxy.
"""

import hashlib
import hmac
import secrets
import threading
from collections import defaultdict, deque
from http.cookies import CookieError, SimpleCookie
from time import monotonic
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sppnet.errors import ArgumentError, message
from sppnet.web.studio.pages import PAGE

SESSION: Final = "sppnet-session"  # the cookie
LASTS: Final = 7 * 86_400.0  # seconds that a session lasts
SHORTEST: Final = 8  # characters of a password
WRONG: Final = 5  # guesses that an address has in WITHIN seconds
WRONG_IN_ALL: Final = 50
WITHIN: Final = 60.0
PUBLIC: Final = frozenset(
    {"/api/login", "/static/login.js", "/static/login.css", "/static/icon.svg", "/shared/house.css"}
)


class TooManyGuesses(Exception):  # noqa: N818 (an answer to a request, not a fault)
    """Wrong passwords came too fast."""


class Access:
    """Knows the password and who has given it; any thread may call any method.

    Args:
        password: of at least ``SHORTEST`` characters.
    Raises:
        ArgumentError: a shorter one.
    """

    def __init__(self, password: str) -> None:
        if len(password) < SHORTEST:
            expected, advice = f"of at least {SHORTEST} characters", "Choose a longer one"
            raise ArgumentError(message("studio", "password", expected, f"{len(password)}", advice))
        self._salt = secrets.token_bytes(16)
        self._hash = self._hashed(password)
        self._sessions: dict[str, tuple[str, float]] = {}  # token -> name, end
        self._wrong: defaultdict[str, deque[float]] = defaultdict(deque)  # address -> when
        self._lock = threading.Lock()
        self._guessing = threading.Lock()  # one at a time: each takes 16 MB, and is counted before the next is tried

    def enter(self, name: str, password: str, address: str) -> str | None:
        """Return the token of a new session; None for a wrong password.

        Raises:
            TooManyGuesses: of this address, or of all together.
        """
        with self._guessing:
            self._check_pace(address)
            if not hmac.compare_digest(self._hashed(password), self._hash):
                self._wrong[address].append(monotonic())
                return None
        token, now = secrets.token_urlsafe(32), monotonic()
        with self._lock:
            lasting = {known: session for known, session in self._sessions.items() if now < session[1]}
            self._sessions = lasting | {token: (name, now + LASTS)}
        return token

    def leave(self, token: str) -> None:
        """End a session; nothing happens if there is none."""
        with self._lock:
            self._sessions.pop(token, None)

    def name_of(self, token: str) -> str | None:
        """Return who has a session; None for a token that is none, or no longer."""
        with self._lock:
            name, end = self._sessions.get(token, ("", 0.0))
            return name if monotonic() < end else None

    def _check_pace(self, address: str) -> None:
        since = monotonic() - WITHIN
        for known in list(self._wrong):
            while self._wrong[known] and self._wrong[known][0] < since:
                self._wrong[known].popleft()
            if not self._wrong[known]:
                del self._wrong[known]
        if len(self._wrong.get(address, ())) >= WRONG or sum(map(len, self._wrong.values())) >= WRONG_IN_ALL:
            raise TooManyGuesses

    def _hashed(self, password: str) -> bytes:
        return hashlib.scrypt(password.encode(), salt=self._salt, n=2**14, r=8, p=1)


class SessionsOnly:
    """ASGI middleware that lets only sessions pass; their name becomes ``scope["state"]["person"]``."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self.app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in PUBLIC:
            await self.app(scope, receive, send)
            return
        name = self._access.name_of(token_of(Headers(scope=scope)))
        if name is None:
            await _refusal(scope["path"])(scope, receive, send)
            return
        scope.setdefault("state", {})["person"] = name
        await self.app(scope, receive, send)


def token_of(headers: Headers) -> str:
    """Return the token that a request brings; "" for none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(SESSION)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _refusal(path: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if path in ("/", "/report"):
        return FileResponse(PAGE / "login.html", 401, headers=headers)
    return JSONResponse({"detail": "studio: a password is needed. Reload the page to give it."}, 401, headers=headers)
