"""How the tests call the service, and the small bounds that it runs with."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from sppnet.web.service.limits import ServiceLimits

LIMITS = ServiceLimits(
    upload_bytes=2_000_000,
    pixels=1_000_000,
    boxes=600,
    json_values=50_000,
    waiting=2,
    connections=400,
    head_seconds=1.5,
    body_seconds=2.0,
    grace_seconds=1.0,
    bytes_per_second=100_000,
    unread_seconds=1.0,
)


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json()
        assert problem["status"] == self.status
        assert problem["title"]
        return str(problem["detail"])


@dataclass(frozen=True)
class Served:
    """A running service."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    @property
    def worker(self) -> int:
        """The process that computes."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one request; ``Host`` in the headers replaces the real one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, image: bytes, kind: str = "image/png") -> Reply:
        return self.ask("POST", path, image, {"Content-Type": kind})

    def measure(self, name: str) -> float:
        """Return a figure of /metrics."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def until(self, name: str, value: float) -> None:
        """Wait until a figure of /metrics has a value."""
        self._wait(lambda: self.measure(name) == value, f"{name} is not {value}")

    def until_refused(self) -> None:
        """Wait until no new connection is taken."""
        self._wait(self._refuses, "connections are still taken")

    def _refuses(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=60).close()
        except ConnectionError:
            return True
        return False

    def _wait(self, holds: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + 600  # ends a test that would hang; nothing takes so long, however busy the machine
        while not holds():
            assert time.monotonic() < end, otherwise
            time.sleep(0.02)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Keep the worker from working."""
        worker = self.worker
        os.kill(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)


def png(height: int, width: int) -> bytes:
    """Return a white PNG file."""
    file = io.BytesIO()
    Image.new("L", (width, height), 255).save(file, "PNG")
    return file.getvalue()


def form(*parts: tuple[str, bytes], boundary: str = "limit") -> tuple[bytes, str]:
    """Return a form's body and its type."""
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
