"""The studio: one page on this machine where a person teaches a detector on the images of a folder."""

from sppnet.errors import MissingExtraError

try:
    from sppnet.web.studio.serving import serve_studio
except ModuleNotFoundError as error:
    if error.name not in ("fastapi", "starlette", "uvicorn", "pydantic"):
        raise
    raise MissingExtraError("studio: needs the extra 'web'. Install it: pip install 'sppnet[web]'.") from error

__all__ = ["serve_studio"]
