"""How the server and its workers talk over pipes: a length, a JSON head, a length, bytes."""

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

SIZES: Final = struct.Struct(">IQ")  # bytes of the head, bytes of the body


def packed(head: Mapping[str, Any], body: bytes) -> tuple[bytes, bytes]:
    """Return what to write for one frame; the body is not copied."""
    text = json.dumps(head).encode()
    return SIZES.pack(len(text), len(body)) + text, body


def read(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame; None where the other side has closed the pipe."""
    sizes = file.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return None
    head, body = SIZES.unpack(sizes)
    text, content = file.read(head), file.read(body)
    if len(text) < head or len(content) < body:
        return None
    return json.loads(text), content


def write(file: BinaryIO, head: Mapping[str, Any], body: bytes) -> None:
    """Write one frame."""
    for part in packed(head, body):
        file.write(part)
    file.flush()
