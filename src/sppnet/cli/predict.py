"""``predict``: what a model finds in images, or what it calls them."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sppnet.cli.answering import Asked, careful, model_answers, travelling
from sppnet.cli.many import (
    Address,
    Gpus,
    Images,
    OnCluster,
    Place,
    Prepare,
    Shard,
    Where,
    Workers,
    each_good,
    fill,
    image_files,
    name_of,
    only_paths,
    place,
    report,
    shard_of,
    where_of,
)
from sppnet.cli.options import (
    Bad,
    Cache,
    Device,
    Engine,
    EngineName,
    Format,
    Json,
    ModelFile,
    OnBad,
    cache_in,
    check_out_place,
    images_below,
    load_model,
    refuse_given,
)
from sppnet.cli.printing import bar, notes, print_json, print_json_list, printable, show_stages, tell
from sppnet.cli.program import app
from sppnet.errors import ArgumentError, counted, is_full
from sppnet.pipeline import Lazy

if TYPE_CHECKING:
    from sppnet.detection.journal import Journal
    from sppnet.detection.output import ImageDetections
    from sppnet.pipeline.parts import ImageFile


@app.command(epilog="Example: sppnet predict cells.safetensors new --format csv --draw")
def predict(
    context: typer.Context,
    model: ModelFile,
    images: Images,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write to.")] = "predictions",
    form: Annotated[Format | None, typer.Option("--format", help="What to write; json by default.")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Also write images with the boxes drawn.")] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence, 0 to 1; by default each class's own from the model.")
    ] = None,
    workers: Workers = None,
    part: Shard = None,
    engine: EngineName = Engine.TORCH,
    profile: Annotated[bool, typer.Option("--profile", help="Tell where the time goes instead; no cache.")] = False,
    on: OnCluster = None,
    address: Address = None,
    gpus: Gpus = 0.0,
    on_bad: Bad = OnBad.SKIP,
    device: Device = "cpu",
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Find or name what images show, and write it to files.

    Answers are kept as they come: the same command goes on where a run was ended.
    """
    _check_threshold(threshold)
    where = where_of(workers, on, address, gpus)
    form = form or (Format.PARQUET if where.cluster else Format.JSON)
    if where.cluster and form is not Format.PARQUET:
        advice = "Many machines cannot write one file"
        raise ArgumentError(f"--format must be parquet with --on ray, got '{form.value}'. {advice}.")
    if not profile:
        check_out_place(out)
    placed = "cpu" if where.cluster else device
    known = load_model(model, None if profile else cache_in(cache, engine), placed, engine)
    _check_kind(context, known, form)
    asked = Asked(model, cache, engine, device, threshold)
    if profile:
        refuse_with_profile = ("out", "form", "draw", "threshold", "workers", "part", "on", "address", "gpus", "cache")
        refuse_given(context, refuse_with_profile, "only timed by --profile")
        _profile(known, images_below(only_paths(images)), on_bad, as_json)
        return
    if form is Format.PARQUET:
        refuse_given(context, ("draw",), "asked for Parquet")
        files = image_files(images)
        shard = shard_of(files, place(out), part)
        _check_regions(known, [image.place for image in files])
        _write_parts(asked, known, shard, where, on_bad, as_json)
        return
    from sppnet.detection.journal import Journal
    from sppnet.detection.output import check_names

    given = images_below(only_paths(images))
    paths, folder = shard_of(given, Path(out), part)
    check_names(given, form.value)
    _check_regions(known, given)
    journal = Journal(Path(folder), asked.run())
    prepare = partial(model_answers, asked, known if where.workers == 1 else None)
    found = _answered(prepare, paths, journal, where.workers, on_bad)
    write = _write_classes if known.kind == "classifier" else partial(_write_boxes, draw=draw)
    write(found, given, journal, form, as_json)


def _check_threshold(threshold: float | None) -> None:
    if threshold is not None and not (math.isfinite(threshold) and 0 <= threshold <= 1):
        advice = "Leave it out for the model's"
        raise ArgumentError(f"--threshold must be a confidence from 0 to 1, got {threshold}. {advice}.")


def _check_kind(context: typer.Context, known: Any, form: Format) -> None:
    """Refuse what a classifier cannot do: it finds no boxes."""
    if known.kind == "classifier":
        refuse_given(context, ("draw", "threshold"), "a classifier")
        if form in (Format.COCO, Format.VOC):
            expected = "json, jsonl, csv or parquet for a classifier"
            raise ArgumentError(f"--format must be {expected}, got '{form.value}'. It finds no boxes.")


def _check_regions(known: Any, images: Sequence[Place]) -> None:
    """Look up all images before the work, those of other parts too, where a detector takes its regions from a file."""
    if known.kind == "detector":
        from sppnet.proposals.files import check_names

        check_names(known.model_.proposals, map(name_of, images))


