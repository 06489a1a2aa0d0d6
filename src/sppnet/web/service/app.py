"""What can be asked over HTTP: ``/v1/detect``, ``/v1/classify``, ``/v1/features`` and what describes them."""

import asyncio
import hmac
import json
import logging
import time
from contextlib import ExitStack
from enum import StrEnum
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Query, Request
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sppnet.errors import places_of
from sppnet.web.service import problems
from sppnet.web.service.limits import ServiceLimits
from sppnet.web.service.measures import Measures
from sppnet.web.service.problems import ProblemDetails, RefusalError, failed, overloaded, problem_response
from sppnet.web.service.schemas import (
    ClassifyAnswer,
    DetectAnswer,
    FeaturesAnswer,
    Health,
    LimitFacts,
    ModelAnswer,
    ModelFacts,
)
from sppnet.web.service.uploads import FORM, Memory, Upload, receive
from sppnet.web.service.workers import Reply, Workers
from sppnet.web.shared.guard import PageHeaders, refused_sender

PAGE: Final = Path(str(files("sppnet.web.service") / "page"))
SHARED: Final = Path(str(files("sppnet.web.shared") / "page"))
VERSION: Final = version("sppnet")
LOG: Final = logging.getLogger("sppnet.serve")
KNOWN: Final = frozenset(
    {"/", "/v1/detect", "/v1/classify", "/v1/features", "/v1/model", "/healthz", "/metrics", "/docs"}
)
ABOUT: Final = "Detectors and classifiers of sppnet. Images come as bodies or forms; there are no addresses to fetch."
KINDS: Final = {"detect": "detector", "classify": "classifier"}
TRAINED: Final = "file that 'sppnet train' wrote"
SLICE: Final = 1 << 16  # bytes given to the socket at once

_BINARY: Final = {"type": "string", "format": "binary"}
_IMAGE: Final = {
    "required": True,
    "description": "A JPEG, PNG, WebP, BMP, GIF or TIFF file: as the body itself, or as the field `image` of a form.",
    "content": {
        "image/*": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
        FORM: {"schema": {"type": "object", "required": ["image"], "properties": {"image": _BINARY}}},
    },
}
_BOXES: Final = {"type": "string", "description": "JSON: a list of [left, top, right, bottom] in pixels."}
_IMAGE_AND_BOXES: Final = _IMAGE | {
    "content": _IMAGE["content"]  # type: ignore[operator]
    | {FORM: {"schema": {"type": "object", "required": ["image"], "properties": {"image": _BINARY, "boxes": _BOXES}}}}
}
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": ProblemDetails, "description": "Not HTTP, or a host that this service does not answer to."},
    401: {"model": ProblemDetails, "description": "The key that this service was started with is missing."},
    403: {"model": ProblemDetails, "description": "Sent by a page of another site."},
}
IMAGE_REFUSALS: Final[dict[int | str, dict[str, Any]]] = REFUSALS | {
    404: {"model": ProblemDetails, "description": "No such model is served."},
    408: {"model": ProblemDetails, "description": "The body came too slowly."},
    413: {"model": ProblemDetails, "description": "The body is larger than the limit of /v1/model."},
    415: {"model": ProblemDetails, "description": "The body is of a type that is not accepted."},
    422: {"model": ProblemDetails, "description": "An image, box or parameter that cannot be used, with the reason."},
    503: {
        "model": ProblemDetails,
        "description": "No room now: send it again after the seconds of the header Retry-After.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
    },
}


class FeatureFormat(StrEnum):
    """What features are sent as."""

    JSON = "json"
    NPY = "npy"
    SAFETENSORS = "safetensors"


ModelName = Annotated[str | None, Query(description="A name from /v1/model; by default its first of this kind.")]
Explain = Annotated[
    bool, Query(description="Tell which bins of which window made each score; an exported model cannot.")
]
Threshold = Annotated[
    float | None,
    Query(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Least confidence; by default each class's own. Of an exported model not below these.",
    ),
]
Most = Annotated[int, Query(ge=1, le=1000, description="Of the best, at most so many.")]
BoxesText = Annotated[str | None, Query(description="JSON: a list of boxes; by default the whole image.")]


def make_app(workers: Workers, *, limits: ServiceLimits, local: bool, key: str | None = None) -> FastAPI:
    """Return the application.

    Args:
        workers: started ones.
        limits: of requests.
        local: answer only to the names of this machine, so that no other site can reach it through a browser.
        key: that every question must bring; None asks for none.
    """
    known = [Depends(_refuse_unknown)]
    app = FastAPI(title="sppnet", version=VERSION, docs_url=None, redoc_url=None, dependencies=known)
    memory = Memory(limits.held_bytes)
    measures = Measures(workers, memory)
    service = _Service(workers, limits, memory)
    problems.install(app)
    _add_questions(app, service)
    _add_facts(app, workers, limits, measures)
    _add_page(app)
    app.openapi = lambda: _openapi(app, keyed=key is not None)  # type: ignore[method-assign]
    if key is not None:
        app.add_middleware(_KeyHolders, key=key)
    app.add_middleware(_Guard, local=local)
    app.add_middleware(PageHeaders)
    app.add_middleware(_Measured, measures=measures, workers=workers)
    return app


