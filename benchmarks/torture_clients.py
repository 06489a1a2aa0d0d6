"""Odd and hostile clients of a running service, by turns, while others ask whether it is well."""

import contextlib
import io
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from PIL import Image

from benchmarks.service import mutated

HEAD: Final = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
CANARY: Final = "canary-in-a-name"  # sent wherever a client names something; must not come out in a log
PAUSE: Final = 0.05  # seconds between two questions after the service's health


def _image(rng: random.Random) -> bytes:
    image = Image.new("RGB", (rng.randrange(8, 300), rng.randrange(8, 300)), (rng.randrange(256), 30, 90))
    image.save(file := io.BytesIO(), rng.choice(("PNG", "JPEG", "WEBP", "GIF")))
    return file.getvalue()


def _whole(body: bytes, extra: bytes = b"") -> bytes:
    return HEAD + extra + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def _crumbs(rng: random.Random) -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * rng.randrange(2000, 100_000)


def _heap(rng: random.Random) -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * rng.randrange(10, 300)


def _mutated_request(rng: random.Random) -> bytes:
    return next(mutated([_whole(_image(rng))], count=1, seed=rng.randrange(1 << 30)))


def _broken_image(rng: random.Random) -> bytes:
    return _whole(next(mutated([_image(rng)], count=1, seed=rng.randrange(1 << 30))))


def _scans(_: random.Random) -> bytes:
    Image.new("RGB", (4000, 4000)).save(file := io.BytesIO(), "JPEG", progressive=True)
    data = file.getvalue()
    return _whole(data[:-2] + data[data.rfind(b"\xff\xda") : -2] * 1000 + data[-2:])


def _form(rng: random.Random) -> bytes:
    name = f'Content-Disposition: form-data; name="image"; filename="{CANARY}.png"\r\n\r\n'.encode()
    body = b"--b\r\n" + name + _image(rng) + b"\r\n--b--\r\n"
    return HEAD.replace(b"image/png", b"multipart/form-data; boundary=b") + (
        b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    )


def _large_head(rng: random.Random) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * rng.randrange(6000, 30_000) + b"\r\n"


CLIENTS: Final[dict[str, Callable[[random.Random], bytes]]] = {
    "an image": lambda rng: _whole(_image(rng)),
    "a form": _form,
    "a broken image": _broken_image,
    "a broken request": _mutated_request,
    "chunks of a byte": _crumbs,
    "requests in a heap": _heap,
    "a thousand scans": _scans,
    "a large head": _large_head,
}


class _Health:
    """Asks for /healthz all the time, and remembers how long each answer took."""

    def __init__(self, address: str) -> None:
        self._address, self._done = address, threading.Event()
        self.seconds: list[float] = []
        self.statuses: set[int] = set()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "_Health":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._done.wait(PAUSE):
            start = time.perf_counter()
            try:
                with urllib.request.urlopen(f"{self._address}/healthz", timeout=60) as answer:
                    self.statuses.add(answer.status)
            except urllib.error.HTTPError as error:
                self.statuses.add(error.code)
            except OSError:
                self.statuses.add(0)
            self.seconds.append(time.perf_counter() - start)


def torment(model: Path, seed: int, until: float, tally: Any) -> None:
    """Send what ``CLIENTS`` make until the time is over, some of it broken off; count statuses and what grows."""
    log = model.with_suffix(".log")
    command = [sys.executable, "-m", "sppnet.cli", "serve", str(model), "--port", "0", "--workers", "1"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        if process.stdout is None:
            raise RuntimeError("the service has no output")
        address = process.stdout.readline().split()[-1]
        before, start = None, time.monotonic()
        with _Health(address) as health:
            number = 0
            while time.monotonic() < until:
                rng = random.Random(f"clients {seed} {number}")
                name = rng.choice(list(CLIENTS))
                _send(address, CLIENTS[name](rng), rng, tally)
                tally.counts[f"{name}"] += 1
                number += 1
                if before is None and number > 30:  # once warm
                    before, start = _resources(process.pid), time.monotonic()
        after, minutes = _resources(process.pid), (time.monotonic() - start) / 60
        process.terminate()
    health.seconds.sort()
    tally.counts["healthz answers"] = len(health.seconds)
    tally.counts["healthz p99, ms"] = round(1000 * statistics.quantiles(health.seconds, n=100)[98])
    if before is not None:
        tally.counts["server grew, kB a minute"] = round((after[0] - before[0]) / 1e3 / minutes)
        tally.counts["descriptors more"], tally.counts["threads more"] = (after[k] - before[k] for k in (1, 2))
    if not health.statuses <= {200}:
        tally.lose(f"/healthz answered {sorted(health.statuses)}")
    if CANARY in log.read_text(errors="replace") or str(model.parent) in log.read_text(errors="replace"):
        tally.lose("a name came out in the log")


def _send(address: str, sent: bytes, rng: random.Random, tally: Any) -> None:
    """Send bytes, or a part of them; a status that is neither an answer nor a refusal is a loss."""
    port = int(address.rsplit(":", 1)[1])
    if rng.random() < 0.2:
        sent = sent[: rng.randrange(len(sent))]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        answer = b""
        with contextlib.suppress(OSError):
            client.sendall(sent)
        client.settimeout(0.2 if rng.random() < 0.3 else 8)  # who waits for nothing, and who waits
        with contextlib.suppress(OSError):
            answer = client.recv(15)
    status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") and answer[9:12].isdigit() else 0
    tally.counts[f"status {status}" if status else "no answer awaited, or none"] += 1
    if status >= 500 and status != 503:
        tally.lose(f"a status {status}")


def _resources(pid: int) -> tuple[int, int, int]:
    """Return resident bytes, descriptors and threads of a process; zeros where the system does not tell."""
    folder = Path(f"/proc/{pid}")
    if not folder.exists():
        return 0, 0, 0
    pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
    counts = (sum(1 for _ in (folder / name).iterdir()) for name in ("fd", "task"))
    descriptors, threads = counts
    return pages * os.sysconf("SC_PAGE_SIZE"), descriptors, threads
