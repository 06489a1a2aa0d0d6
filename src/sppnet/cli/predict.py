"""``predict`` and ``features``: what a model, or the network alone, makes of images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sppnet.cli.options import (
    Bad,
    Cache,
    Download,
    Format,
    Json,
    ModelFile,
    Network,
    OnBad,
    Weights,
    cache_in,
    each_image,
    images_below,
    load_model,
)
from sppnet.cli.printing import notes, print_json, show_stages
from sppnet.cli.program import app

if TYPE_CHECKING:
    from sppnet.classification.classifier import Classifier
    from sppnet.detection.detector import Detector


@app.command()
def predict(
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
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Find or name what images show, and write it to files."""
    if profile:
        _profile(model, images_below(images), on_bad, as_json)
        return
    known = load_model(model, cache_in(cache))
    paths = images_below(images)
    if known.kind == "classifier":
        _predict_classes(known, paths, out, form, on_bad, as_json)
    else:
        _predict_boxes(known, paths, out, form, on_bad, as_json, draw, threshold)


def _profile(model: Path, paths: Sequence[Path], on_bad: OnBad, as_json: bool) -> None:
    from sppnet.progress import usual_stages

    known = load_model(model, None)
    work: Callable[[Path], object] = known.predict if known.kind == "classifier" else known.detect
    timed = each_image("Timing", paths, lambda path: usual_stages(lambda: work(path)), on_bad)
    if as_json:
        print_json([{"image": str(path), "seconds": stages} for path, stages in timed])
        return
    for path, stages in timed:
        show_stages(str(path), stages)


def _predict_classes(
    known: "Classifier", paths: Sequence[Path], out: Path, form: Format, on_bad: OnBad, as_json: bool
) -> None:
    from sppnet.detection.output import classified, write_classes

    found = each_image("Predicting", paths, known.predict, on_bad)
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
    threshold: float | None,
) -> None:
    from PIL import Image

    from sppnet.detection.output import ImageDetections, as_dict, write_detections
    from sppnet.images import read_size

    def detected(path: Path) -> ImageDetections:
        return ImageDetections(path, read_size(path), known.detect(path, threshold=threshold))

    found = [each for _, each in each_image("Detecting", paths, detected, on_bad)]
    written = write_detections(out, form.value, found)
    for each in found if draw else ():
        image = Image.fromarray(each.detections.draw(each.path))
        image.save(out / f"{each.path.stem}.detections.jpg", quality=92)
    if as_json:
        print_json([as_dict(each) for each in found])
        return
    for each in found:
        counts = ", ".join(f"{number} {name}" for name, number in each.detections.counts().items() if number)
        print(f"{each.path}: {counts or 'nothing found'}")
    notes.print(f"Written to {written}", markup=False)


@app.command()
def features(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: safetensors.")],
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
    from sppnet.images import read_size
    from sppnet.proposals.files import FileProposals
    from sppnet.storage import write_tensors

    levels = (3, 2, 1)
    network = named_backbone(backbone, weights=weights, download=download)
    layer = layer or ("head" if "head" in network.channels else network.classifier_layer)
    encoder = Encoder(layer, short_side, cache=cache_in(cache), backbone=network)
    proposed = FileProposals(regions) if regions else None

    def pooled(path: Path) -> tuple[Any, torch.Tensor]:
        size = read_size(path)
        boxes = proposed.of(path.name, size) if proposed else np.array([[0.0, 0.0, size[1], size[0]]])
        return boxes, encoder(path).pool(boxes, levels)

    rows = each_image("Computing features", images_below(images), pooled, on_bad)
    counts = [len(boxes) for _, (boxes, _) in rows]
    tensors = {
        "features": torch.cat([values for _, (_, values) in rows]),
        "regions": torch.from_numpy(np.concatenate([boxes for _, (boxes, _) in rows])),
        "image": torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(counts)),
    }
    metadata = {"images": [str(path) for path, _ in rows], "layer": layer, "short_side": short_side, "levels": levels}
    write_tensors(out, tensors, metadata=metadata)
    shape = tuple(tensors["features"].shape)
    print(f"{out}: features {shape[0]} x {shape[1]} of {len(rows)} images")
