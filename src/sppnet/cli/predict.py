"""``predict`` and ``features``: what a model, or the network alone, makes of images."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sppnet.cli.answering import Answer, Asked, Engine, answerer, parts_of
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
    workers: Annotated[int, typer.Option(min=1, help="Processes; each has its part of the cores.")] = 1,
    part: Annotated[
        str | None, typer.Option("--shard", help="Only this part of the images, as 3/10, into a folder of its own.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="What computes: 'onnxruntime' takes half the time of 'torch', needs sppnet[export].")
    ] = Engine.TORCH,
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
    if part is not None:
        number, parts = parts_of(part)
        from sppnet.pipeline import shard

        paths, out = shard(paths, number, parts), out / f"part-{number}-of-{parts}"
    if profile:
        _profile(known.predict if known.kind == "classifier" else known.detect, paths, on_bad, as_json)
        return
    check_names(paths, form.value)
    asked = Asked(model, cache, engine, threshold)
    journal = Journal(out, _made_by(asked))
    found = _answers(paths, lambda pending: answerer(asked, known, pending, workers), journal, on_bad)
    if known.kind == "classifier":
        _write_classes(found, journal, form, as_json)
    else:
        _write_boxes(found, journal, form, as_json, draw)


def _made_by(asked: Asked) -> dict[str, Any]:
    """Return what the answers depend on: answers of another model, threshold or engine are not gone on with."""
    status = asked.model.stat()
    return {
        "model": str(asked.model.resolve()),
        "size": status.st_size,
        "time": status.st_mtime_ns,
        "threshold": asked.threshold,
        "engine": asked.engine.value,
    }


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
    paths: Sequence[Path],
    ask: Callable[[Sequence[Path]], Callable[[Path], Answer]],
    journal: "Journal",
    on_bad: OnBad,
) -> list[tuple[Path, Answer]]:
    """Return the answer for each image: what the journal has, and the rest as ``ask`` has it made, in their order."""
    known = {path: journal.answer(path) for path in paths}
    pending = [path for path, answer in known.items() if answer is None]
    if len(pending) < len(paths):
        tell(f"{len(paths) - len(pending)} of {len(paths)} images were answered by a run before; going on.")
    make = ask(pending)

    def answered(path: Path) -> Answer:
        answer = known[path]
        return journal.add(path, make(path)) if answer is None else answer

    return each_image("Looking at images", paths, answered, on_bad)


def _write_classes(found: list[tuple[Path, Answer]], journal: "Journal", form: Format, as_json: bool) -> None:
    from sppnet.detection.output import write_classes

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


def _write_boxes(
    answers: list[tuple[Path, Answer]], journal: "Journal", form: Format, as_json: bool, draw: bool
) -> None:
    from sppnet.detection.output import from_dict, write_detections

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
