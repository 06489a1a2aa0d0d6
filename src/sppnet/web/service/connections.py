"""Sockets that cost little: bounded in number, none of them for ever, and none with more than its share of the loop.

HTTP is read by llhttp, under uvicorn. What they leave to others is here: heads that are large or do not come, bodies
in crumbs, requests in heaps, answers that are not read, and a refusal that is sent before the body has been read.
Closing then would reset the connection, and the client might lose the answer; so what still comes is thrown away for a
moment.
"""

import asyncio
import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sppnet.web.service.limits import ServiceLimits
from sppnet.web.service.problems import MEDIA_TYPE, content

DRAIN_SECONDS: Final = 2.0  # for which what comes after an answer is thrown away
SLICE: Final = 1 << 13  # bytes that are read as HTTP at once, before it is seen whether requests wait already
MAX_HEAD: Final = 1 << 15  # bytes of a request's head, and of what may follow its body
FREE_CHUNKS: Final = 1000  # of a body, however small
LEAST_CHUNK: Final = 100  # bytes of a chunk, on average, beyond these


class _Reads(Enum):
    """What of a request is being read."""

    NOTHING = "nothing"
    HEAD = "head"
    BODY = "body"


class _RefusedError(Exception):
    """Ends the reading of a request; what is answered is kept by the protocol."""


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


class _Flow(FlowControl):
    """Reads on only once everything that came has been read as HTTP."""

    def __init__(self, transport: asyncio.Transport, unread: bytearray) -> None:
        super().__init__(transport)
        self._unread = unread

    def resume_reading(self) -> None:
        if not self._unread:
            super().resume_reading()


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 under ``limits``."""

    limits: ServiceLimits = ServiceLimits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it where there are too many."""
        self._drained = self._refused = False
        self._refusal: tuple[int, str] | None = None
        self._reads, self._rest = _Reads.NOTHING, bytearray()
        self._wire = self._head_bytes = self._body_bytes = self._chunks = 0
        self._head, self._drain, self._unread = _Timer(), _Timer(), _Timer()
        super().connection_made(_Lingering(transport, self))  # type: ignore[arg-type]
        self.flow = _Flow(self.transport, self._rest)
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
        elif len(self.connections) > self.limits.connections:
            detail = f"The service has {self.limits.connections} connections already. Connect again after 2 s."
            self._tell(503, detail, "Retry-After: 2\r\n")
        else:
            self._head.start(self.limits.head_seconds, self._too_slow)

    # Reading

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the answer is out already."""
        if self._drained:
            return
        self._rest += data
        self._read_on()

    def _read_on(self) -> None:
        """Read what came as HTTP, but nothing beyond a request that waits for the answer to another."""
        while self._rest and not self.pipeline and not self._drained:
            if self.transport.is_closing():
                self._rest.clear()
                return
            if self._reads is not _Reads.BODY and not self._head.runs:
                self._head.start(self.limits.head_seconds, self._too_slow)
            part = bytes(self._rest[:SLICE])
            del self._rest[:SLICE]
            self._wire += len(part)
            super().data_received(part)
            if self._reads is _Reads.HEAD and self._wire > MAX_HEAD + SLICE:
                self._head_too_large()
        if self._rest:
            self.flow.pause_reading()

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._reads = _Reads.HEAD
        self._wire = self._head_bytes = self._body_bytes = self._chunks = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, of the head or behind the body."""
        self._count_head(len(name) + len(value))
        super().on_header(name, value)

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > MAX_HEAD:
            self._refusal = 431, f"the head must have at most {MAX_HEAD} bytes, got more. Send fewer headers."
            raise _RefusedError

    def on_headers_complete(self) -> None:
        """Hand the request on; its body is to come."""
        self._head.stop()
        self._reads = _Reads.BODY
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Count a chunk: they are taken one by one, however little they hold."""
        self._chunks += 1
        if self._chunks > FREE_CHUNKS + self._body_bytes // LEAST_CHUNK:
            detail = f"got {self._chunks} chunks of {self._body_bytes} bytes together. Send it in larger ones."
            self._refusal = 400, f"the body's chunks must hold at least {LEAST_CHUNK} bytes on average, {detail}"
            raise _RefusedError

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; what surrounds it counts too."""
        self._body_bytes += len(body)
        super().on_body(body)
        if self._wire > 2 * self.limits.upload_bytes + MAX_HEAD and not self.cycle.response_complete:
            self._refusal = 413, f"the request must have at most {self.limits.upload_bytes} bytes, got {self._wire}."
            raise _RefusedError

    def on_message_complete(self) -> None:
        """End a request that is there as a whole."""
        self._reads = _Reads.NOTHING
        self._drain.stop()
        super().on_message_complete()

    # Answering

    def on_response_complete(self) -> None:
        """Give a body that still comes after its answer a moment to end, and read on."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._reads is _Reads.BODY and not self.pipeline:
            self._drain.start(DRAIN_SECONDS, self.transport.abort)
        if self._rest:
            self.loop.call_soon(self._read_rest)

    def _read_rest(self) -> None:
        if self.parser is not None:  # the connection may be lost by now
            self._read_on()
        if self.parser is not None and self.cycle.response_complete:
            self.flow.resume_reading()

    def eof_received(self) -> None:
        """End a connection whose client has nothing more to send, once the answer is out."""
        if self._drained:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._head, self._drain, self._unread):
            timer.stop()
        self._rest.clear()
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
        if not self._refused and self._reads is not _Reads.BODY:
            transport.close()
            return
        self._drained = True
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()
        self._drain.start(DRAIN_SECONDS, transport.abort)

    def send_400_response(self, _: str) -> None:
        """Answer what is not HTTP, or what a limit ended; where other answers are due first, close."""
        due = self.cycle is not None and not self.cycle.response_complete
        status, detail = self._refusal or (
            400,
            "the request must be HTTP/1.1, got one that cannot be read. Use an HTTP client.",
        )
        if due and (self.pipeline or self.cycle.response_started or self._reads is not _Reads.BODY):
            self.transport.abort()
            return
        if due:
            self.cycle.disconnected = True  # the application need not answer any more
            self.cycle.message_event.set()
        self._tell(status, detail)

    def _head_too_large(self) -> None:
        self._refusal = 431, f"the head must have at most {MAX_HEAD} bytes, got more. Send fewer headers."
        self.send_400_response("")

    def _too_slow(self) -> None:
        seconds = self.limits.head_seconds
        self._tell(408, f"the head of a request must arrive within {seconds:g} s, got none. Send it faster.")

    def _tell(self, status: int, detail: str, headers: str = "") -> None:
        """Answer without the application, which knows of no request, and close."""
        problem = content(status, detail)
        body = json.dumps(problem).encode()
        head = f"HTTP/1.1 {status} {problem['title']}\r\nContent-Type: {MEDIA_TYPE}\r\n{headers}"
        self._refused = True
        self.transport.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()
