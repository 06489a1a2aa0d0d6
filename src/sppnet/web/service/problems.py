"""Refusals: JSON with a status, a title and one sentence on what was expected, what came, and what to do next.

The form is RFC 9457's ``application/problem+json``.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"
SHOWN: Final = 100  # characters of what came


class ProblemDetails(BaseModel):
    """Why a request was refused."""

    title: str = Field(description="The status in words.")
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    detail: str = Field(description="What was expected, what came, and what to do next.")


class RefusalError(Exception):
    """A request that is not answered: the status, the reason, and headers such as Retry-After."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def overloaded(what: str, seconds: int) -> RefusalError:
    """Return the refusal of a request that may be sent again in some seconds."""
    detail = f"The service has no room for another request: {what}. Send it again after {seconds} s."
    return RefusalError(503, detail, {"Retry-After": str(seconds)})


def failed(seconds: int) -> RefusalError:
    """Return the refusal of a request that the service could not finish through a fault of its own."""
    detail = f"The service failed on this request; its log tells why. Send it again after {seconds} s."
    return RefusalError(503, detail, {"Retry-After": str(seconds)})


def shown(value: object) -> str:
    """Return what came, short enough to be told back."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def content(status: int, detail: str) -> dict[str, Any]:
    """Return the JSON of a refusal."""
    return {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def problem_response(refusal: RefusalError) -> Response:
    """Return the answer to a refused request."""
    return JSONResponse(
        content(refusal.status, refusal.detail), refusal.status, headers=refusal.headers, media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    """Make every refusal of the application a problem in JSON."""

    @app.exception_handler(RefusalError)
    async def refused(_: Request, error: RefusalError) -> Response:
        return problem_response(error)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # which nobody reads

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        path = shown(request.url.path)
        details = {
            404: f"path must be one that /openapi.json lists, got {path}. Look there.",
            405: f"{path} must be asked with {(error.headers or {}).get('Allow', 'another method')}, "
            f"got {shown(request.method)}. Use that method.",
        }
        detail = details.get(error.status_code, str(error.detail))
        return problem_response(RefusalError(error.status_code, detail, error.headers))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "request"
        said = str(first["msg"])
        expected = said[0].lower() + said[1:]
        detail = f"{where}: {expected}, got {shown(first.get('input'))}. See /openapi.json for what is accepted."
        return problem_response(RefusalError(422, detail))
