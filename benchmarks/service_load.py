"""The generator of load: ``python -m benchmarks.service_load ADDRESS MODE IMAGES AMOUNT [RATE]``, prints JSON."""

import asyncio
import contextlib
import io
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.service import SEED, mutated

HEAD = "POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: "
CLIENTS = 8  # at once, where the service is to be busy and not too busy
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass
class Client:
    """Connections that are kept, and what came back: (status, seconds)."""

    host: str
    port: int
    replies: list[tuple[int, float]] = field(default_factory=list)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def post(self, request: bytes, since: float) -> int:
        """Send one request on a connection that is free, or on a new one."""
        fresh = not self.idle
        reader, writer = await asyncio.open_connection(self.host, self.port) if fresh else self.idle.pop()
        try:
            writer.write(request)
            status = await _status(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            if fresh:
                raise
            return await self.post(request, since)  # the service had closed it while it was idle
        self.replies.append((status, time.perf_counter() - since))
        self.idle.append((reader, writer))
        return status


async def _status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def _request(image: bytes) -> bytes:
    return f"{HEAD}{len(image)}\r\n\r\n".encode() + image


def _summary(client: Client, seconds: float) -> dict[str, Any]:
    answered = [time_ for status, time_ in client.replies if status == 200]
    refused = [time_ for status, time_ in client.replies if status == 503]
    return {
        "seconds": round(seconds, 1),
        "statuses": {str(status): count for status, count in sorted(Counter(s for s, _ in client.replies).items())},
        "answers_a_second": round(len(answered) / seconds, 2),
        "answered_ms": _spread(answered),
        "refused_ms": _spread(refused),
    }


def _spread(times: list[float]) -> dict[str, float] | None:
    if len(times) < 2:
        return None
    parts = statistics.quantiles(times, n=100)
    chosen = {"median": statistics.median(times), "p99": parts[98], "most": max(times)}
    return {name: round(1000 * value, 1) for name, value in chosen.items()}


async def capacity(client: Client, images: list[bytes], seconds: float) -> dict[str, Any]:
    """Keep a few requests waiting all the time: what comes back is what the service can do."""
    requests = [_request(image) for image in images]
    for request in requests[:CLIENTS]:  # every worker has met the shapes once
        await client.post(request, time.perf_counter())
    client.replies.clear()
    start = time.perf_counter()

    async def loop(place: int) -> None:
        while time.perf_counter() < start + seconds:
            await client.post(requests[place % len(requests)], time.perf_counter())
            place += CLIENTS

    await asyncio.gather(*(loop(place) for place in range(CLIENTS)))
    return _summary(client, time.perf_counter() - start)


async def overload(client: Client, images: list[bytes], seconds: float, rate: float) -> dict[str, Any]:
    """Send requests on time whatever comes back; their seconds count from when each was due."""
    requests = [_request(image) for image in images]
    start = time.perf_counter()
    tasks, late = [], []
    for number in range(int(seconds * rate)):
        due = start + number / rate
        if (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        late.append(time.perf_counter() - due)
        tasks.append(asyncio.create_task(client.post(requests[number % len(requests)], due)))
    ended = time.perf_counter()
    await asyncio.gather(*tasks)
    summary = _summary(client, ended - start)
    return summary | {"requests_a_second": round(len(tasks) / (ended - start), 1), "generator_late_ms": _spread(late)}


async def slow(client: Client, images: list[bytes], count: int) -> dict[str, Any]:
    """Begin requests and go on a byte at a time; meanwhile, see whether others are answered."""
    beginnings = [b"POST /v1/de", f"{HEAD}100000\r\n\r\n".encode()]
    start = time.perf_counter()
    others, ended = Client(client.host, client.port), False

    async def sender(index: int) -> float:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(beginnings[index % 2])
        end = asyncio.ensure_future(reader.read())
        while not end.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"a")
                await writer.drain()
            await asyncio.wait([end], timeout=1.0)
        writer.close()
        client.replies.append((int(end.result().split(b" ", 2)[1]), time.perf_counter() - start))
        return time.perf_counter() - start

    async def other() -> None:
        while not ended:
            await others.post(_request(images[0]), time.perf_counter())
            await asyncio.sleep(0.2)

    task = asyncio.create_task(other())
    times = await asyncio.gather(*(sender(index) for index in range(count)))
    ended = True
    await task
    cut = Counter(status for status, _ in client.replies)
    return {
        "senders": count,
        "cut_off": {str(status): number for status, number in cut.items()},
        "last_cut_off_after_seconds": round(max(times), 1),
        "others": _summary(others, max(times)),
    }


async def broken(client: Client, images: list[bytes], count: int) -> dict[str, Any]:
    """Send broken images of all formats, several at once."""
    uploads = mutated([*images[:10], *_in_all_formats(images[0])], count=count, seed=SEED)
    start = time.perf_counter()

    async def loop() -> None:
        for upload in uploads:
            await client.post(_request(upload), time.perf_counter())

    await asyncio.gather(*(loop() for _ in range(CLIENTS)))
    return _summary(client, time.perf_counter() - start)


def _in_all_formats(image: bytes) -> list[bytes]:
    files = [io.BytesIO() for _ in FORMATS]
    with Image.open(io.BytesIO(image)) as opened:
        small = opened.resize((160, 120))
        for file, name in zip(files, FORMATS, strict=True):
            small.save(file, name)
    return [file.getvalue() for file in files]


def main() -> None:
    address, mode, folder, *amounts = sys.argv[1:]
    host, port = address.removeprefix("http://").split(":")
    images = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))[:40]]
    works: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
        "capacity": capacity,
        "overload": overload,
        "slow": slow,
        "broken": broken,
    }
    numbers = [float(amount) for amount in amounts]
    if mode in ("slow", "broken"):
        numbers = [int(number) for number in numbers]
    print(json.dumps(asyncio.run(works[mode](Client(host, int(port)), images, *numbers))))


if __name__ == "__main__":
    main()
