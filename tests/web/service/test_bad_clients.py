"""Clients that cost more than they send: each is answered or ended, and the others are answered meanwhile."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.web.service.calling import LIMITS, Served

HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
CRUMBS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 300_000 + b"0\r\n\r\n"


def _answer(served: Served, sent: bytes) -> bytes:
    """Send bytes and return all that comes back, even where the server is done before they are sent."""

    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)

        async def send() -> None:
            writer.write(sent)
            await writer.drain()

        sending = asyncio.ensure_future(send())
        try:
            return await asyncio.wait_for(reader.read(), 60)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.close()

    return asyncio.run(talk())


def test_a_body_in_crumbs_is_refused_after_a_thousand(served: Served) -> None:
    answer = _answer(served, CRUMBS)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert (
        b"the body's chunks must hold at least 100 bytes on average, got 1011 chunks of 1010 bytes together. "
        b"Send it in larger ones." in answer
    )


def test_eight_senders_of_crumbs_leave_the_service_answering(served: Served) -> None:
    with ThreadPoolExecutor(8) as pool:
        bad = [pool.submit(_answer, served, CRUMBS) for _ in range(8)]
        statuses = {served.ask("GET", "/healthz").status for _ in range(20)}
        assert statuses == {200}
        assert all(each.result().startswith(b"HTTP/1.1 400") for each in bad)


def test_small_chunks_of_a_small_image_are_taken(served: Served, image: bytes) -> None:
    chunks = b"".join(b"7\r\n" + image[k : k + 7] + b"\r\n" for k in range(0, 7 * 900, 7))
    rest = image[7 * 900 :]
    body = chunks + b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest)
    sent = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    assert _answer(served, sent).startswith(b"HTTP/1.1 200 OK")


def test_requests_in_a_heap_are_answered_in_order_while_others_are(served: Served) -> None:
    count = 3000
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with ThreadPoolExecutor(1) as pool:
        heap = pool.submit(_answer, served, one * count + last)
        assert {served.ask("GET", "/healthz").status for _ in range(20)} == {200}
        answer = heap.result()
    assert answer.count(b"HTTP/1.1 200 OK") == count
    assert answer.rindex(b"HTTP/1.1 404") > answer.rindex(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\na: " + b"b" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    ],
)
def test_a_head_that_is_too_large_is_refused(served: Served, head: bytes) -> None:
    answer = _answer(served, head)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
    assert b"the head must have at most 32768 bytes, got more. Send fewer headers." in answer


def test_what_surrounds_a_body_counts_too(served: Served) -> None:
    chunk = b"64;" + b"x" * 10_000 + b"\r\n" + b"a" * 100 + b"\r\n"
    answer = _answer(served, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 600)
    assert answer.startswith(b"HTTP/1.1 413")
    assert f"the request must have at most {LIMITS.upload_bytes} bytes".encode() in answer


def test_two_lengths_are_not_http(served: Served) -> None:
    for extra in (
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    ):
        answer = _answer(served, HEAD + extra + b"\r\nabc")
        assert answer.startswith(b"HTTP/1.1 400 Bad Request")


def test_nothing_is_left_of_clients_that_go(served: Served) -> None:
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
            client.sendall(CRUMBS[:500])
    served.until("sppnet_held_bytes", 0)
    assert served.ask("GET", "/healthz").status == 200