def _refuse_unknown(request: Request) -> None:
    """Refuse a parameter that a question does not have: it was meant to change the answer, and would not."""
    known = [each.alias for each in request.scope["route"].dependant.query_params]
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None and request.url.path.startswith("/v1/"):
        expected = f"one of {', '.join(known)}" if known else "left out, for there are none"
        detail = f"parameters must be {expected}, got {problems.shown(unknown)}. See /docs."
        raise RefusalError(422, detail)


def _add_questions(app: FastAPI, service: "_Service") -> None:
    @app.post(
        "/v1/detect",
        response_model=DetectAnswer,
        responses=IMAGE_REFUSALS,
        openapi_extra={"requestBody": _IMAGE},
        summary="Find objects in an image.",
    )
    async def detect(
        request: Request,
        model: ModelName = None,
        threshold: Threshold = None,
        most: Most = 300,
        explain: Explain = False,
    ) -> Response:
        options = {"threshold": threshold, "most": most, "explain": explain}
        return await service.answer(request, "detect", model, options)

    @app.post(
        "/v1/classify",
        response_model=ClassifyAnswer,
        responses=IMAGE_REFUSALS,
        openapi_extra={"requestBody": _IMAGE},
        summary="Name what an image shows.",
    )
    async def classify(request: Request, model: ModelName = None, top: Most = 5, explain: Explain = False) -> Response:
        return await service.answer(request, "classify", model, {"top": top, "explain": explain})

    octets = {"schema": _BINARY}
    kinds = {"application/x-npy": octets, "application/x-safetensors": octets}

    @app.post(
        "/v1/features",
        response_model=FeaturesAnswer,
        responses=IMAGE_REFUSALS | {200: {"content": kinds}},
        openapi_extra={"requestBody": _IMAGE_AND_BOXES},
        summary="Pool features of any boxes of an image, in one pass of the network.",
    )
    async def features(
        request: Request,
        model: ModelName = None,
        boxes: BoxesText = None,
        form: Annotated[
            FeatureFormat, Query(alias="format", description="npy: the rows alone, float32.")
        ] = FeatureFormat.JSON,
    ) -> Response:
        return await service.answer(request, "features", model, {"boxes": boxes, "format": form.value})


def _add_facts(app: FastAPI, workers: Workers, limits: ServiceLimits, measures: Measures) -> None:
    @app.get(
        "/v1/model", responses=REFUSALS | {422: IMAGE_REFUSALS[422]}, summary="What is served, and within which limits."
    )
    async def model() -> ModelAnswer:
        names = LimitFacts.model_fields
        facts = LimitFacts(**{name: getattr(limits, name) for name in names})
        models = [ModelFacts.model_validate(each) for each in workers.models]
        return ModelAnswer(version=VERSION, models=models, limits=facts)

    @app.get("/healthz", responses=REFUSALS | {503: IMAGE_REFUSALS[503]}, summary="Whether images are answered.")
    async def healthz() -> Health:
        if not workers.ready:
            raise overloaded("its workers are starting", 1)
        return Health(status="ok", workers=workers.ready, busy=workers.busy, waiting=workers.waiting)

    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get("/metrics", response_class=Response, responses=REFUSALS | {200: text}, summary="Figures for Prometheus.")
    async def metrics() -> Response:
        return measures.response()


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(PAGE / "docs.html")

    app.mount("/static", StaticFiles(directory=PAGE), name="page")
    app.mount("/shared", StaticFiles(directory=SHARED), name="shared")


def _fits(facts: dict[str, Any], verb: str) -> bool:
    return not facts["exported"] if verb == "features" else facts["kind"] == KINDS[verb]