def _profile(known: Any, paths: Sequence[Path], on_bad: OnBad, as_json: bool) -> None:
    from sppnet.progress import usual_stages

    work = known.predict if known.kind == "classifier" else known.detect
    timed = list(each_good("Timing", paths, lambda: careful(lambda path: usual_stages(lambda: work(path))), 1, on_bad))
    if as_json:
        print_json([{"image": printable(path), "seconds": stages} for path, stages in timed])
        return
    for path, stages in timed:
        show_stages(printable(path), stages)
    _offer_engine(known, timed[0][0])


def _offer_engine(known: Any, path: Path) -> None:
    """Tell how long the network takes on an image by each engine that is installed and agrees, and how to take it.

    Engines run on the processor: where the network is on another device, there is nothing to choose.
    """
    from sppnet.export.engine import compare_engines

    encoder = known.model_.encoder if known.kind == "detector" else known.encoder_.encoder
    if encoder.backbone.device.type != "cpu":
        return
    seconds = compare_engines(encoder, path)
    told = ", ".join(f"{name} {1000 * taken:.0f} ms" for name, taken in seconds.items())
    fastest = min(seconds, key=lambda name: seconds[name])
    advice = (
        f"Take the fastest with --engine {fastest}" if len(seconds) > 1 else "pip install 'sppnet[export]' brings more"
    )
    tell(f"The network by engine: {told}. {advice}.")


def _answered(
    prepare: Prepare, paths: Sequence[Path], journal: "Journal", workers: int, on_bad: OnBad
) -> Sequence[Path]:
    """Have every image answered that the journal has no answer for; return the images with one."""
    from sppnet.storage import check_room

    pending = [path for path in paths if not journal.knows(path)]
    check_room(journal.file, sum(len(printable(path)) for path in pending))  # each line names its image
    if len(pending) < len(paths):
        tell(f"{len(paths) - len(pending)} of {counted(len(paths), 'image')} were answered by a run before; going on.")
    good = set(paths) - set(pending)
    for path, answer in each_good("Looking at images", pending, prepare, workers, on_bad, len(good)):
        journal.add(path, answer)
        good.add(path)
    return [path for path in paths if path in good]


def _write_classes(
    paths: Sequence[Path], given: Sequence[Path], journal: "Journal", form: Format, as_json: bool
) -> None:
    from sppnet.detection.output import common_folder, write_classes

    found = Lazy(paths, journal.answer)
    written = write_classes(journal.file.parent, form.value, found, base=common_folder(given))
    if as_json:
        print_json_list(found)
    else:
        for answer in found:
            best = ", ".join(f"{printable(each['class'])} {each['score']:.2f}" for each in answer["best"][:3])
            none = "" if answer["class"] == answer["best"][0]["class"] else f"{answer['class']}; "
            print(f"{answer['image']}: {none}{best}")
        tell(f"Written to {printable(written)}")
    journal.remove()


def _write_boxes(
    paths: Sequence[Path], given: Sequence[Path], journal: "Journal", form: Format, as_json: bool, *, draw: bool
) -> None:
    from sppnet.detection.output import common_folder, from_dict, write_detections

    found = Lazy(paths, lambda path: from_dict(path, journal.answer(path)))
    written = write_detections(journal.file.parent, form.value, found, base=common_folder(given))
    if draw:
        _draw(found, given, journal.file.parent)
    if as_json:
        print_json_list(Lazy(paths, journal.answer))
    else:
        for answer in Lazy(paths, journal.answer):
            counts = ", ".join(f"{number} {printable(name)}" for name, number in answer["counts"].items() if number)
            print(f"{answer['image']}: {counts or 'nothing found'}")
        tell(f"Written to {printable(written)}")
    journal.remove()


def _draw(found: "Sequence[ImageDetections]", given: Sequence[Path], out: Path) -> None:
    """Draw the detections of each image; unless the disk is full, what cannot be written is named and passed over."""
    from sppnet.detection.output import drawing_names
    from sppnet.images import encode
    from sppnet.storage import write_file

    names = dict(zip(given, drawing_names(given), strict=True))
    for each in bar("Drawing", found):
        drawing = encode(each.detections.draw(each.path), "JPEG", quality=92)
        try:
            write_file(out / names[each.path], drawing, durable=False)
        except OSError as error:
            if is_full(error):
                raise
            notes.print(f"Not drawn: {printable(each.path)}: {(error.strerror or str(error)).lower()}", style="yellow")


def _write_parts(
    asked: Asked, known: Any, found: "tuple[list[ImageFile], Place]", where: Where, on_bad: OnBad, as_json: bool
) -> None:
    from sppnet.detection.output import CLASS_TABLE, TABLE
    from sppnet.pipeline.parts import PartFiles
    from sppnet.storage import place_in

    name, table = ("classes", CLASS_TABLE) if known.kind == "classifier" else ("detections", TABLE)
    here = partial(model_answers, asked, known if where.workers == 1 else None)
    files = PartFiles(place_in(found[1], f"{name}.parquet"), found[0], asked.run())
    report(files, fill(files, table, travelling(asked) if where.cluster else here, where, on_bad), as_json)
