"""Under attack and under load the service stays up, answers, and says no in time."""

import asyncio
import contextlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from benchmarks.service import mutated
from PIL import Image
from tests.web.service.calling import LIMITS, Reply, Served, png

from sppnet.web.service.costly import REMEMBERED, CostlyImages
from sppnet.web.service.problems import RefusalError
from sppnet.web.service.workers import Reply as WorkerReply
from sppnet.web.service.workers import Workers

HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def test_300_slow_senders_are_all_cut_off_while_others_are_answered(served: Served, image: bytes) -> None:
    beginnings = [
        b"POST /v1/de",
        HEAD + b"Content-Length: 1000\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\nab",
    ]

    async def slow(index: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(beginnings[index % 3])
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():  # a byte now and then, so that the connection is never idle
            with contextlib.suppress(ConnectionError):
                writer.write(b"a")
                await writer.drain()
            await asyncio.sleep(0.2)
        writer.close()
        return await ended

    async def attack() -> tuple[list[bytes], Reply]:
        senders = [asyncio.ensure_future(slow(index)) for index in range(300)]
        await asyncio.sleep(0.5)
        answer = await asyncio.to_thread(served.post, "/v1/detect", image)
        return await asyncio.wait_for(asyncio.gather(*senders), 60), answer

    cut, answer = asyncio.run(attack())
    assert answer.status == 200
    assert [reply.split(b"\r\n")[0] for reply in cut] == [b"HTTP/1.1 408 Request Timeout"] * 300
    assert b"the head of a request must arrive within 1.5 s, got none. Send it faster." in cut[0]
    assert b"the body must arrive at 100000 bytes a second, and all within 2 s, got " in cut[1]
    assert served.measure("sppnet_held_bytes") == 0


def test_what_finds_no_room_is_refused_before_its_body_is_sent(served: Served, image: bytes) -> None:
    with ThreadPoolExecutor(3) as pool:
        with served.stopped():
            waiting = [pool.submit(served.post, "/v1/detect", image) for _ in range(3)]
            served.until("sppnet_requests_waiting", LIMITS.waiting)
            with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
                client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
                refused = client.recv(10_000).decode() + client.recv(10_000).decode()
            assert "HTTP/1.1 503 " in refused
            assert "retry-after: 1\r\n" in refused
            assert "no room for another request: 2 requests wait already. Send it again after 1 s." in refused
            assert served.ask("GET", "/healthz").json()["waiting"] == 2
        assert [reply.result().status for reply in waiting] == [200] * 3


def test_who_leaves_does_not_wait_on(served: Served, image: bytes) -> None:
    whole = HEAD + f"Content-Length: {len(image)}\r\n\r\n".encode() + image
    with served.stopped(), ThreadPoolExecutor(1) as pool:
        working = pool.submit(served.post, "/v1/detect", image)
        served.until("sppnet_workers_busy", 1)
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
            client.sendall(whole)
            served.until("sppnet_requests_waiting", 1)
        served.until("sppnet_requests_waiting", 0)
        os.kill(served.worker, signal.SIGCONT)
        assert working.result().status == 200


def test_a_worker_that_dies_is_replaced(served: Served, image: bytes) -> None:
    faults, restarts = served.measure("sppnet_faults"), served.measure("sppnet_worker_restarts")
    os.kill(served.worker, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(served.post, "/v1/detect", image)
        served.until("sppnet_workers_busy", 1)
        os.kill(served.worker, signal.SIGKILL)
        reply = lost.result()
    assert reply.status == 503
    assert reply.headers["retry-after"]
    assert "The service failed on this request; its log tells why. Send it again after" in reply.detail
    assert served.post("/v1/detect", image).status == 200
    served.until("sppnet_worker_restarts", restarts + 1)
    assert served.measure("sppnet_faults") == faults + 1


@pytest.mark.slow
def test_a_image_that_takes_too_long_is_given_up_and_never_tried_again(models: dict[str, Path], image: bytes) -> None:
    limits = replace(LIMITS, decode_seconds=0.3)
    question = {"verb": "classify", "model": "kinds", "top": 1, "explain": False, "before": {}}

    async def refused(workers: Workers) -> str:
        with pytest.raises(RefusalError) as refusal:
            await workers.ask(question, image)
        assert refusal.value.status == 422
        return refusal.value.detail

    async def ask() -> tuple[str, str, WorkerReply]:
        workers = Workers([models["kinds"]], count=1, limits=limits)
        await workers.start()
        try:
            os.kill(workers.pids[0], signal.SIGSTOP)
            first, restarts = await refused(workers), workers.restarts
            again = await refused(workers)
            assert workers.restarts - restarts <= 1  # the first worker's, and none more
            while not workers.ready:
                await asyncio.sleep(0.05)
            object.__setattr__(limits, "decode_seconds", 30)
            other = await workers.ask(question, png(40, 50))
        finally:
            await workers.stop()
        return first, again, other

    first, again, other = asyncio.run(ask())
    expected = (
        "image must be one that can be read within 0.3 s, got one that is not. Send a smaller one, or save it anew."
    )
    assert first == again == expected
    assert other.status == 200


def test_an_image_of_which_two_workers_ended_is_refused() -> None:
    async def died() -> str:
        costly = CostlyImages()
        await costly.count_death(b"image")
        await costly.check(b"image")
        await costly.count_death(b"image")
        await costly.check(b"another")
        with pytest.raises(RefusalError) as refusal:
            await costly.check(b"image")
        return refusal.value.detail

    assert "image must be one that can be answered, got one of which 2 workers ended" in asyncio.run(died())


def test_of_costly_images_a_bounded_number_is_remembered() -> None:
    async def remembered() -> None:
        costly = CostlyImages()
        for index in range(REMEMBERED + 1):
            await costly.refuse(str(index).encode(), "read")
        await costly.check(b"0")
        with pytest.raises(RefusalError):
            await costly.check(b"1")

    asyncio.run(remembered())


def test_a_dead_worker_is_seen_and_another_answers_at_once(models: dict[str, Path], image: bytes) -> None:
    question = {"verb": "classify", "model": "kinds", "top": 1, "explain": False, "before": {}}

    async def killed() -> None:
        workers = Workers([models["kinds"]], count=1, limits=replace(LIMITS, waiting=4))
        await workers.start()
        try:
            while len(workers.pids) < 2:  # the one that stands by
                await asyncio.sleep(0.05)
            first, second = workers.pids
            os.kill(first, signal.SIGKILL)  # while idle: nobody is told but the server
            while first in workers.pids:
                await asyncio.sleep(0.01)
            assert workers.pids == [second]
            assert workers.ready == 1
            assert (await workers.ask(question, image)).status == 200
            os.kill(second, signal.SIGKILL)
            while second in workers.pids:
                await asyncio.sleep(0.01)
            assert workers.ready == 0 or workers.pids[0] not in (first, second)
        finally:
            await workers.stop()

    asyncio.run(killed())


@pytest.mark.slow
def test_workers_end_with_a_server_that_is_killed_in_the_middle_of_an_answer(models: dict[str, Path]) -> None:
    with _command(models["kinds"], "--port", "0", "--workers", "1") as process:
        assert process.stdout is not None
        served = Served(process, process.stdout.readline().split()[-1])
        worker = served.worker
        ended = os.pidfd_open(worker)
        try:
            process.kill()
            assert select.select([ended], [], [], 60)[0], "the worker lives on"
        finally:
            os.close(ended)


def test_an_answer_that_nobody_reads_is_dropped(served: Served, image: bytes) -> None:
    boxes = quote(json.dumps([[0, 0, 50, 50]] * 100))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", served.port))
        path = f"/v1/features?model=shapes&format=npy&boxes={boxes}".encode()
        head = HEAD.replace(b"/v1/detect", path) + f"Content-Length: {len(image)}\r\n\r\n".encode()
        client.sendall(head + image)
        client.settimeout(30)
        start = client.recv(15, socket.MSG_WAITALL)
        assert start == b"HTTP/1.1 200 OK"
        assert served.measure("sppnet_held_bytes") > 4_000_000
        served.until("sppnet_held_bytes", 0)


def test_connections_are_bounded(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        connect = lambda: stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=30))  # noqa: E731
        several = [connect() for _ in range(LIMITS.connections + 20)]
        several[-1].settimeout(30)
        refused = several[-1].recv(10_000)
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert b"Retry-After: 2" in refused
    assert b"The service has 400 connections already. Connect again after 2 s." in refused


# The command line


@contextlib.contextmanager
def _command(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sppnet.cli", "serve", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_signal_ends_the_service_once_its_requests_are_answered(
    models: dict[str, Path], image: bytes, end: signal.Signals
) -> None:
    with _command(models["kinds"], "--port", "0", "--workers", "1") as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        served = Served(process, address)
        worker = served.worker
        with ThreadPoolExecutor(1) as pool:
            with served.stopped():
                answered = pool.submit(served.post, "/v1/classify", image)
                served.until("sppnet_workers_busy", 1)
                process.send_signal(end)
                served.until_refused()
                assert process.poll() is None
            assert answered.result().status == 200
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed.strip().endswith("Stopped.")
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.slow
def test_a_service_that_cannot_start_says_why(served: Served, models: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(models["kinds"].read_bytes()[:-1])
    with _command(broken, "--port", "0") as first, _command(models["kinds"], "--port", str(served.port)) as second:
        (_, damaged), (_, taken) = first.communicate(timeout=60), second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (1, 2)  # the data, the command
    assert f"Error: {broken}: the file is damaged: its bytes do not fit its checksum." in damaged
    assert f"Error: serve: 127.0.0.1:{served.port} must be a free address of this machine" in taken


# Images from strangers


@pytest.mark.slow
def test_broken_images_are_refused_and_break_nothing(served: Served, image: bytes) -> None:
    faults, restarts = served.measure("sppnet_faults"), served.measure("sppnet_worker_restarts")
    seeds = []
    with Image.open(io.BytesIO(image)) as opened:
        for name in ("JPEG", "WEBP", "GIF", "BMP", "TIFF", "PNG"):
            file = io.BytesIO()
            opened.save(file, name)
            seeds.append(file.getvalue())
    replies = [served.post("/v1/detect", upload, "image/*") for upload in mutated(seeds, count=300, seed=0)]
    statuses = {reply.status for reply in replies}
    assert statuses == {200, 422}
    assert all(reply.detail for reply in replies if reply.status == 422)
    assert sum(reply.status == 422 for reply in replies) > 60
    assert served.measure("sppnet_faults") == faults
    assert served.measure("sppnet_worker_restarts") == restarts
