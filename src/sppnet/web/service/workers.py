"""The processes that compute, and the few requests that may wait for one.

One image at a time and one thread a worker. Images of one size put through the network together take no less time
each on one thread (49 ms alone, 73 in fours at 480 x 640 on an idle machine), and two threads make one faster by a
third only: as many workers as cores answer more.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from sppnet.errors import DataError
from sppnet.web.service import frames
from sppnet.web.service.limits import Limits
from sppnet.web.service.problems import RefusalError, failed, overloaded
from sppnet.web.service.worker import arguments

LOG: Final = logging.getLogger("sppnet.serve")
MODULE: Final = "sppnet.web.service.worker"
SMOOTHING: Final = 0.1  # of the running mean of a job's seconds
REST: Final = 1.0  # seconds between a worker's end and the next try


class Reply(NamedTuple):
    """What a worker made of a question."""

    status: int
    media_type: str
    content: bytes


class _Waiting(NamedTuple):
    question: dict[str, Any]
    image: bytes
    since: float
    reply: "asyncio.Future[Reply]"


class Workers:
    """A fixed number of worker processes and a queue of bounded length before them.

    Args:
        paths: model files, loaded by each worker.
        count: how many.
        limits: ``waiting`` and ``answer_seconds`` are kept here, the others by the workers.
    """

    def __init__(self, paths: list[Path], *, count: int, limits: Limits) -> None:
        self.count, self.limits, self._paths = count, limits, paths
        self.models: list[dict[str, Any]] = []
        """Facts of each model, known once ``start`` is through."""
        self.restarts = 0
        self.faults = 0
        self.busy = 0
        self._waiting: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._mean = 0.1
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return [process.pid for process in self._processes.values()]

    async def start(self) -> None:
        """Start all workers and wait until they can answer.

        Raises:
            DataError: a model that cannot be loaded, with the reason.
        """
        started = await asyncio.gather(*(self._started(index) for index in range(self.count)), return_exceptions=True)
        for error in started:
            if isinstance(error, BaseException):
                await self.stop()
                raise error
        self._tasks = [asyncio.create_task(self._run(index)) for index in range(self.count)]

    async def stop(self) -> None:
        """End all workers; what waits is refused."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in self._waiting:
            if not waiting.reply.done():
                waiting.reply.set_exception(overloaded("it is shutting down", 5))
        for index in list(self._processes):
            await self._end(index)

    # Asking

    def check_room(self) -> None:
        """Raise the refusal, 503, of a request that would have to wait where too many wait already."""
        if not self._processes:
            raise overloaded("its workers are starting", math.ceil(REST))
        if len(self._waiting) >= self.limits.waiting and self.busy >= self.count:
            raise overloaded(f"{len(self._waiting)} requests wait already", self._patience())

    def _patience(self) -> int:
        return max(1, math.ceil(len(self._waiting) * self._mean / self.count))

    async def ask(self, question: dict[str, Any], image: bytes) -> Reply:
        """Answer a question about an image when its turn comes; cancelled while it waits, it is never asked.

        Raises:
            RefusalError: 503, as ``check_room`` has it, or because the worker failed.
        """
        self.check_room()
        waiting = _Waiting(question, image, time.perf_counter(), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._some.set()
        try:
            return await waiting.reply
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    # Working

    async def _run(self, index: int) -> None:
        """Give one worker what waits, for as long as the service runs."""
        while True:
            while not self._waiting:
                self._some.clear()
                await self._some.wait()
            waiting = self._waiting.popleft()
            if waiting.reply.done():
                continue
            self.busy += 1
            try:
                reply = await self._answered(index, waiting)
            except RefusalError as refusal:
                if not waiting.reply.done():
                    waiting.reply.set_exception(refusal)
            else:
                if not waiting.reply.done():
                    waiting.reply.set_result(reply)
            finally:
                self.busy -= 1
            await self._restarted(index)

    async def _answered(self, index: int, waiting: _Waiting) -> Reply:
        process = self._processes[index]
        start = time.perf_counter()
        before = waiting.question["before"] | {"waiting": start - waiting.since}
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                head, content = await _exchange(process, waiting.question | {"before": before}, waiting.image)
        except TimeoutError:
            LOG.warning("worker %d: no answer within %g s; it is replaced", process.pid, self.limits.answer_seconds)
            await self._end(index)
            raise overloaded("the image took too long, and would again", self._patience()) from None
        except (EOFError, OSError) as error:
            self.faults += 1
            LOG.error("worker %d ended while it answered; it is replaced", process.pid)
            await self._end(index)
            raise failed(self._patience()) from error
        self._mean += SMOOTHING * (time.perf_counter() - start - self._mean)
        if head.get("fault"):
            self.faults += 1
            raise failed(self._patience())
        return Reply(head["status"], head["media_type"], content)

    async def _restarted(self, index: int) -> None:
        """Start the worker again where it has ended."""
        while index not in self._processes:
            self.restarts += 1
            try:
                await self._started(index)
            except (DataError, EOFError, OSError) as error:
                LOG.error("a worker cannot be started: %s", error)
                await asyncio.sleep(REST)

    async def _started(self, index: int) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE, *arguments(self.limits, self._paths)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the server, which lets the workers finish
        )
        try:
            head, _ = await _read(process)
        except EOFError:
            await process.wait()
            raise DataError("serve: a worker ended while it started. What it printed above tells why.") from None
        except BaseException:
            process.kill()
            raise
        if "error" in head:
            await process.wait()
            raise DataError(head["error"])
        self.models = head["models"]
        self._processes[index] = process

    async def _end(self, index: int) -> None:
        process = self._processes.pop(index, None)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _exchange(
    process: asyncio.subprocess.Process, question: Mapping[str, Any], image: bytes
) -> tuple[dict[str, Any], bytes]:
    if process.stdin is None:
        raise OSError("the worker has no pipe")
    for part in frames.packed(question, image):
        process.stdin.write(part)
    await process.stdin.drain()
    return await _read(process)


async def _read(process: asyncio.subprocess.Process) -> tuple[dict[str, Any], bytes]:
    stream = process.stdout
    if stream is None:
        raise OSError("the worker has no pipe")
    head, body = frames.SIZES.unpack(await stream.readexactly(frames.SIZES.size))
    text = await stream.readexactly(head)
    return json.loads(text), await stream.readexactly(body)


def _environment() -> dict[str, str]:
    # Threads that spin while they wait take the other workers' cores; see sppnet.cli.
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return os.environ | {"OMP_WAIT_POLICY": "passive", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"} | one
