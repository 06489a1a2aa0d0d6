"""Every refusal: the status, and a sentence on what was expected, what came, and what to do next."""

import json
import socket
from urllib.parse import quote

import pytest
from tests.web.service.calling import LIMITS, Served, form, png


def _boxes(text: str) -> str:
    return f"/v1/features?boxes={quote(text)}"


MANY = json.dumps([[0, 0, 9, 9]] * 601)
IMAGES = [
    ("/v1/detect", b"", 422, "image must be an image file, got nothing. Send its bytes as the body or in a form."),
    (
        "/v1/detect",
        b"no image",
        422,
        "image must be a whole JPEG, PNG, WebP, BMP, GIF or TIFF, got one that cannot be read: its content is none",
    ),
    ("/v1/detect", png(10, 101), 422, "image must be at most 10 times as long as wide, got 10 x 101 pixels"),
    ("/v1/detect", png(1001, 1000), 422, "1001 x 1000 pixels are more than 1,000,000"),
    ("/v1/detect?model=kinds", png(9, 9), 404, "model must be shapes, got 'kinds'. See /v1/model."),
    ("/v1/classify?model=no", png(9, 9), 404, "model must be kinds, got 'no'. See /v1/model."),
    ("/v1/detect?threshold=nan", png(9, 9), 422, "threshold: input should be a finite number, got 'nan'. See"),
    ("/v1/detect?threshold=1.5", png(9, 9), 422, "threshold: input should be less than or equal to 1, got '1.5'. See"),
    ("/v1/detect?most=0", png(9, 9), 422, "most: input should be greater than or equal to 1, got '0'. See"),
    ("/v1/classify?top=a", png(9, 9), 422, "top: input should be a valid integer, unable to parse string"),
    ("/v1/features?format=pickle", png(9, 9), 422, "format: input should be 'json', 'npy' or 'safetensors', got"),
    (
        _boxes("[[0,0,9"),
        png(9, 9),
        422,
        "features: boxes must be a JSON list of [left, top, right, bottom], numbers, got",
    ),
    (_boxes('[[0,0,9,"9"]]'), png(9, 9), 422, "features: boxes must be a JSON list of [left, top, right, bottom]"),
    (_boxes("[" * 9000), png(9, 9), 422, "features: boxes must be a JSON list of [left, top, right, bottom]"),
    (_boxes("[[0,0,9,1e999]]"), png(9, 9), 200, ""),  # clipped to the image, as any box that reaches out of it
    (_boxes(f"[[0,0,9,{'9' * 400}]]"), png(9, 9), 422, "features: boxes must be a JSON list of [left, top, right"),
    (_boxes("[[0,0,9,NaN]]"), png(9, 9), 422, "features: regions[0] must be a box that holds some of the image of"),
    (_boxes("[[0,0,9,9],[9,0,12,9]]"), png(9, 9), 422, "features: regions[1] must be a box that holds some of the"),
    (_boxes(MANY), png(9, 9), 422, "features: boxes must be at most 600, got 601. Send several requests."),
    (
        _boxes(json.dumps([[0, 0, 9, 9]] * 60)),
        png(9, 9),
        422,
        "so few that the answer has at most 50,000 values",
    ),
]


@pytest.mark.parametrize(("path", "image", "status", "detail"), IMAGES)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    served: Served, path: str, image: bytes, status: int, detail: str
) -> None:
    reply = served.post(path, image)
    assert reply.status == status
    assert status == 200 or detail in reply.detail


FORMS = [
    ((), "the form must have a field image, got []. Add the file to it."),
    ((("boxes", b"[]"),), "the form must have a field image, got ['boxes']. Add the file to it."),
    ((("file", b"a"),), "the form's fields must be image and boxes, got 'file'. Rename it."),
    (
        (("image", b"a"), ("image", b"b")),
        "the form must have one field image, got two. Send one image a request.",
    ),
    ((("image", png(9, 9)), ("boxes", b"\xff")), "boxes must be a text in UTF-8, got other bytes. Send JSON."),
]


@pytest.mark.parametrize(("parts", "detail"), FORMS)
def test_a_form_of_other_fields_is_refused(served: Served, parts: tuple[tuple[str, bytes], ...], detail: str) -> None:
    body, kind = form(*parts)
    reply = served.post("/v1/features", body, kind)
    assert (reply.status, reply.detail) == (422, detail)


