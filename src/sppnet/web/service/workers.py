"""The processes that compute, and the few requests that may wait for one.

One image at a time and one thread a worker. Images of one size put through the network together take no less time
each on one thread (49 ms alone, 73 in fours at 480 x 640 on an idle machine), and two threads make one faster by a
third only: as many workers as cores answer more. One process more than that stands by, ready: when one ends, for
whatever reason, another goes on at once.
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
from sppnet.export.installed import TORCH
from sppnet.web.service import frames
from sppnet.web.service.costly import CostlyImages
from sppnet.web.service.limits import ServiceLimits
from sppnet.web.service.problems import RefusalError, failed, overloaded
from sppnet.web.service.worker import arguments

LOG: Final = logging.getLogger("sppnet.serve")
MODULE: Final = "sppnet.web.service.worker"
SMOOTHING: Final = 0.1  # of the running mean of a job's seconds
REST: Final = 1.0  # seconds between tries to start a worker


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
    """Worker processes of which a fixed number compute, and a queue of bounded length before them.

    Args:
        paths: model files or folders of exports, loaded by each worker.
        count: how many compute at once; one more process stands by.
        limits: ``waiting``, ``decode_seconds`` and ``answer_seconds`` are kept here, the others by the workers.
        engine: that runs the models' networks.
    """

    def __init__(self, paths: list[Path], *, count: int, limits: ServiceLimits, engine: str = TORCH) -> None:
        self.count, self.limits, self._paths, self._engine = count, limits, paths, engine
        self.models: list[dict[str, Any]] = []
        """Facts of each model, known once ``start`` is through."""
        self.restarts = 0
        self.faults = 0
        self.busy = 0
        self._waiting: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._mean = 0.1
        self._costly = CostlyImages()
        self._processes: list[asyncio.subprocess.Process] = []  # that can answer, the oldest first
        self._idle: list[asyncio.subprocess.Process] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def pids(self) -> list[int]:
        """Of the processes that can answer now, with the one that stands by."""
        return [process.pid for process in self._processes]

    @property
    def ready(self) -> int:
        """How many of ``count`` can answer now."""
        return min(self.count, len(self._processes))

    async def start(self) -> None:
        """Start all workers and wait until they can answer.

        Raises:
            DataError: a model that cannot be loaded, with the reason.
        """
        started = await asyncio.gather(*(self._started() for _ in range(self.count + 1)), return_exceptions=True)
        alive = [each for each in started if not isinstance(each, BaseException)]
        failure = next((each for each in started if isinstance(each, BaseException)), None)
        for process in alive:
            self._join(process)
        if failure is not None:
            await asyncio.gather(*(self._end(process) for process in alive))
            raise failure
        self._tasks = [asyncio.create_task(self._keep(process)) for process in alive]
        self._tasks += [asyncio.create_task(self._run()) for _ in range(self.count)]

    async def stop(self) -> None:
        """End all workers; what waits is refused."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in self._waiting:
            if not waiting.reply.done():
                waiting.reply.set_exception(overloaded("it is shutting down", 5))

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
            RefusalError: 503, as ``check_room`` has it, or because the worker failed; 422 of an image that takes too
                long, now or before.
        """
        await self._costly.check(image)
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

    async def _run(self) -> None:
        """Give what waits to an idle worker, one after the other, for as long as the service runs."""
        while True:
            while not self._waiting or not self._idle:
                self._some.clear()
                await self._some.wait()
            waiting, process = self._waiting.popleft(), self._idle.pop(0)
            if not waiting.reply.done():
                self.busy += 1
                try:
                    await self._reply(process, waiting)
                finally:
                    self.busy -= 1
            if process in self._processes:  # or it has ended
                self._idle = [each for each in self._processes if each is process or each in self._idle]
                self._some.set()

    async def _reply(self, process: asyncio.subprocess.Process, waiting: _Waiting) -> None:
        try:
            reply = await self._answered(process, waiting)
        except RefusalError as refusal:
            if not waiting.reply.done():
                waiting.reply.set_exception(refusal)
        else:
            if not waiting.reply.done():
                waiting.reply.set_result(reply)

    async def _answered(self, process: asyncio.subprocess.Process, waiting: _Waiting) -> Reply:
        start = time.perf_counter()
        before = waiting.question["before"] | {"waiting": start - waiting.since}
        limit, verb = self.limits.decode_seconds, "read"
        try:
            async with asyncio.timeout(limit):
                await _send(process, waiting.question | {"before": before}, waiting.image)
                head, content = await _read(process)
            if head.get("read"):
                limit, verb = self.limits.answer_seconds, "answered"
                async with asyncio.timeout(limit):
                    head, content = await _read(process)
        except TimeoutError:
            LOG.warning("worker %d: an image was not %s within %g s; it is replaced", process.pid, verb, limit)
            self._dismiss(process)
            raise await self._costly.refuse(waiting.image, f"{verb} within {limit:g} s, got one that is not") from None
        except (EOFError, OSError) as error:
            self.faults += 1
            LOG.error("worker %d ended while it answered; it is replaced", process.pid)
            self._dismiss(process)
            await self._costly.count_death(waiting.image)
            raise failed(self._patience()) from error
        self._mean += SMOOTHING * (time.perf_counter() - start - self._mean)
        if head.get("fault"):
            self.faults += 1
            raise failed(self._patience())
        return Reply(head["status"], head["media_type"], content)

    # Processes

    async def _keep(self, first: asyncio.subprocess.Process) -> None:
        """Have one process more, whenever the one before ends, until the service does."""
        process: asyncio.subprocess.Process | None = first
        try:
            while True:
                process = process or await self._started_at_last()
                await process.wait()
                LOG.warning("worker %d is gone; another is started", process.pid)
                self._leave(process)
                self.restarts += 1
                process = None
        finally:
            if process is not None:
                await self._end(process)

    async def _started_at_last(self) -> asyncio.subprocess.Process:
        while True:
            try:
                process = await self._started()
            except (DataError, EOFError, OSError) as error:
                LOG.error("a worker cannot be started: %s", self._without_folders(str(error)))
                await asyncio.sleep(REST)
            else:
                self._join(process)
                return process

    def _without_folders(self, text: str) -> str:
        """Return a text for the log in which the model files have their names alone."""
        for path in self._paths:
            text = text.replace(str(path), path.name)
        return text

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._dismiss(process)
        await process.wait()

    def _join(self, process: asyncio.subprocess.Process) -> None:
        self._processes.append(process)
        self._idle.append(process)
        self._some.set()

    def _leave(self, process: asyncio.subprocess.Process) -> None:
        for places in (self._processes, self._idle):
            if process in places:
                places.remove(process)

    def _dismiss(self, process: asyncio.subprocess.Process) -> None:
        self._leave(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    async def _started(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE, *arguments(self.limits, self._engine, self._paths)),
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
            await process.wait()
            raise
        if "error" in head:
            await process.wait()
            raise DataError(head["error"])
        self.models = head["models"]
        return process


async def _send(process: asyncio.subprocess.Process, question: Mapping[str, Any], image: bytes) -> None:
    if process.stdin is None:
        raise OSError("the worker has no pipe")
    for part in frames.packed(question, image):
        process.stdin.write(part)
    await process.stdin.drain()


async def _read(process: asyncio.subprocess.Process) -> tuple[dict[str, Any], bytes]:
    stream = process.stdout
    if stream is None:
        raise OSError("the worker has no pipe")
    head, body = frames.SIZES.unpack(await stream.readexactly(frames.SIZES.size))
    text = await stream.readexactly(head)
    return json.loads(text), await stream.readexactly(body)


def _environment() -> dict[str, str]:
    # Threads that spin while they wait take the other workers' cores; see sppnet.cli.commands.
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return os.environ | {"OMP_WAIT_POLICY": "passive", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"} | one
