"""The requests of an import: its files come one by one, then it is read, looked at, and taken in or dropped."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from sppnet.errors import ArgumentError, message
from sppnet.web.studio.changes import Row
from sppnet.web.studio.imports import Import
from sppnet.web.studio.people import Person
from sppnet.web.studio.session import Session
from sppnet.web.studio.uploads import write_parts

IMPORTS: Final = "/api/imports"


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FromPath(_Asked):
    """A file or folder of this machine."""

    path: Annotated[str, Field(min_length=1, max_length=4000)]


class Named(_Asked):
    """An import that was begun."""

    token: Annotated[str, Field(max_length=40)]


class Came(_Asked):
    """An image that came with labels: its path beside them, and its id; None if it was not taken."""

    path: Annotated[str, Field(min_length=1, max_length=4000)]
    image: Row | None


class Beside(Named):
    """Some of the images that came with labels; without a token, an import begins with them."""

    images: Annotated[list[Came], Field(max_length=1000)]


class Taken(Named):
    """How an import is taken in: as labels or as suggestions.

    ``theirs``: boxes that are there otherwise become as the import has them. ``complete``: images with labels are.
    """

    into: Literal["labels", "suggestions"]
    theirs: bool = False
    complete: bool = False


def add_imports(app: FastAPI, session: Session, *, local: bool) -> None:
    """Add the requests.

    Args:
        local: only this machine's user asks, and may name any path of it.
    """

    def begun(token: str, person: str) -> Import:
        return session.imports.get(token) if token else session.begin_import(person)

    @app.post(IMPORTS)
    async def bring(name: str, request: Request, person: Person, token: str = "") -> dict[str, str]:
        one = begun(token, person)
        file = one.new_file()
        await write_parts(file, request.stream())
        await run_in_threadpool(one.add, file, name)
        return {"token": one.token}

    @app.post("/api/imports/images")
    def beside(asked: Beside, person: Person) -> dict[str, str]:
        one = begun(asked.token, person)
        one.add_images((each.path, each.image) for each in asked.images)
        return {"token": one.token}

    @app.post("/api/imports/path")
    def bring_path(asked: FromPath, person: Person) -> dict[str, str]:
        if not local:
            advice = "Choose the file on your own machine"
            raise ArgumentError(message("studio", "path", "asked on the studio's machine", "another one", advice))
        one = session.begin_import(person)
        one.add_path(Path(asked.path.strip()).expanduser())
        return {"token": one.token}

    @app.post("/api/imports/read")
    def read(asked: Named) -> dict[str, Any]:
        one = session.imports.get(asked.token)
        one.read()
        return one.state(session.store)

    @app.get("/api/imports/{token}")
    def state(token: str) -> dict[str, Any]:
        return session.imports.get(token).state(session.store)

    @app.post("/api/imports/take")
    def take(asked: Taken, person: Person) -> dict[str, Any]:
        return session.take_import(
            asked.token, as_labels=asked.into == "labels", theirs=asked.theirs, complete=asked.complete, person=person
        )

    @app.post("/api/imports/drop")
    def drop(asked: Named) -> dict[str, Any]:
        session.imports.drop(asked.token)
        return {}
