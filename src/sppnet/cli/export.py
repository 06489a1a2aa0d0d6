"""``export``: a model for programs, pages and machines that have no PyTorch."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sppnet.cli.options import Json, ModelFile, check_out_folder, load_model
from sppnet.cli.printing import notes, print_json
from sppnet.cli.program import app
from sppnet.errors import ArgumentError, MissingExtraError, message


class Scaling(StrEnum):
    """Where images are scaled."""

    INSIDE = "inside"
    OUTSIDE = "outside"


class Form(StrEnum):
    """Kinds of model files."""

    ONNX = "onnx"
    PT2 = "pt2"
    OPENVINO = "openvino"


@app.command(epilog="Example: sppnet export cells.safetensors --out cells")
def export(
    model: ModelFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    form: Annotated[Form, typer.Option("--format", help="ONNX; PyTorch's own, .pt2; or OpenVINO's.")] = Form.ONNX,
    scaling: Annotated[
        Scaling, typer.Option(help="Scale images inside the file, or outside, before: exactly as sppnet does.")
    ] = Scaling.INSIDE,
    boxes: Annotated[
        bool, typer.Option("--boxes", help="Of a detector: take boxes and give their features, instead of finding.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Add a page that runs the model in the browser, without a server behind it.")
    ] = False,
    node_modules: Annotated[Path, typer.Option(help="Where npm installed onnxruntime-web, for --web.")] = Path(
        "node_modules"
    ),
    as_json: Json = False,
) -> None:
    """Write a model as one file, from image to boxes or scores.

    A script that runs it comes with one of ONNX. Needs sppnet[export].
    """
    if web and (boxes or scaling is Scaling.OUTSIDE):
        asked = "--boxes" if boxes else "--scaling outside"
        raise ArgumentError(message("export", "--web", "asked without --boxes, scaled inside", asked, "Leave it out"))
    if web and form is not Form.ONNX:
        raise ArgumentError(message("export", "--web", "asked with --format onnx", form.value, "Leave one out"))
    try:
        from sppnet.export.folder import MODEL_FILES, export_classifier, export_detector
        from sppnet.export.web import runtime_files, write_page
    except ModuleNotFoundError as error:
        advice = "Install it with: pip install 'sppnet[export]'"
        raise MissingExtraError(f"export: needs {error.name}. {advice}.") from error
    runtime = runtime_files(node_modules) if web else {}
    check_out_folder(out)
    known = load_model(model, None)
    if known.kind == "detector":
        export_detector(known, out, scaling=scaling.value, boxes=boxes, form=form.value)
    elif boxes:
        raise ArgumentError(message("export", "--boxes", "asked of a detector", known.kind, "Leave it out"))
    else:
        export_classifier(known, out, scaling=scaling.value, form=form.value)
    if web:
        write_page(out, runtime)
    written = sorted(path.name for path in out.iterdir())
    if as_json:
        file = out / MODEL_FILES[form.value]
        print_json({"model": str(file), "bytes": file.stat().st_size, "files": written})
        return
    print(f"{out}: {', '.join(written)}")
    tried = f"python {out}/run.py IMAGE" if "run.py" in written else f"see {out}/README.md"
    notes.print("Try it: " + (f"python -m http.server -d {out}" if web else tried), markup=False)
