"""Takes an image in, within limits: of bytes, before they are read and while they come, and of time.

An image is the body itself (image/*), or the part ``image`` of a form (multipart/form-data).
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from sppnet.web.service.limits import ServiceLimits
from sppnet.web.service.problems import RefusalError, overloaded, shown

FIELDS: Final = ("image", "boxes")
MAX_FIELD: Final = 1_000_000  # bytes of a field that is no image
MAX_PARTS: Final = 8
FORM: Final = "multipart/form-data"
RAW: Final = "application/octet-stream"


class Memory:
    """How many bytes of uploads and answers are held, and a bound for it."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Hold some for as long as one request lasts."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.held


@dataclass
class Share:
    """What one request holds."""

    memory: Memory
    held: int = 0

    def take(self, count: int) -> None:
        """Hold some more; raises the refusal, 503, of a request for which there is no room."""
        if self.memory.held + count > self.memory.most:
            raise overloaded("other uploads fill its memory", 2)
        self.memory.held += count
        self.held += count


@dataclass(frozen=True)
class Upload:
    """What came: an image's bytes, and the other fields of the form."""

    image: bytes
    fields: dict[str, str]


async def receive(request: Request, limits: ServiceLimits, share: Share) -> Upload:
    """Read a request's image.

    Raises:
        RefusalError: 408, 411, 413, 415 or 422 with the reason; 503 where there is no room.
        ClientDisconnect: nobody waits for the answer.
    """
    kind, boundary = _content_type(request)
    _check_length(request, limits)
    form = _Form(boundary, limits) if kind == FORM else None
    body = bytearray()
    start = time.perf_counter()
    received = 0
    while True:
        chunk, more = await _next(request, limits, start, received)
        received += len(chunk)
        if received > limits.upload_bytes:
            raise _too_long(limits, f"{received} so far")
        share.take(len(chunk))
        if form is None:
            body += chunk
        else:
            form.feed(chunk)
        if not more:
            break
    upload = Upload(bytes(body), {}) if form is None else form.finished()
    if not upload.image:
        raise RefusalError(422, "image must be an image file, got nothing. Send its bytes as the body or in a form.")
    return upload


async def _next(request: Request, limits: ServiceLimits, start: float, received: int) -> tuple[bytes, bool]:
    """Wait for more of the body, until it is slower than it may be; return it, and whether there is more."""
    slow = limits.grace_seconds + received / limits.bytes_per_second
    left = start + min(slow, limits.body_seconds) - time.perf_counter()
    try:
        async with asyncio.timeout(max(left, 0.0)):
            message = await request.receive()
    except TimeoutError:
        expected = f"{limits.bytes_per_second} bytes a second, and all within {limits.body_seconds:g} s"
        seconds = time.perf_counter() - start
        detail = f"the body must arrive at {expected}, got {received} bytes in {seconds:.1f} s. Send it faster."
        raise RefusalError(408, detail, {"Connection": "close"}) from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _content_type(request: Request) -> tuple[str, bytes]:
    given = request.headers.get("content-type", "")
    kind, options = parse_options_header(given)
    name = kind.decode("latin-1")
    if not (name in (FORM, RAW) or name.startswith("image/")):
        expected = f"image/*, {RAW} or {FORM}"
        raise RefusalError(
            415, f"content-type must be {expected}, got {shown(given)}. Say what you send: image/jpeg, for example."
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RefusalError(415, f"content-encoding must be identity, got {shown(encoding)}. Send the file as it is.")
    boundary = options.get(b"boundary", b"")
    if name == FORM and not 1 <= len(boundary) <= 70:
        raise RefusalError(422, f"content-type must name a boundary of 1 to 70 characters, got {shown(given)}. Add it.")
    return name, boundary


def _check_length(request: Request, limits: ServiceLimits) -> None:
    given = request.headers.get("content-length", "")
    # Digits are all that llhttp lets through; compared as text first, because whole numbers can be of any length.
    if len(given) > 18 or (given.isdecimal() and int(given) > limits.upload_bytes):
        raise _too_long(limits, given[:30])


def _too_long(limits: ServiceLimits, actual: str) -> RefusalError:
    expected = f"at most {limits.upload_bytes} bytes"
    return RefusalError(413, f"the body must be {expected}, got {actual}. Send a smaller or more compressed image.")


@dataclass
class _Form:
    """A form, parsed as it comes."""

    boundary: bytes
    limits: ServiceLimits
    parts: dict[str, bytearray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._name, self._header, self._value, self._count = "", b"", b"", 0
        self._disposition = ""
        self._ended = False
        self._parser = MultipartParser(
            self.boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._named,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Parse some more."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise self._malformed(str(error)) from error

    def finished(self) -> Upload:
        """Return what came, once all of it has."""
        if not self._ended:
            raise self._malformed("it ends before its last boundary")
        if "image" not in self.parts:
            raise RefusalError(422, f"the form must have a field image, got {sorted(self.parts)}. Add the file to it.")
        try:
            fields = {name: part.decode() for name, part in self.parts.items() if name != "image"}
        except UnicodeDecodeError:
            raise RefusalError(422, "boxes must be a text in UTF-8, got other bytes. Send JSON.") from None
        return Upload(bytes(self.parts["image"]), fields)

    @staticmethod
    def _malformed(reason: str) -> RefusalError:
        return RefusalError(
            422, f"the body must be {FORM}, got one that cannot be read: {reason}. Let a client make it."
        )

    def _begin(self) -> None:
        self._count += 1
        self._disposition = ""
        if self._count > MAX_PARTS:
            raise RefusalError(
                422, f"the form must have at most {MAX_PARTS} fields, got more. Send one image a request."
            )

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")
        self._header, self._value = b"", b""

    def _named(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("latin-1")
        if name not in FIELDS:
            raise RefusalError(422, f"the form's fields must be {' and '.join(FIELDS)}, got {shown(name)}. Rename it.")
        if name in self.parts:
            raise RefusalError(422, f"the form must have one field {name}, got two. Send one image a request.")
        self._name = name
        self.parts[name] = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[self._name]
        part += data[start:end]
        if self._name != "image" and len(part) > MAX_FIELD:
            raise RefusalError(
                413, f"the field {self._name} must have at most {MAX_FIELD} bytes, got more. Send fewer boxes."
            )

    def _end(self) -> None:
        self._ended = True