def test_a_form_that_is_none_is_refused(served: Served, image: bytes) -> None:
    body, kind = form(("image", image))
    cut = served.post("/v1/detect", body[:-10], kind)
    assert cut.status == 422
    assert "it ends before its last boundary. Let a client make it." in cut.detail
    other = served.post("/v1/detect", b"x" + body, kind)
    assert other.status == 422
    assert "the body must be multipart/form-data, got one that cannot be read" in other.detail
    nameless = served.post("/v1/detect", body, "multipart/form-data")
    assert nameless.status == 422
    assert "content-type must name a boundary of 1 to 70 characters" in nameless.detail


def test_boxes_are_given_once_and_where_they_are_used(served: Served) -> None:
    body, kind = form(("image", png(9, 9)), ("boxes", b"[]"))
    twice = served.post("/v1/features?boxes=[]", body, kind)
    assert (twice.status, twice.detail) == (
        422,
        "boxes must be in the form or in the address, got both. Leave one out.",
    )
    unused = served.post("/v1/detect", body, kind)
    assert (unused.status, unused.detail) == (
        422,
        "the form must have one field image, got boxes too. Send boxes to /v1/features.",
    )


def test_a_field_that_is_too_long_is_refused(served: Served) -> None:
    body, kind = form(("boxes", b"[" * 1_000_001))
    reply = served.post("/v1/features", body, kind)
    assert (reply.status, reply.detail) == (
        413,
        "the field boxes must have at most 1000000 bytes, got more. Send fewer boxes.",
    )


@pytest.mark.parametrize(
    ("headers", "status", "detail"),
    [
        (
            {},
            415,
            "content-type must be image/*, application/octet-stream or multipart/form-data, got ''. Say what you",
        ),
        (
            {"Content-Type": "text/html"},
            415,
            "content-type must be image/*, application/octet-stream or multipart/form-",
        ),
        (
            {"Content-Type": "image/png", "Content-Encoding": "gzip"},
            415,
            "content-encoding must be identity, got 'gzip'.",
        ),
        (
            {"Content-Type": "image/png", "Host": "evil.example"},
            400,
            "host must be one of 127.0.0.1, ::1, localhost, got",
        ),
        ({"Content-Type": "image/png", "Origin": "http://evil.example"}, 403, "origin must be http://127.0.0.1:"),
        ({"Content-Type": "image/png", "Sec-Fetch-Site": "cross-site"}, 403, "requests must come from the page itself"),
    ],
)
def test_a_request_of_another_kind_is_refused(
    served: Served, image: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    reply = served.ask("POST", "/v1/detect", image, headers)
    assert reply.status == status
    assert detail in reply.detail


def test_other_paths_and_methods_are_refused(served: Served) -> None:
    unknown = served.ask("GET", "/v2/detect")
    assert (unknown.status, unknown.detail) == (
        404,
        "path must be one that /openapi.json lists, got '/v2/detect'. Look there.",
    )
    method = served.ask("GET", "/v1/detect")
    assert method.status == 405
    assert method.headers["allow"] == "POST"
    assert method.detail == "'/v1/detect' must be asked with POST, got 'GET'. Use that method."
    assert served.ask("GET", "/static/../app.py").status == 404
    assert served.ask("GET", "/static/%2e%2e/guard.py").status == 404


def test_a_long_body_is_refused_before_it_is_sent(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
        client.sendall(b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\n")
        client.sendall(b"Content-Type: image/png\r\nContent-Length: 2000001\r\n\r\n")
        answer = client.recv(10_000)
        answer += client.recv(10_000)
    assert b" 413 " in answer
    assert b"the body must be at most 2000000 bytes, got 2000001. Send a smaller or more compressed image." in answer


def test_a_body_of_unknown_length_is_refused_once_it_is_too_long(served: Served) -> None:
    reply = served.ask("POST", "/v1/detect", iter([b"x" * 500_000] * 5), {"Content-Type": "image/png"})
    assert reply.status == 413
    assert "the body must be at most 2000000 bytes, got 2" in reply.detail


def test_a_client_that_sends_on_after_a_refusal_still_reads_it(served: Served) -> None:
    body = b"x" * LIMITS.upload_bytes
    assert served.post("/v1/detect?model=no", body).status == 404
    assert served.ask("POST", "/v1/detect?model=no", body, {"Connection": "close"}).status == 404


def test_what_is_not_http_is_refused(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
        client.sendall(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
        answer = client.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"the request must be HTTP/1.1, got one that cannot be read" in answer
