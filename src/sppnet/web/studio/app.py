"""The studio's requests: each is checked, handed to the session, and answered in JSON."""

import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sppnet.errors import ArgumentError, DataError, ImageDecodeError, MissingExtraError, WriteError, is_full, places_of
from sppnet.web.shared.guard import OwnPagesOnly, PageHeaders
from sppnet.web.studio.access import LASTS, SESSION, Access, SessionsOnly, TooManyGuesses, token_of
from sppnet.web.studio.alike import add_alike
from sppnet.web.studio.changes import Changes, Row
from sppnet.web.studio.exports import PARTIAL, remove_partial, write_export
from sppnet.web.studio.import_requests import IMPORTS, add_imports
from sppnet.web.studio.pages import PAGE, SHARED, for_people
from sppnet.web.studio.people import BROWSER, PERSON, Person
from sppnet.web.studio.review import Disagreement
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Missing
from sppnet.web.studio.tuning import Wish
from sppnet.web.studio.uploads import LONGEST_STEP, MOST_BYTES, receive

UPLOADS: Final = "/api/uploads"
YEAR: Final = 365 * 86_400  # seconds

Share = Annotated[float, Query(ge=0, le=0.5)]
Every = Annotated[float, Query(gt=0, le=LONGEST_STEP, allow_inf_nan=False)]
Groups = Annotated[str, Query(max_length=200)]
Export = Literal[
    "voc", "coco", "yolo", "csv", "labelstudio", "model", "onnx", "detections", "counts", "report", "images"
]