class _Service:
    """Asks the workers about the images that come."""

    def __init__(self, workers: Workers, limits: ServiceLimits, memory: Memory) -> None:
        self.workers, self.limits, self.memory = workers, limits, memory

    async def answer(self, request: Request, verb: str, model: str | None, options: dict[str, Any]) -> Response:
        """Take an image in and answer; what can be refused is refused before the image is read."""
        start = time.perf_counter()
        name = self._named(verb, model)
        self._check_export(name, options)
        self.workers.check_room()
        with ExitStack() as held:
            share = held.enter_context(self.memory.share())
            upload = await receive(request, self.limits, share)
            question = {"verb": verb, "model": name, **_with_fields(options, upload)}
            question["before"] = {"upload": time.perf_counter() - start}
            reply = await self._reply(request, question, upload.image)
            if reply.status != 200:
                headers = {"Retry-After": "1"} if reply.status == 503 else {}
                raise RefusalError(reply.status, json.loads(reply.content)["detail"], headers)
            share.take(len(reply.content))
            return _Held(reply, held.pop_all())

    def _named(self, verb: str, name: str | None) -> str:
        what = {"detect": "a detector", "classify": "a classifier", "features": f"a {TRAINED}"}[verb]
        fitting = [str(facts["name"]) for facts in self.workers.models if _fits(facts, verb)]
        if not fitting or (name is not None and name not in fitting):
            expected = ", ".join(fitting) or f"{what}, which this service has none of"
            actual = "none" if name is None else problems.shown(name)
            raise RefusalError(404, f"model must be {expected}, got {actual}. See /v1/model.")
        return name or fitting[0]

    def _check_export(self, name: str, options: dict[str, Any]) -> None:
        """Refuse what an export cannot tell: what made a score, and what its graph leaves out."""
        facts = next(facts for facts in self.workers.models if facts["name"] == name)
        if not facts["exported"]:
            return
        advice = f"serve the {TRAINED}"
        if options.get("explain"):
            detail = f"explain must be false for {name}, which is an export, got true. Leave it out, or {advice}."
            raise RefusalError(422, detail)
        if (given := options.get("threshold")) is None:
            return
        own = zip(facts["classes"], facts["thresholds"], strict=True)
        least = max(each for known, each in own if known not in facts["untrained"])
        if given < least:
            expected = f"at least {least} for {name}, an export that leaves out what is below its own thresholds"
            raise RefusalError(422, f"threshold must be {expected}, got {given}. Leave it out, or {advice}.")

    async def _reply(self, request: Request, question: dict[str, Any], image: bytes) -> Reply:
        """Wait for the answer as long as the client does."""
        answered = asyncio.ensure_future(self.workers.ask(question, image))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait((answered, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                raise ClientDisconnect
            return answered.result()
        finally:
            gone.cancel()
            answered.cancel()


def _with_fields(options: dict[str, Any], upload: Upload) -> dict[str, Any]:
    boxes = upload.fields.get("boxes")
    if boxes is None:
        return options
    if "boxes" not in options:
        raise RefusalError(422, "the form must have one field image, got boxes too. Send boxes to /v1/features.")
    if options["boxes"] is not None:
        raise RefusalError(422, "boxes must be in the form or in the address, got both. Leave one out.")
    return options | {"boxes": boxes}


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Held(Response):
    """An answer that counts as held until the client has read it, and is given to the socket in slices."""

    def __init__(self, reply: Reply, held: ExitStack) -> None:
        super().__init__(reply.content, reply.status, media_type=reply.media_type)
        self._held = held

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        with self._held:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for place in range(0, len(self.body), SLICE):
                await send({"type": "http.response.body", "body": self.body[place : place + SLICE], "more_body": True})
            await send({"type": "http.response.body", "body": b""})


class _Guard:
    """ASGI middleware that refuses what another site sends through a visitor's browser."""

    def __init__(self, app: ASGIApp, *, local: bool) -> None:
        self.app, self.local = app, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["type"] == "http" and refused_sender(
            scope["method"], Headers(scope=scope), any_host=not self.local
        )
        answer = problem_response(RefusalError(*refused)) if refused else self.app
        await answer(scope, receive, send)


class _KeyHolders:
    """ASGI middleware that refuses questions without the key, before their bodies are read; pages come to all."""

    def __init__(self, app: ASGIApp, *, key: str) -> None:
        self.app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = scope["type"] == "http" and scope["path"].startswith(("/v1/", "/metrics"))
        if asks and not hmac.compare_digest(self._given(Headers(scope=scope)), self._key):
            detail = "a key must come in the header Authorization, as 'Bearer KEY', got none or another. Send it."
            refusal = RefusalError(401, detail, {"WWW-Authenticate": "Bearer"})
            await problem_response(refusal)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    @staticmethod
    def _given(headers: Headers) -> bytes:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return given.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


class _Measured:
    """ASGI middleware that counts requests, and turns a fault of this package into a refusal that says so."""

    def __init__(self, app: ASGIApp, *, measures: Measures, workers: Workers) -> None:
        self.app, self.measures, self.workers = app, measures, workers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except Exception as error:
            LOG.error("a fault of the service: %s", places_of(error))
            self.workers.faults += 1
            if not status:
                refusal = failed(1)
                await problem_response(refusal)(scope, receive, send_counted)
        path = scope["path"] if scope["path"] in KNOWN else "other"
        self.measures.requests.labels(path, str(status)).inc()
        self.measures.seconds.labels(path).observe(time.perf_counter() - start)


def _openapi(app: FastAPI, *, keyed: bool) -> dict[str, Any]:
    """Return the schema of the interface, its refusals under their own type."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
        for operation in (each for path in schema["paths"].values() for each in path.values()):
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    response["content"] = {problems.MEDIA_TYPE: next(iter(response["content"].values()))}
        if keyed:
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"key": []}]
        app.openapi_schema = schema
    return app.openapi_schema
