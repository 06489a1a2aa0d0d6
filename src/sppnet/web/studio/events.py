"""Events from any thread to every page that listens, as server-sent events."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from sppnet.errors import places_of

WAITING: Final = 1000  # events a page may lag behind; then it is let go, and asks for all anew
GAP: Final = 0.25  # seconds between two events of the same kind: a page draws no more than it can show
ALIVE: Final = 15.0  # seconds of silence after which a line goes out, which finds out that a page has gone


class Events:
    """Tells all listeners; made on the loop's thread, told from any."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[asyncio.Queue[str | None]] = set()
        self._closed = False
        self._lock = threading.Lock()

    def tell(self, name: str, content: dict[str, Any]) -> None:
        """Send an event; nothing happens where nobody listens."""
        text = f"event: {name}\ndata: {json.dumps(content, allow_nan=False)}\n\n"
        with self._lock:
            if self._loop is not None and self._queues and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._spread, text)

    def close(self) -> None:
        """Let all listeners go, and whoever comes later."""
        with self._lock:
            self._closed = True
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._spread, None)

    def _spread(self, text: str | None) -> None:
        for queue in list(self._queues):
            if text is None or queue.full():
                self._queues.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                text = None
            queue.put_nowait(text)

    async def listen(self) -> AsyncIterator[str]:
        """Yield events as they go over the wire, until ``close``."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(WAITING)
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._queues.add(queue)
        try:
            yield "event: hello\ndata: {}\n\n"
            while not self._closed:
                try:
                    text = await asyncio.wait_for(queue.get(), ALIVE)
                except TimeoutError:
                    text = ": still here\n\n"
                if text is None:
                    return
                yield text
        finally:
            with self._lock:
                self._queues.discard(queue)


class Batches:
    """Gathers numbers from any thread, and hands on what came together at most every ``GAP`` seconds.

    Args:
        send: called from a thread of its own with the numbers, each once, in their order.
    """

    def __init__(self, send: Callable[[list[int]], None]) -> None:
        self._send = send
        self._waiting: dict[int, None] = {}
        self._at_once = threading.Event()
        self._now = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin to hand on."""
        self._thread.start()

    def stop(self) -> None:
        """Hand on what waits, and end."""
        with self._now:
            self._stopped = True
            self._now.notify_all()
        self._at_once.set()
        self._thread.join()

    def add(self, number: int, *, at_once: bool = False) -> None:
        """Take a number in; ``at_once`` hands it on without a gap."""
        with self._now:
            self._waiting[number] = None
            self._now.notify_all()
        if at_once:
            self._at_once.set()

    def _work(self) -> None:
        while True:
            with self._now:
                self._now.wait_for(lambda: self._stopped or self._waiting)
                waiting, self._waiting = self._waiting, {}
            if waiting:
                try:
                    self._send(list(waiting))
                except Exception as error:  # the next numbers are handed on, whatever became of these
                    logging.getLogger(__name__).error("the studio's events: %s", places_of(error))
            elif self._stopped:
                return
            self._at_once.wait(GAP)
            self._at_once.clear()
