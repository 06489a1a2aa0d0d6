"""Odd and hostile clients of a running service, by turns, several at once, while others ask whether it is well."""

import contextlib
import io
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from PIL import Image

from benchmarks.service import mutated
from benchmarks.tally import Tally
from benchmarks.torture_files import numbered

HEAD: Final = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
CANARY: Final = "canary-in-a-name"  # sent wherever a client names something; must not come out in a log
TOGETHER: Final = 8  # clients of one kind at once
SLOW: Final = "a slow head"
PAUSE: Final = 0.05  # seconds between two questions after the service's health


def image_file(rng: random.Random) -> bytes:
    """Return a file of one colour, of some size and format."""
    image = Image.new("RGB", (rng.randrange(8, 300), rng.randrange(8, 300)), (rng.randrange(256), 30, 90))
    image.save(file := io.BytesIO(), rng.choice(("PNG", "JPEG", "WEBP", "GIF")))
    return file.getvalue()


def _whole(body: bytes, extra: bytes = b"") -> bytes:
    return HEAD + extra + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def _crumbs(rng: random.Random) -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * rng.randrange(2000, 300_000)


def _heap(rng: random.Random) -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * rng.choice((10, 300, 20_000))


def _mutated_request(rng: random.Random) -> bytes:
    return next(mutated([_whole(image_file(rng))], count=1, seed=rng.randrange(1 << 30)))


def _broken_image(rng: random.Random) -> bytes:
    return _whole(next(mutated([image_file(rng)], count=1, seed=rng.randrange(1 << 30))))


def _scans(_: random.Random) -> bytes:
    Image.new("RGB", (4000, 4000)).save(file := io.BytesIO(), "JPEG", progressive=True)
    data = file.getvalue()
    return _whole(data[:-2] + data[data.rfind(b"\xff\xda") : -2] * 1000 + data[-2:])


def _form(rng: random.Random) -> bytes:
    name = f'Content-Disposition: form-data; name="image"; filename="{CANARY}.png"\r\n\r\n'.encode()
    body = b"--b\r\n" + name + image_file(rng) + b"\r\n--b--\r\n"
    return HEAD.replace(b"image/png", b"multipart/form-data; boundary=b") + (
        b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    )


def _large_head(rng: random.Random) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * rng.randrange(6000, 300_000) + b"\r\n"


def _slow(rng: random.Random) -> bytes:
    return HEAD + b"X: " + rng.randbytes(30).hex().encode()  # a head that does not end, byte by byte


CLIENTS: Final[dict[str, Callable[[random.Random], bytes]]] = {
    "an image": lambda rng: _whole(image_file(rng)),
    "a form": _form,
    "a broken image": _broken_image,
    "a broken request": _mutated_request,
    "chunks of a byte": _crumbs,
    "requests in a heap": _heap,
    "a thousand scans": _scans,
    "a large head": _large_head,
    "a slow head": _slow,
    "half of a request": lambda rng: _whole(image_file(rng))[: rng.randrange(1, 200)],
}


class Health:
    """Asks for /healthz all the time, and remembers how long each answer took, and beside which clients."""

    def __init__(self, address: str) -> None:
        self._address, self._done = address, threading.Event()
        self.seconds: list[tuple[str, float]] = []
        self.beside = ""
        self.statuses: set[int] = set()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Health":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._done.wait(PAUSE):
            beside, start = self.beside, time.perf_counter()
            try:
                with urllib.request.urlopen(f"{self._address}/healthz", timeout=60) as answer:
                    self.statuses.add(answer.status)
            except urllib.error.HTTPError as error:
                self.statuses.add(error.code)
            except OSError:
                self.statuses.add(0)
            self.seconds.append((beside, time.perf_counter() - start))

    def slowest(self, beside: str | None = None) -> float:
        """Return the milliseconds that 99 % of the answers, all or those beside one kind of client, took at most."""
        chosen = sorted(seconds for name, seconds in self.seconds if beside in (None, name))
        return round(1000 * chosen[int(0.99 * (len(chosen) - 1))]) if chosen else 0


def torment(model: Path, seed: int, until: float, tally: Tally) -> None:
    """Send what ``CLIENTS`` make until the time is over, some of it broken off; count statuses, and time /healthz."""
    log = model.with_suffix(".log")
    command = [sys.executable, "-m", "sppnet.cli", "serve", str(model), "--port", "0", "--workers", "1"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        if process.stdout is None:
            raise RuntimeError("the service has no output")
        address = process.stdout.readline().split()[-1]
        with Health(address) as health, ThreadPoolExecutor(TOGETHER) as clients:
            for number, rng in numbered("clients", seed, until):
                health.beside = name = list(CLIENTS)[number % len(CLIENTS)]
                senders = [random.Random(rng.random()) for _ in range(TOGETHER)]
                tally.counts[name] += TOGETHER
                for status in clients.map(partial(_send, address, name), senders):
                    tally.counts[f"status {status}" if status else "no answer awaited, or none"] += 1
                    if status >= 500 and status != 503:
                        tally.lose(f"clients {number}: {name}, status {status}")
            health.beside = ""
            while not health.seconds or health.seconds[-1][0]:  # once more, when all is over
                time.sleep(PAUSE)
        process.terminate()
    tally.counts["healthz answers"] = len(health.seconds)
    tally.most("healthz p99, ms", health.slowest())
    for name in {each for each, _ in health.seconds if each}:
        tally.most(f"healthz p99 beside {name}, ms", health.slowest(name))
    if not health.statuses <= {200}:
        tally.lose(f"/healthz answered {sorted(health.statuses)}")
    said = log.read_text(errors="replace")
    if CANARY in said or str(model.parent) in said:
        tally.lose("a name came out in the log")


def _send(address: str, name: str, rng: random.Random) -> int:
    """Send what a client sends, or a part of it, and return the status; 0 where none came, or none was awaited."""
    port, sent = int(address.rsplit(":", 1)[1]), CLIENTS[name](rng)
    if rng.random() < 0.2:
        sent = sent[: rng.randrange(len(sent))]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        answer = b""
        with contextlib.suppress(OSError):
            for place in range(0, len(sent), 1 if name == SLOW else len(sent)):
                client.sendall(sent[place : place + (1 if name == SLOW else len(sent))])
        client.settimeout(0.2 if rng.random() < 0.3 else 8)  # who waits for nothing, and who waits
        with contextlib.suppress(OSError):
            answer = client.recv(15)
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") and answer[9:12].isdigit() else 0


def resources(pid: int) -> tuple[int, int, int]:
    """Return resident bytes, descriptors and threads of a process; zeros where the system does not tell."""
    folder = Path(f"/proc/{pid}")
    if not folder.exists():
        return 0, 0, 0
    pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
    counts = (sum(1 for _ in (folder / name).iterdir()) for name in ("fd", "task"))
    descriptors, threads = counts
    return pages * os.sysconf("SC_PAGE_SIZE"), descriptors, threads