class AskedSettings(BaseModel):
    """What a person chose; what is not named stays as it is. No threshold (null): each class has its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    by_itself: bool | None = None


class From(BaseModel):
    """The image that is left."""

    model_config = ConfigDict(extra="forbid")
    image: Row | None = None


class Wished(BaseModel):
    """What is to become of the tuning of the network."""

    model_config = ConfigDict(extra="forbid")
    do: Wish


class Nothing(BaseModel):
    """An empty JSON object."""

    model_config = ConfigDict(extra="forbid")


def studio_app(session: Session, *, access: Access | None = None) -> FastAPI:
    """Make the application that serves one opened folder.

    Args:
        access: without it, pages of this machine are served only; with it, whoever gives the password.
    """
    guards = [
        Middleware(PageHeaders),
        Middleware(_Faults, folder=session.folder.hidden),
        Middleware(OwnPagesOnly, uploads={UPLOADS, IMPORTS}, most=MOST_BYTES, any_host=access is not None),
    ]
    if access is not None:
        guards.append(Middleware(SessionsOnly, access=access))

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        remove_partial(session)
        session.start()
        yield
        session.close()

    app = FastAPI(
        title="sppnet studio",
        lifespan=running,
        middleware=guards,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    _answer_errors(app)
    _add_reading(app, session, local=access is None)
    _add_images(app, session)
    _add_writing(app, session)
    add_alike(app, session)
    add_imports(app, session, local=access is None)
    if access is not None:
        _add_login(app, access)
    app.mount("/static", StaticFiles(directory=PAGE), name="page")
    app.mount("/shared", StaticFiles(directory=SHARED), name="shared")
    return app


def _answer_errors(app: FastAPI) -> None:
    statuses: dict[type[Exception], int] = {
        Missing: 404,
        ArgumentError: 422,
        DataError: 409,
        ImageDecodeError: 422,
        MissingExtraError: 501,
        WriteError: 507,
    }

    def answering(status: int) -> Callable[[Request, Exception], Response]:
        return lambda _, error: JSONResponse({"detail": for_people(error)}, status)

    for kind, status in statuses.items():
        app.add_exception_handler(kind, answering(status))
    # FastAPI's own answer repeats the input, which may hold what JSON cannot, such as NaN.
    app.add_exception_handler(
        RequestValidationError, lambda _, error: JSONResponse({"detail": for_people(_said(error))}, 422)
    )


def _said(error: Exception) -> str:
    """Say what is wrong with a request: in our words where a person chose the value, with its place otherwise."""
    if not isinstance(error, RequestValidationError):
        return str(error)
    reasons = [each["ctx"]["error"] for each in error.errors() if each["type"] == "value_error" and "ctx" in each]
    if reasons:
        return str(reasons[0])
    places = ", ".join(dict.fromkeys(".".join(map(str, each["loc"])) for each in error.errors()))[:200]
    return f"studio: the request must be one of this version's page, got another {places}. Reload the page."


class _Faults:
    """ASGI middleware that answers what nobody else did: a full disk, and faults of ours.

    Neither is left to the server, whose log would tell the message, and so the names of a person's files.
    """

    def __init__(self, app: ASGIApp, *, folder: Path) -> None:
        self.app, self.folder = app, folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = False

        async def send_noted(part: Message) -> None:
            nonlocal begun
            begun = True
            await send(part)

        try:
            await self.app(scope, receive, send_noted)
        except ClientDisconnect:
            return  # who would read an answer
        except Exception as error:
            answer = self._answer(error)
            if not begun:
                await answer(scope, receive, send)

    def _answer(self, error: Exception) -> Response:
        if isinstance(error, OSError) and is_full(error):
            return JSONResponse({"detail": str(WriteError(self.folder, error))}, 507)
        logging.getLogger(__name__).error("the studio's requests: %s", places_of(error))
        reason = f"{type(error).__name__}: {error}"[:300]
        detail = f"This did not work: {reason}. Nothing was lost; the terminal tells where it arose."
        return JSONResponse({"detail": detail}, 500)


def _add_reading(app: FastAPI, session: Session, *, local: bool) -> None:
    @app.get("/")
    def page(person: Person) -> FileResponse:
        answer = FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})
        if not person:
            answer.set_cookie(
                PERSON, f"{BROWSER}{secrets.token_hex(16)}", max_age=YEAR, httponly=True, samesite="strict"
            )
        return answer

    @app.get("/api/state")
    def state(person: Person) -> dict[str, Any]:
        return session.state(person=person) | {"local": local, "me": "" if local else person}

    @app.get("/api/quality")
    def quality() -> dict[str, Any]:
        return session.quality()

    @app.get("/api/review")
    def review(kind: Disagreement | None = None, label: Row | None = None) -> dict[str, Any]:
        return session.review(kind, label)

    @app.get("/report")
    def report_page() -> FileResponse:
        return FileResponse(PAGE / "report.html", headers={"Cache-Control": "no-cache"})

    @app.get("/api/report")
    def report(groups: Groups = "") -> dict[str, Any]:
        return session.report(groups)

    @app.get("/api/events")
    async def events() -> StreamingResponse:
        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(session.events.listen(), media_type="text/event-stream", headers=headers)

    @app.get("/api/export/{name}")
    def export(
        name: Export, val: Share = 0.0, test: Share = 0.0, groups: Groups = "", complete: bool = False
    ) -> FileResponse:
        file = session.folder.hidden / f"{PARTIAL}{secrets.token_hex(8)}"
        try:
            shares = {"val": val, "test": test}
            written = write_export(session, name, file, shares=shares, groups=groups, complete=complete)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        removed = BackgroundTask(file.unlink, missing_ok=True)
        headers = {"Cache-Control": "no-store", "X-Left-Out": str(len(written.left_out))}
        return FileResponse(file, filename=written.name, background=removed, headers=headers)


def _add_images(app: FastAPI, session: Session) -> None:
    @app.get("/api/images/{image}")
    def opened(image: Row, person: Person) -> dict[str, Any]:
        return session.opened(image, person=person)

    @app.get("/api/images/{image}/image")
    def image(image: Row, request: Request) -> Response:
        return answered(image, request, session.folder.shown, "image/jpeg")

    @app.get("/api/images/{image}/thumbnail")
    def thumbnail(image: Row, request: Request) -> Response:
        return answered(image, request, session.folder.thumbnail, "image/webp")

    def answered(image: int, request: Request, made: Callable[[str], bytes], media_type: str) -> Response:
        name = session.known(image).name
        headers = {"Cache-Control": "private, no-cache", "ETag": f'"{session.folder.version(name)}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(made(name), media_type=media_type, headers=headers)


def _add_writing(app: FastAPI, session: Session) -> None:
    @app.post("/api/changes")
    def change(asked: Changes, person: Person) -> dict[str, Any]:
        return session.change(asked, person=person)

    @app.post("/api/undo")
    def undo(_: Nothing, person: Person) -> dict[str, Any]:
        return session.undo(person=person)

    @app.post("/api/redo")
    def redo(_: Nothing, person: Person) -> dict[str, Any]:
        return session.redo(person=person)

    @app.post(UPLOADS)
    async def upload(name: str, request: Request, every: Every = 1.0) -> dict[str, Any]:
        files, fresh, cut = await receive(session.folder, name, request.stream(), every=every)
        image = await run_in_threadpool(session.taken_in, files[0])
        return {"image": image, "files": len(files), "fresh": fresh, "cut": cut}

    @app.post("/api/next")
    def next_image(asked: From, person: Person) -> dict[str, Any]:
        return {"image": session.next_image(person, asked.image)}

    @app.post("/api/teach")
    def learn_head(_: Nothing) -> dict[str, Any]:
        session.learner.ask()
        return session.status()

    @app.post("/api/measure")
    def measure(_: Nothing) -> dict[str, Any]:
        session.learner.ask(measure=True)
        return session.status()

    @app.post("/api/tuning")
    def tune(asked: Wished) -> dict[str, Any]:
        return session.tuning.do(asked.do)

    @app.post("/api/settings")
    def settings(asked: AskedSettings) -> dict[str, Any]:
        return session.keep(asked.model_dump(exclude_unset=True))


class Login(BaseModel):
    """What a person gives to come in."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=40)]
    password: Annotated[str, Field(min_length=1, max_length=200)]


def _add_login(app: FastAPI, access: Access) -> None:
    @app.post("/api/login")
    def login(asked: Login, request: Request) -> Response:
        address = request.client.host if request.client else ""
        try:
            token = access.enter(asked.name.strip(), asked.password, address)
        except TooManyGuesses:
            return JSONResponse(
                {"detail": "Too many wrong passwords. Wait a minute."}, 429, headers={"Retry-After": "60"}
            )
        if token is None:
            return JSONResponse({"detail": "This is not the password."}, 403)
        answer = JSONResponse({})
        answer.set_cookie(SESSION, token, max_age=int(LASTS), httponly=True, samesite="strict")
        return answer

    @app.post("/api/logout")
    def logout(_: Nothing, request: Request) -> Response:
        access.leave(token_of(request.headers))
        answer = JSONResponse({})
        answer.delete_cookie(SESSION)
        return answer
