"""What Prometheus may ask for: requests, stages, refusals, and what is held."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from sppnet.web.service.uploads import Memory
from sppnet.web.service.workers import Workers

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Measures:
    """The figures of one service."""

    def __init__(self, workers: Workers, memory: Memory) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("sppnet_requests", "Answered requests.", ("path", "status"), registry=self._registry)
        self.seconds = Histogram(
            "sppnet_request_seconds",
            "From the head of a request to its answer.",
            ("path",),
            registry=self._registry,
            buckets=SECONDS,
        )
        self._gauge("sppnet_workers", "Worker processes that can answer.", lambda: workers.ready)
        self._gauge("sppnet_workers_busy", "Worker processes at work.", lambda: workers.busy)
        self._gauge("sppnet_requests_waiting", "Requests that wait for a worker.", lambda: workers.waiting)
        self._gauge("sppnet_worker_restarts", "Workers that had to be replaced.", lambda: workers.restarts)
        self._gauge("sppnet_faults", "Requests that a fault of the service left unanswered.", lambda: workers.faults)
        self._gauge("sppnet_held_bytes", "Uploads and answers in memory.", lambda: memory.held)
        self._gauge("sppnet_server_bytes", "Resident memory of the server.", lambda: resident(os.getpid()))
        self._gauge("sppnet_worker_bytes", "Resident memory of all workers.", lambda: sum(map(resident, workers.pids)))

    def _gauge(self, name: str, help_: str, value: Callable[[], float]) -> None:
        Gauge(name, help_, registry=self._registry).set_function(value)

    def response(self) -> Response:
        """Return all figures in Prometheus's text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has, 0 where the system does not tell."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
