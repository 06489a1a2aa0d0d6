"""The engines that run networks, and whether they are installed: told without importing any of them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sppnet.errors import MissingExtraError, check_that

TORCH: Final = "torch"
EXTRAS: Final = {"onnxruntime": "export", "openvino": "openvino"}  # beside PyTorch, and what brings each


def check_engine(engine: str) -> None:
    """Raise what ``export.engine.network_by`` would.

    Raises:
        ArgumentError: an unknown engine. MissingExtraError: one that is not installed.
    """
    known = engine == TORCH or engine in EXTRAS
    names = ", ".join((TORCH, *EXTRAS))
    check_that(known, "EngineNetwork", "engine", f"one of {names}", repr(engine), advice="Name one of these")
    missing = [package for package in ("onnx", engine) if engine != TORCH and find_spec(package) is None]
    if missing:
        advice = f"Install it with: pip install 'sppnet[{EXTRAS[engine]}]'"
        raise MissingExtraError(f"--engine {engine}: needs {' and '.join(missing)}. {advice}.")


def maps_folder(cache: Path | str, engine: str) -> Path | str:
    """Return where the maps that an engine makes are kept below a folder or an address: each rounds in its own way."""
    if engine == TORCH:
        return cache
    return cache / engine if isinstance(cache, Path) else f"{cache.rstrip('/')}/{engine}"
