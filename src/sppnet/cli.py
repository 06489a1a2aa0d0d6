"""The command line: parses, calls, prints. Bad input is one line on what and where, and exit code 2."""

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from sppnet.errors import DataError, SppnetError

if TYPE_CHECKING:
    from sppnet.classifier import Classifier
    from sppnet.data import Problem
    from sppnet.detector import Detector
    from sppnet.storage import TensorCache

# Before torch is imported. Threads that spin while they wait make a picture 25 times slower beside another busy
# program (240 to 690 ms instead of 28); asleep they cost nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Every new picture size adds to oneDNN's cache of compiled layers; unbounded it grows by half a gigabyte.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

Item = TypeVar("Item")

INTERRUPTED: Final = 130  # how typer ends after Ctrl-C
BAD_INPUT: Final = 2
SHOWN: Final = 10  # problems printed before the rest is counted

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Detectors and classifiers from a few hundred labelled pictures, on a laptop, in minutes.",
)
train = typer.Typer(no_args_is_help=True, help="Learn from a folder of labelled pictures.")
app.add_typer(train, name="train")
notes = Console(stderr=True, soft_wrap=True, highlight=False)


class OnBad(StrEnum):
    """What to do about a picture that cannot be read."""

    FAIL = "fail"
    SKIP = "skip"


class Format(StrEnum):
    """What to write predictions as."""

    JSON = "json"
    COCO = "coco"
    VOC = "voc"
    CSV = "csv"


