"""``predict`` and ``features``: what a model, or the network alone, makes of images."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sppnet.cli.options import (
    Bad,
    Cache,
    Device,
    Download,
    Format,
    Json,
    ModelFile,
    Network,
    OnBad,
    Weights,
    cache_in,
    check_out_file,
    check_out_folder,
    images_below,
    load_model,
    refuse_given,
)
from sppnet.cli.printing import bar, notes, print_json, printable, show_stages, tell
from sppnet.cli.program import app
from sppnet.errors import ArgumentError, DataError, ImageDecodeError

if TYPE_CHECKING:
    from sppnet.detection.output import ImageDetections, Journal
    from sppnet.proposals.files import FileProposals


@app.command()
def predict(
    context: typer.Context,
    model: ModelFile,
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("predictions"),
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.JSON,
    draw: Annotated[bool, typer.Option("--draw", help="Also write images with the boxes drawn.")] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence, 0 to 1; by default each class's own from the model.")
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Tell where the time goes instead; no cache.")] = False,
    on_bad: Bad = OnBad.SKIP,
    device: Device = "cpu",
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Find or name what images show, and write it to files.

    Answers are kept as they come: the same command goes on where a run was ended.
    """
    from sppnet.detection.output import Journal, check_names

    if threshold is not None and not (math.isfinite(threshold) and 0 <= threshold <= 1):
        raise ArgumentError(
            f"--threshold must be a confidence from 0 to 1, got {threshold}. Leave it out for the model's."
        )
    if not profile:
        check_out_folder(out)
    known = load_model(model, None if profile else cache_in(cache), device)
    if known.kind == "classifier":
        refuse_given(context, ("draw", "threshold"), "a classifier")
        if form not in (Format.JSON, Format.CSV):
            raise ArgumentError(
                f"--format must be json or csv for a classifier, got '{form.value}'. It finds no boxes."
            )
    paths = images_below(images)
    if profile:
        _profile(known.predict if known.kind == "classifier" else known.detect, paths, on_bad, as_json)
        return
    check_names(paths, form.value)
    status = model.stat()
    made_by = {
        "model": str(model.resolve()),
        "size": status.st_size,
        "time": status.st_mtime_ns,
        "threshold": threshold,
    }
    journal = Journal(out, made_by)
    if known.kind == "classifier":
        _predict_classes(known, paths, journal, form, on_bad, as_json)
    else:
        _predict_boxes(known, paths, journal, form, on_bad, as_json, draw, threshold)


def _profile(work: Callable[[Path], object], paths: Sequence[Path], on_bad: OnBad, as_json: bool) -> None:
    from sppnet.progress import usual_stages

    timed = each_image("Timing", paths, lambda path: usual_stages(lambda: work(path)), on_bad)
    if as_json:
        print_json([{"image": printable(path), "seconds": stages} for path, stages in timed])
        return
    for path, stages in timed:
        show_stages(printable(path), stages)


def each_image(name: str, paths: Sequence[Path], work: Any, on_bad: OnBad) -> list[tuple[Path, Any]]:
    """Do work on every image; a bad one stops it all or is named, left out and counted."""
    done, bad = [], 0
    for path in bar(name, paths):
        try:
            done.append((path, work(path)))
        except ImageDecodeError as error:
            if on_bad is OnBad.FAIL:
                raise
            bad += 1
            notes.print(f"Skipped: {printable(error)}", style="yellow")
    if bad:
        notes.print(f"{bad} of {len(paths)} images could not be read.")
    if not done:
        raise DataError(f"{printable(paths[0])}: none of {len(paths)} images could be read. Name other ones.")
    return done


def _answers(
    name: str, paths: Sequence[Path], answer: Callable[[Path], dict[str, Any]], journal: "Journal", on_bad: OnBad
) -> list[tuple[Path, dict[str, Any]]]:
    """Return the answer for each image: what the journal has, and the rest as it is made."""
    before_now = sum(printable(path) in journal.done for path in paths)
    if before_now:
        tell(f"{before_now} of {len(paths)} images were answered by a run before; going on.")

    def answered(path: Path) -> dict[str, Any]:
        version = [path.stat().st_size, path.stat().st_mtime_ns]
        before = journal.done.get(printable(path))
        if before is not None and before["version"] == version:
            known: dict[str, Any] = before["answer"]
            return known
        made = answer(path)
        journal.add({"image": printable(path), "version": version, "answer": made})
        return made

    return each_image(name, paths, answered, on_bad)


