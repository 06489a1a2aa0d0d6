"""``studio``: the page where a person teaches a detector."""

from pathlib import Path
from typing import Annotated

import typer

from sppnet.cli.options import Engine, EngineName
from sppnet.cli.printing import bar, notes, show_warning
from sppnet.cli.program import app


@app.command(epilog="Example: sppnet studio slides")
def studio(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder with images; labels that lie in it are read.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes any.")] = 8770,
    host: Annotated[
        str, typer.Option(help="Address to listen on. 0.0.0.0 lets other machines in; then a password is asked for.")
    ] = "127.0.0.1",
    path: Annotated[
        str, typer.Option(help="Path that the page lies below, as /studio: for a proxy that hands it on.")
    ] = "",
    engine: EngineName = Engine.TORCH,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the page's address, do not open it.")] = False,
) -> None:
    """Open the page where you draw boxes, and a detector learns.

    After each box it shows what it would find; everything is saved as you work.
    """
    import os
    import sys
    import warnings
    import webbrowser

    from sppnet.web.studio import serve_studio

    is_open = False

    def ready(address: str) -> None:
        nonlocal is_open
        is_open = True
        print(f"The studio is at {address}", flush=True)
        notes.print("Everything is saved as you work. Ctrl-C ends the studio.")
        if not no_browser:
            webbrowser.open(address)

    def warned(message: Warning | str, *_: object, **__: object) -> None:
        show_warning(str(message).replace(str(folder.resolve()), "the folder"))

    warnings.showwarning = warned  # of a cache without room: the log of a server names no place of a person's
    password = os.environ.get("SPPNET_STUDIO_PASSWORD")
    if password is None and host != "127.0.0.1" and sys.stdin.isatty():
        password = typer.prompt("Password for everybody who labels", hide_input=True, confirmation_prompt=True)
    try:
        serve_studio(
            folder, host=host, port=port, password=password, path=path, engine=engine.value, ready=ready, progress=bar
        )
    except KeyboardInterrupt:
        if not is_open:
            raise  # what was announced is no interruption
    notes.print("Stopped. Everything is saved.")
