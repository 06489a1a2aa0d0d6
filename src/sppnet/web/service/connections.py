"""Sockets that cost little: bounded in number, and none of them for ever.

uvicorn ends idle connections. What it leaves to others is here: a request whose head does not come, an answer that is
not read, and a refusal that is sent before the body has been read. Closing then would reset the connection, and the
client might lose the answer; so what still comes is thrown away for a moment.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sppnet.web.service.limits import Limits
from sppnet.web.service.problems import MEDIA_TYPE, content

DRAIN_SECONDS: Final = 2.0  # for which what comes after an answer is thrown away


class _Lingering:
    """A transport whose ``close`` ends the answer, but lets the client finish sending.

    The rest of its methods are those of asyncio's transport.
    """

    def __init__(self, transport: asyncio.Transport, protocol: "GuardedProtocol") -> None:
        self._transport, self._protocol, self._closed = transport, protocol, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closed or self._transport.is_closing()

    def close(self) -> None:
        if self._closed or self._transport.is_closing():
            return
        self._closed = True
        self._protocol.linger(self._transport)


class _Timer:
    """Calls something later, unless it is stopped."""

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    @property
    def runs(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float, action: Callable[[], object]) -> None:
        self.stop()
        self._handle = asyncio.get_running_loop().call_later(seconds, action)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 under ``limits``."""

    limits: Limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it where there are too many."""
        self._drained = self._told = False
        self._head, self._drain, self._unread = _Timer(), _Timer(), _Timer()
        super().connection_made(_Lingering(transport, self))  # type: ignore[arg-type]
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
        elif len(self.connections) > self.limits.connections:
            detail = f"The service has {self.limits.connections} connections already. Connect again after 2 s."
            self._tell(503, detail, "Retry-After: 2\r\n")
        else:
            self._head.start(self.limits.head_seconds, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the answer is out already."""
        if self._drained:
            return
        if self.conn.their_state is h11.IDLE and not self._head.runs:
            self._head.start(self.limits.head_seconds, self._too_slow)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head.stop()
        if self.conn.their_state is not h11.SEND_BODY or not self._answered:
            self._drain.stop()

    @property
    def _answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def on_response_complete(self) -> None:
        """Give a body that still comes after its answer a moment to end."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._drain.start(DRAIN_SECONDS, self.transport.abort)

    def eof_received(self) -> None:
        """End a connection whose client has nothing more to send, once the answer is out."""
        if self._drained:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._head, self._drain, self._unread):
            timer.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client that reads slowly, but not for ever."""
        super().pause_writing()
        self._unread.start(self.limits.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._unread.stop()
        super().resume_writing()

    def linger(self, transport: asyncio.Transport) -> None:
        """Close a connection: at once where nothing more is to come, otherwise when the body ends."""
        self._head.stop()
        if not self._told and self.conn.their_state is not h11.SEND_BODY:
            transport.close()
            return
        self._drained = True
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()
        self._drain.start(DRAIN_SECONDS, transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._tell(400, f"the request must be HTTP/1.1, got one that cannot be read: {msg} Use an HTTP client.")

    def _too_slow(self) -> None:
        seconds = self.limits.head_seconds
        self._tell(408, f"the head of a request must arrive within {seconds:g} s, got none. Send it faster.")

    def _tell(self, status: int, detail: str, headers: str = "") -> None:
        """Answer without the application, which knows of no request, and close."""
        problem = content(status, detail)
        body = json.dumps(problem).encode()
        head = f"HTTP/1.1 {status} {problem['title']}\r\nContent-Type: {MEDIA_TYPE}\r\n{headers}"
        self._told = True
        self.transport.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()
