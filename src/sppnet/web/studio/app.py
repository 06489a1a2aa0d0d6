"""The studio's requests: each is checked, handed to the session, and answered in JSON."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.middleware import Middleware

from sppnet.errors import ArgumentError, DataError, ImageDecodeError
from sppnet.web.shared.guard import OwnPagesOnly, PageHeaders
from sppnet.web.studio.changes import Changes, Row
from sppnet.web.studio.exports import PARTIAL, remove_partial, write_export
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Missing

PAGE: Final = Path(__file__).parent / "page"
SHARED: Final = Path(__file__).parents[1] / "shared" / "page"

Export = Literal["voc", "coco", "yolo", "model", "detections", "counts", "images"]


class Settings(BaseModel):
    """What a person chose; what is not named stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    by_itself: bool | None = None


class Nothing(BaseModel):
    """An empty JSON object."""

    model_config = ConfigDict(extra="forbid")


def studio_app(session: Session) -> FastAPI:
    """Make the application that serves one opened folder, to pages of this machine only."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        remove_partial(session)
        session.start()
        yield
        session.close()

    app = FastAPI(
        title="sppnet studio",
        lifespan=running,
        middleware=[Middleware(PageHeaders), Middleware(OwnPagesOnly)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    _answer_errors(app)
    _add_reading(app, session)
    _add_images(app, session)
    _add_writing(app, session)
    app.mount("/static", StaticFiles(directory=PAGE), name="page")
    app.mount("/shared", StaticFiles(directory=SHARED), name="shared")
    return app


def _answer_errors(app: FastAPI) -> None:
    statuses: dict[type[Exception], int] = {Missing: 404, ArgumentError: 422, DataError: 409, ImageDecodeError: 422}

    def answering(status: int) -> Callable[[Request, Exception], Response]:
        return lambda _, error: JSONResponse({"detail": str(error)}, status)

    for kind, status in statuses.items():
        app.add_exception_handler(kind, answering(status))
    # FastAPI's own answer repeats the input, which may hold what JSON cannot, such as NaN.
    app.add_exception_handler(RequestValidationError, lambda _, error: JSONResponse({"detail": _said(error)}, 422))


def _said(error: Exception) -> str:
    if not isinstance(error, RequestValidationError):
        return str(error)
    found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return "; ".join(found)[:500]


def _add_reading(app: FastAPI, session: Session) -> None:
    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/api/state")
    def state() -> dict[str, Any]:
        return session.state()

    @app.get("/api/quality")
    def quality() -> dict[str, Any]:
        return session.quality()

    @app.get("/api/events")
    async def events() -> StreamingResponse:
        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(session.events.listen(), media_type="text/event-stream", headers=headers)

    @app.get("/api/export/{name}")
    def export(name: Export) -> FileResponse:
        file = session.folder.hidden / f"{PARTIAL}{secrets.token_hex(8)}"
        try:
            shown = write_export(session, name, file)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        removed = BackgroundTask(file.unlink, missing_ok=True)
        return FileResponse(file, filename=shown, background=removed, headers={"Cache-Control": "no-store"})


def _add_images(app: FastAPI, session: Session) -> None:
    @app.get("/api/images/{image}")
    def opened(image: Row) -> dict[str, Any]:
        return session.opened(image)

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
    def change(asked: Changes) -> dict[str, Any]:
        return session.change(asked)

    @app.post("/api/undo")
    def undo(_: Nothing) -> dict[str, Any]:
        return session.undo()

    @app.post("/api/redo")
    def redo(_: Nothing) -> dict[str, Any]:
        return session.redo()

    @app.post("/api/teach")
    def learn_head(_: Nothing) -> dict[str, Any]:
        session.learner.ask()
        return session.status()

    @app.post("/api/measure")
    def measure(_: Nothing) -> dict[str, Any]:
        session.learner.ask(measure=True)
        return session.status()

    @app.post("/api/settings")
    def settings(asked: Settings) -> dict[str, Any]:
        return session.keep(asked.model_dump(exclude_none=True))