def _predict_classes(
    known: Any, paths: Sequence[Path], journal: "Journal", form: Format, on_bad: OnBad, as_json: bool
) -> None:
    from sppnet.detection.output import classified, write_classes

    found = _answers("Predicting", paths, lambda path: classified(path, known.predict(path)), journal, on_bad)
    answers = [answer for _, answer in found]
    written = write_classes(journal.file.parent, form.value, answers)
    journal.remove()
    if as_json:
        print_json(answers)
        return
    for answer in answers:
        best = ", ".join(f"{printable(each['class'])} {each['score']:.2f}" for each in answer["best"][:3])
        print(f"{answer['image']}: {best}")
    tell(f"Written to {printable(written)}")


def _predict_boxes(
    known: Any,
    paths: Sequence[Path],
    journal: "Journal",
    form: Format,
    on_bad: OnBad,
    as_json: bool,
    draw: bool,
    threshold: float | None,
) -> None:
    from sppnet.detection.output import ImageDetections, as_dict, from_dict, write_detections
    from sppnet.images import read_size

    def detected(path: Path) -> dict[str, Any]:
        return as_dict(ImageDetections(path, read_size(path), known.detect(path, threshold=threshold)))

    answers = _answers("Detecting", paths, detected, journal, on_bad)
    found = [from_dict(*pair) for pair in answers]
    written = write_detections(journal.file.parent, form.value, found)
    journal.remove()
    if draw:
        _draw(found, journal.file.parent)
    if as_json:
        print_json([answer for _, answer in answers])
        return
    for _, answer in answers:
        counts = ", ".join(f"{number} {printable(name)}" for name, number in answer["counts"].items() if number)
        print(f"{answer['image']}: {counts or 'nothing found'}")
    tell(f"Written to {printable(written)}")


def _draw(found: "Sequence[ImageDetections]", out: Path) -> None:
    """Draw the detections of each image; a drawing that cannot be written is named and costs nothing else."""
    from sppnet.detection.output import drawing_names
    from sppnet.images import encode
    from sppnet.storage import write_file

    names = drawing_names([each.path for each in found])
    for each, name in bar("Drawing", list(zip(found, names, strict=True))):
        drawing = encode(each.detections.draw(each.path), "JPEG", quality=92)
        try:
            write_file(out / name, drawing, durable=False)
        except OSError as error:
            notes.print(f"Not drawn: {printable(each.path)}: {(error.strerror or str(error)).lower()}", style="yellow")


@app.command()
def features(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .safetensors, .npz, .npy, .csv, .parquet.")],
    regions: Annotated[
        Path | None, typer.Option(help="CSV of regions: image,left,top,right,bottom; by default whole images.")
    ] = None,
    short_side: Annotated[int, typer.Option(help="Scale images to this shorter side.")] = 480,
    backbone: Network = "efficientnet_lite0",
    weights: Weights = None,
    download: Download = False,
    layer: Annotated[
        str | None, typer.Option(help="Feature map, such as stride8, stride16 or stride32; by default the deepest.")
    ] = None,
    on_bad: Bad = OnBad.SKIP,
    cache: Cache = None,
) -> None:
    """Write the pyramid features of regions, or of whole images."""
    import numpy as np
    import torch

    from sppnet.backbones import backbone as named_backbone
    from sppnet.features.encoder import Encoder
    from sppnet.features.tables import check_form, write_features
    from sppnet.images import read_size
    from sppnet.proposals.files import FileProposals

    check_form(out)
    check_out_file(out)
    levels = (3, 2, 1)
    network = named_backbone(backbone, weights=weights, download=download)
    layer = layer or ("head" if "head" in network.channels else network.classifier_layer)
    encoder = Encoder(layer, short_side, cache=cache_in(cache), backbone=network)
    proposed = FileProposals(regions) if regions else None
    paths = images_below(images)
    if proposed is not None:
        _check_regions(proposed, paths)

    def pooled(path: Path) -> tuple[Any, torch.Tensor]:
        size = read_size(path)
        boxes = proposed.of(path.as_posix(), size) if proposed else np.array([[0.0, 0.0, size[1], size[0]]])
        return boxes, encoder(path).pool(boxes, levels)

    rows = each_image("Computing features", paths, pooled, on_bad)
    boxes = [mine for _, (mine, _) in rows]
    vectors = torch.cat([values for _, (_, values) in rows]).numpy()
    settings = {"layer": layer, "short_side": short_side, "levels": levels}
    write_features(out, [printable(path) for path, _ in rows], boxes, vectors, settings)
    print(f"{printable(out)}: features {vectors.shape[0]} x {vectors.shape[1]} of {len(rows)} images")


def _check_regions(proposed: "FileProposals", paths: Sequence[Path]) -> None:
    """Raise ArgumentError where a name in the file of regions may mean two images."""
    seen: dict[str, Path] = {}
    for path in paths:
        key = proposed.key(path.as_posix())
        if key is not None and key in seen:
            both = f"{printable(seen[key])} and {printable(path)}"
            raise ArgumentError(f"--regions: {key!r} in {printable(proposed.path)} may mean {both}. Write their paths.")
        if key is not None:
            seen[key] = path
