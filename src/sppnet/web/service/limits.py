"""What one service takes on, in one place; ``GET /v1/model`` tells it to clients."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServiceLimits:
    """Bounds of one service.

    Args:
        upload_bytes: of one request's body.
        pixels: of one image, decoded.
        aspect: of the longer side to the shorter one. Images are scaled by their shorter side, so that a strip of a
            few bytes would otherwise become gigabytes inside the network.
        boxes: regions of one request. values: floats of one answer. json_values: of one answer in JSON.
        waiting: requests that wait for a worker; more are refused.
        connections: open at once; more are refused.
        held_bytes: of uploads and answers in memory together.
        head_seconds: until the head of a request must be there. body_seconds: until all of its body must be.
        grace_seconds: before a body must have arrived at ``bytes_per_second`` on average.
        decode_seconds: of reading an image's pixels. answer_seconds: of computing on them. A worker that takes
            longer is replaced, and the image refused for good.
        unread_seconds: that a client may leave an answer unread.
    """

    upload_bytes: int = 20_000_000
    pixels: int = 50_000_000
    aspect: int = 10
    boxes: int = 2000
    values: int = 2_000_000
    json_values: int = 200_000
    waiting: int = 16
    connections: int = 1000
    held_bytes: int = 256_000_000
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    grace_seconds: float = 5.0
    bytes_per_second: int = 20_000
    decode_seconds: float = 5.0
    answer_seconds: float = 20.0
    unread_seconds: float = 60.0
