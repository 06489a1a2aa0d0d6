"""``serve``: models that answer over HTTP."""

from pathlib import Path
from typing import Annotated, Final

import typer

from sppnet.cli.options import Engine, EngineName
from sppnet.cli.printing import notes, printable
from sppnet.cli.program import app
from sppnet.errors import ArgumentError

LABELS: Final = "labels.json"  # of each folder that an export wrote


@app.command(epilog="Example: sppnet serve cells.safetensors --port 8080")
def serve(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODELS", help="Models that 'sppnet train' wrote, or folders that 'sppnet export' wrote."
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each core.")] = None,
    waiting: Annotated[int, typer.Option(min=0, help="Requests that may wait; more are refused.")] = 16,
    engine: EngineName = Engine.TORCH,
    upload_mb: Annotated[int, typer.Option(min=1, help="Megabytes of one image file, at most.")] = 20,
) -> None:
    """Answer over HTTP, and on a page: what an image shows, and why.

    What 'sppnet export' wrote is run by ONNX Runtime alone, without PyTorch: it finds and names, and explains nothing.

    With SPPNET_API_KEY in the environment every question must bring that key.
    """
    import os

    from sppnet.errors import MissingExtraError

    for each in models:
        _check_model(each)
    try:
        from sppnet.web.service.limits import ServiceLimits
        from sppnet.web.service.serving import serve as run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"serve: needs {error.name}. Install it with: pip install 'sppnet[web]'.") from error
    limits = ServiceLimits(waiting=waiting, upload_bytes=upload_mb * 1_000_000)
    notes.print("Loading models ...")
    run(
        models,
        host=host,
        port=port,
        workers=workers,
        engine=engine.value,
        limits=limits,
        key=os.environ.get("SPPNET_API_KEY"),
        started=_tell,
    )
    notes.print("Stopped.")


def _check_model(path: Path) -> None:
    """Raise ArgumentError for what is plainly no model; asked before the processes start that will open it."""
    advice = "Give a file that 'sppnet train' wrote, or a folder that 'sppnet export' wrote"
    if not path.exists():
        raise ArgumentError(f"{printable(path)}: no such model. {advice}.")
    if path.is_dir() and not (path / LABELS).is_file():
        raise ArgumentError(f"{printable(path)}: no model was exported into this folder. {advice}.")


def _tell(address: str) -> None:
    print(f"Serving on {address}", flush=True)
