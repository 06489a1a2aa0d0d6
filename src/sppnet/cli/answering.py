"""``predict`` and ``features``: what a model, or the network alone, makes of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sppnet.cli.asking import (
    Bad,
    Cache,
    Format,
    Json,
    ModelFile,
    OnBad,
    cache_in,
    each_picture,
    load_model,
    pictures_below,
)
from sppnet.cli.printing import notes, print_json, show_stages
from sppnet.cli.program import app

if TYPE_CHECKING:
    from sppnet.classifier import Classifier
    from sppnet.detector import Detector


@app.command()
def predict(
    model: ModelFile,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("predictions"),
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.JSON,
    draw: Annotated[bool, typer.Option("--draw", help="Also write pictures with the boxes drawn.")] = False,
    threshold: Annotated[float, typer.Option(help="Least score of a detection.")] = 0.0,
    profile: Annotated[bool, typer.Option("--profile", help="Tell where the time goes instead; no cache.")] = False,
    on_bad: Bad = OnBad.SKIP,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Find or name what pictures show, and write it to files."""
    from sppnet.classifier import Classifier

    if profile:
        _profile(model, pictures_below(pictures), on_bad, as_json)
        return
    known = load_model(model, cache_in(cache))
    paths = pictures_below(pictures)
    if isinstance(known, Classifier):
        _predict_classes(known, paths, out, form, on_bad, as_json)
    else:
        _predict_boxes(known, paths, out, form, on_bad, as_json, draw, threshold)


def _profile(model: Path, paths: Sequence[Path], on_bad: OnBad, as_json: bool) -> None:
    from sppnet.classifier import Classifier
    from sppnet.progress import usual_stages

    known = load_model(model, None)
    work = known.predict if isinstance(known, Classifier) else known.detect
    timed = each_picture("Timing", paths, lambda path: usual_stages(lambda: work(path)), on_bad)
    if as_json:
        print_json([{"picture": str(path), "seconds": stages} for path, stages in timed])
        return
    for path, stages in timed:
        show_stages(str(path), stages)


def _predict_classes(
    known: "Classifier", paths: Sequence[Path], out: Path, form: Format, on_bad: OnBad, as_json: bool
) -> None:
    from sppnet.predictions import classified, write_classes

    found = each_picture("Predicting", paths, known.predict, on_bad)
    written = write_classes(out, form.value, found)
    if as_json:
        print_json([classified(*pair) for pair in found])
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

    found = [each for _, each in each_picture("Detecting", paths, detected, on_bad)]
    written = write_detections(out, form.value, found)
    for each in found if draw else ():
        picture = Image.fromarray(drawn(read_image(each.path), each.detections))
        picture.save(out / f"{each.path.stem}.detections.jpg", quality=92)
    if as_json:
        print_json([as_dict(each) for each in found])
        return
    for each in found:
        counts = ", ".join(f"{number} {name}" for name, number in each.detections.counts().items() if number)
        print(f"{each.path}: {counts or 'nothing found'}")
    notes.print(f"Written to {written}", markup=False)


@app.command()
def features(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: safetensors.")],
    regions: Annotated[
        Path | None, typer.Option(help="CSV of regions: picture,left,top,right,bottom; by default whole pictures.")
    ] = None,
    short_side: Annotated[int, typer.Option(help="Scale pictures to this shorter side.")] = 480,
    tap: Annotated[str, typer.Option(help="Feature map: stride8, stride16, stride32, head or deep.")] = "head",
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
    encoder = Encoder(tap, short_side, cache=cache_in(cache))
    proposed = FileProposals(regions) if regions else None

    def pooled(path: Path) -> tuple[Any, torch.Tensor]:
        size = read_size(path)
        boxes = proposed.of(path.name, size) if proposed else np.array([[0.0, 0.0, size[1], size[0]]])
        return boxes, encoder(path).pool(boxes, levels)

    rows = each_picture("Computing features", pictures_below(pictures), pooled, on_bad)
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