Data = Annotated[Path, typer.Argument(help="Folder with a data set: VOC, COCO, YOLO, or one folder a class.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write the model to.")]
Split = Annotated[
    str | None, typer.Option(help="Part of the data to use; by default 'train', or all if there is none.")
]
Bad = Annotated[OnBad, typer.Option(help="Stop at a picture that cannot be read, or leave it out.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder where features are kept between runs; by default the user's cache folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ModelFile = Annotated[Path, typer.Argument(help="A model that 'sppnet train' wrote.")]


def main() -> None:
    """Run the command line."""
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            notes.print("Interrupted. What was computed is kept: the same command goes on from there.")
        raise
    except (SppnetError, OSError, MemoryError) as error:
        notes.print(f"Error: {str(error) or type(error).__name__}", markup=False, style="red")
        sys.exit(BAD_INPUT)


# Learning


@train.command("detector")
def train_detector(
    data: Data,
    out: Out,
    split: Split = None,
    short_side: Annotated[int | None, typer.Option(help="Scale pictures to this shorter side.")] = None,
    proposals: Annotated[str, typer.Option(help="'grid', 'selective-search', or a CSV file of regions.")] = "grid",
    seed: Annotated[int, typer.Option(help="Of the choice among training regions.")] = 0,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Learn to find objects from pictures with boxes."""
    from sppnet.data import load_detection
    from sppnet.detector import Detector

    start = time.perf_counter()
    pictures = load_detection(data, split=split, on_bad=on_bad.value)
    _warn(pictures.problems)
    detector = Detector(short_side=short_side, proposals=_proposals(proposals), cache=_cache(cache), seed=seed)
    cost = detector.estimate(pictures)
    notes.print(
        f"{cost.pictures} pictures, {sum(len(sample.boxes) for sample in pictures.samples)} objects of "
        f"{len(pictures.classes)} classes; {cost.missing} feature maps to compute. "
        f"About {_duration(cost.seconds)} and {cost.memory / 1e9:.1f} GB of memory."
    )
    detector.fit(pictures, progress=_bar)
    detector.save(out)
    summary = {"model": str(out), "pictures": cost.pictures, "classes": list(detector.classes)}
    _trained(summary, detector.untrained, start, as_json)


@train.command("classifier")
def train_classifier(
    data: Data,
    out: Out,
    split: Split = None,
    short_side: Annotated[int, typer.Option(help="Scale pictures to this shorter side.")] = 224,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Learn to tell pictures apart from one folder of pictures a class."""
    from sppnet.classifier import Classifier
    from sppnet.data import load_folders

    start = time.perf_counter()
    pictures = load_folders(data, split=split, on_bad=on_bad.value)
    _warn(pictures.problems)
    classifier = Classifier(short_side=short_side, cache=_cache(cache))
    cost = classifier.estimate(pictures)
    notes.print(
        f"{cost.pictures} pictures of {len(pictures.classes)} classes; {cost.missing} features to compute. "
        f"About {_duration(cost.seconds)} and {cost.memory / 1e9:.1f} GB of memory."
    )
    classifier.fit(pictures, progress=_bar)
    classifier.save(out)
    summary = {"model": str(out), "pictures": cost.pictures, "classes": list(classifier.classes)}
    _trained(summary, classifier.untrained, start, as_json)


def _trained(summary: dict[str, Any], untrained: Sequence[str], start: float, as_json: bool) -> None:
    for name in untrained:
        notes.print(f"Warning: the class {name!r} has no training example and will never be found.", markup=False)
    seconds = time.perf_counter() - start
    if as_json:
        _print_json(summary | {"untrained": list(untrained), "seconds": round(seconds, 2)})
        return
    print(f"{summary['model']}: knows {', '.join(summary['classes'][:SHOWN])}; trained in {_duration(seconds)}.")


# Answering


@app.command()
def predict(
    model: ModelFile,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("predictions"),
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.JSON,
    draw: Annotated[bool, typer.Option("--draw", help="Also write pictures with the boxes drawn.")] = False,
    threshold: Annotated[float, typer.Option(help="Least score of a detection.")] = 0.0,
    on_bad: Bad = OnBad.SKIP,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Find or name what pictures show, and write it to files."""
    from sppnet.classifier import Classifier

    known = _load(model, _cache(cache))
    paths = _pictures(pictures)
    if isinstance(known, Classifier):
        _predict_classes(known, paths, out, form, on_bad, as_json)
    else:
        _predict_boxes(known, paths, out, form, on_bad, as_json, draw, threshold)


def _predict_classes(
    known: "Classifier", paths: Sequence[Path], out: Path, form: Format, on_bad: OnBad, as_json: bool
) -> None:
    from sppnet.predictions import classified, write_classes

    found = _each("Predicting", paths, known.predict, on_bad)
    written = write_classes(out, form.value, found)
    if as_json:
        _print_json([classified(*pair) for pair in found])
        return
    for path, prediction in found:
        print(f"{path}: " + ", ".join(f"{name} {score:.2f}" for name, score in prediction.top(3)))
    notes.print(f"Written to {written}", markup=False)


def _predict_boxes(
    known: "Detector",
    paths: Sequence[Path],
    out: Path,
    form: Format,
    on_bad: OnBad,
    as_json: bool,
    draw: bool,
    threshold: float,
) -> None:
    from PIL import Image

    from sppnet.drawing import draw as drawn
    from sppnet.images import read_image, read_size
    from sppnet.predictions import Found, as_dict, write_detections

    def detected(path: Path) -> Found:
        return Found(path, read_size(path), known.detect(path).above(threshold))

    found = [each for _, each in _each("Detecting", paths, detected, on_bad)]
    written = write_detections(out, form.value, found)
    for each in found if draw else ():
        picture = Image.fromarray(drawn(read_image(each.path), each.detections))
        picture.save(out / f"{each.path.stem}.detections.jpg", quality=92)
    if as_json:
        _print_json([as_dict(each) for each in found])
        return
    for each in found:
        counts = ", ".join(f"{number} {name}" for name, number in each.detections.counts().items() if number)
        print(f"{each.path}: {counts or 'nothing found'}")
    notes.print(f"Written to {written}", markup=False)


@app.command()
def evaluate(
    model: ModelFile,
    data: Data,
    split: Annotated[str | None, typer.Option(help="Part of the data; by default 'val', 'test', or all.")] = None,
    iou: Annotated[float, typer.Option(help="Overlap from which a detection is right.")] = 0.5,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Compare a model's answers with a data set's labels."""
    from sppnet.classifier import Classifier
    from sppnet.data import load_detection, load_folders, splits

    known = _load(model, _cache(cache))
    chosen = split or next((name for name in ("val", "test") if name in splits(data)), "all")
    if isinstance(known, Classifier):
        pictures = load_folders(data, split=chosen, on_bad=on_bad.value, classes=known.classes)
        _warn(pictures.problems)
        named = known.evaluate(pictures, progress=_bar)
        columns = ["accuracy"]
        rows = {name: [share] for name, share in named.as_dict()["classes"].items()}
        _show(named.as_dict(), f"Mean accuracy a class on '{chosen}'", named.accuracy, columns, rows, as_json)
        return
    samples = load_detection(data, split=chosen, on_bad=on_bad.value, classes=known.classes)
    _warn(samples.problems)
    report = known.evaluate(samples, iou=iou, progress=_bar)
    columns = ["average_precision", "recall", "precision", "positives"]
    rows = {name: [row[key] for key in columns] for name, row in report.as_dict()["classes"].items()}
    _show(report.as_dict(), f"Mean average precision at IoU {iou} on '{chosen}'", report.mean, columns, rows, as_json)


@app.command()
def features(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: safetensors.")],
    regions: Annotated[
        Path | None, typer.Option(help="CSV of regions: picture,left,top,right,bottom; by default whole pictures.")
    ] = None,
    short_side: Annotated[int, typer.Option(help="Scale pictures to this shorter side.")] = 480,
    tap: Annotated[str, typer.Option(help="Feature map: stride8, stride16, stride32 or head.")] = "head",
    on_bad: Bad = OnBad.SKIP,
    cache: Cache = None,
) -> None:
    """Write the pyramid features of regions, or of whole pictures."""
    import numpy as np
    import torch

    from sppnet.encoding import Encoder
    from sppnet.images import read_size
    from sppnet.proposals import FileProposals
    from sppnet.storage import write_tensors

    levels = (3, 2, 1)
    encoder = Encoder(tap, short_side, cache=_cache(cache))
    proposed = FileProposals(regions) if regions else None

    def pooled(path: Path) -> tuple[Any, torch.Tensor]:
        size = read_size(path)
        boxes = proposed.of(path.name, size) if proposed else np.array([[0.0, 0.0, size[1], size[0]]])
        return boxes, encoder(path).pool(boxes, levels)

    rows = _each("Computing features", _pictures(pictures), pooled, on_bad)
    counts = [len(boxes) for _, (boxes, _) in rows]
    tensors = {
        "features": torch.cat([values for _, (_, values) in rows]),
        "regions": torch.from_numpy(np.concatenate([boxes for _, (boxes, _) in rows])),
        "picture": torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(counts)),
    }
    metadata = {"pictures": [str(path) for path, _ in rows], "tap": tap, "short_side": short_side, "levels": levels}
    write_tensors(out, tensors, metadata=metadata)
    shape = tuple(tensors["features"].shape)
    print(f"{out}: features {shape[0]} x {shape[1]} of {len(rows)} pictures")


# Looking


@app.command()
def check(data: Data, as_json: Json = False) -> None:
    """Tell what a data set holds and what is wrong with it."""
    from sppnet.inspection import inspect

    found = inspect(data, progress=_bar)
    if as_json:
        _print_json(found.as_dict())
        return
    pictures = ", ".join(f"{number} {split}" for split, number in found.pictures.items())
    sides = "" if found.sizes is None else " Shorter side {} to {}, median {} pixels.".format(*_ends_first(found.sizes))
    print(f"{data}: layout {found.layout}; pictures: {pictures}.{sides}")
    table = Table("class", *found.pictures, *(("reached 0.5", "reached 0.7") if found.reach else ()))
    for name, counts in found.objects.items():
        reach = [f"{share:.1%}" for share in found.reach.get(name, ())]
        table.add_row(name, *map(str, counts.values()), *reach)
    Console().print(table)
    for twin in found.twins:
        print(f"In two splits: {twin.path} ({twin.split}) and {twin.other_path} ({twin.other_split})")
    for problem in found.problems:
        print(problem)
    print(f"{len(found.problems)} problems, {len(found.twins)} pictures in two splits.")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML page to write.")] = Path("sppnet-demo.html"),
) -> None:
    """Classify, teach a detector and time it, on photographs that come with Python packages."""
    from sppnet.demo import write_page

    write_page(out, progress=_bar)
    print(f"Open {out.resolve()}")


# What several commands share


def _bar(name: str, items: Sequence[Item], /) -> Iterable[Item]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=notes) as bars:
        yield from bars.track(items, description=name)


def _each(name: str, paths: Sequence[Path], work: Any, on_bad: OnBad) -> list[tuple[Path, Any]]:
    """Do work on every picture; a bad one stops it all or is named, left out and counted."""
    from sppnet.errors import ImageDecodeError

    done, bad = [], 0
    for path in _bar(name, paths):
        try:
            done.append((path, work(path)))
        except ImageDecodeError as error:
            if on_bad is OnBad.FAIL:
                raise
            bad += 1
            notes.print(f"Skipped: {error}", markup=False, style="yellow")
    if bad:
        notes.print(f"{bad} of {len(paths)} pictures could not be read.")
    if not done:
        raise DataError(f"{paths[0]}: none of {len(paths)} pictures could be read. Name other ones.")
    return done


def _pictures(given: Sequence[Path]) -> list[Path]:
    from sppnet.images import is_picture

    found: list[Path] = []
    for path in given:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder. Name pictures, or folders of pictures.")
        found += sorted(each for each in path.rglob("*") if is_picture(each)) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{given[0]}: holds no pictures. Name pictures, or folders of pictures.")
    return found


def _load(path: Path, cache: "TensorCache") -> "Detector | Classifier":
    from sppnet import classifier, detector
    from sppnet.storage import read_tensors

    _, metadata = read_tensors(path)
    kind = classifier.Classifier if metadata.get("format") == classifier.FORMAT else detector.Detector
    return kind.load(path, cache=cache)


def _proposals(name: str) -> Any:
    from sppnet.proposals import FileProposals, SelectiveSearch

    if name == "grid":
        return None
    return SelectiveSearch() if name == "selective-search" else FileProposals(Path(name))


def _cache(folder: Path | None) -> "TensorCache":
    from sppnet.storage import TensorCache, default_cache_folder

    return TensorCache(folder or default_cache_folder())


def _warn(problems: Sequence["Problem"]) -> None:
    for problem in problems[:SHOWN]:
        notes.print(f"Warning: {problem}", markup=False, style="yellow")
    if len(problems) > SHOWN:
        notes.print(f"Warning: and {len(problems) - SHOWN} more. See them all with 'sppnet check'.")


def _show(
    content: dict[str, Any], title: str, value: float, columns: Sequence[str], rows: dict[str, list[Any]], as_json: bool
) -> None:
    if as_json:
        _print_json(content)
        return
    print(f"{title}: {value:.1%}")
    table = Table("class", *(column.replace("_", " ") for column in columns))
    for name, numbers in rows.items():
        table.add_row(name, *(_cell(number) for number in numbers))
    Console().print(table)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "none"
    return f"{value:.1%}" if isinstance(value, float) else str(value)


def _print_json(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _ends_first(sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    least, middle, most = sizes
    return least, most, middle


if __name__ == "__main__":
    main()
