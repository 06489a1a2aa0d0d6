"""What several commands ask for: their options, and what becomes of them."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sppnet.cli.printing import bar, notes
from sppnet.errors import DataError

if TYPE_CHECKING:
    from sppnet.classification.classifier import Classifier
    from sppnet.detection.detector import Detector
    from sppnet.storage import TensorCache


class OnBad(StrEnum):
    """What to do about an image that cannot be read."""

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
Regions = Annotated[
    str,
    typer.Option(
        "--proposals",
        help="'grid', 'learnt', 'selective-search', 'edge-boxes', or a file: .csv, .json (COCO) or .mat (R-CNN's).",
    ),
]
Network = Annotated[
    str,
    typer.Option(
        "--backbone",
        help="The network: efficientnet_lite0, lite1, lite2, or any of timm or torchvision by its name.",
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="File of the network's weights, .safetensors or .pth; lite0 to 2 need none.")
]
Download = Annotated[
    bool, typer.Option("--download", help="Have timm or torchvision fetch the network's weights from the internet.")
]
Bad = Annotated[OnBad, typer.Option(help="Stop at an image that cannot be read, or leave it out.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder where features are kept between runs; by default the user's cache folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ModelFile = Annotated[Path, typer.Argument(help="A model that 'sppnet train' wrote.")]


def each_image(name: str, paths: Sequence[Path], work: Any, on_bad: OnBad) -> list[tuple[Path, Any]]:
    """Do work on every image; a bad one stops it all or is named, left out and counted."""
    from sppnet.errors import ImageDecodeError

    done, bad = [], 0
    for path in bar(name, paths):
        try:
            done.append((path, work(path)))
        except ImageDecodeError as error:
            if on_bad is OnBad.FAIL:
                raise
            bad += 1
            notes.print(f"Skipped: {error}", markup=False, style="yellow")
    if bad:
        notes.print(f"{bad} of {len(paths)} images could not be read.")
    if not done:
        raise DataError(f"{paths[0]}: none of {len(paths)} images could be read. Name other ones.")
    return done


def images_below(given: Sequence[Path]) -> list[Path]:
    """Return the images named, and those in the folders named."""
    from sppnet.images import is_image

    found: list[Path] = []
    for path in given:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder. Name images, or folders of images.")
        found += sorted(each for each in path.rglob("*") if is_image(each)) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{given[0]}: holds no images. Name images, or folders of images.")
    return found


def load_model(path: Path, cache: "TensorCache | None") -> "Detector | Classifier":
    """Return the detector or the classifier that a file holds."""
    from sppnet.models import load

    model: Detector | Classifier = load(path, cache=cache)
    return model


def named_proposals(name: str) -> Any:
    """Return the way of proposing regions that was named, as ``Detector`` takes it."""
    from sppnet.proposals.files import FileProposals
    from sppnet.proposals.learnt import METHOD
    from sppnet.proposals.opencv import EdgeBoxes, SelectiveSearch

    if name == "grid":
        return None
    if name == METHOD:
        return METHOD
    methods = {"selective-search": SelectiveSearch, "edge-boxes": EdgeBoxes}
    return methods[name]() if name in methods else FileProposals(Path(name))


def cache_in(folder: Path | None) -> "TensorCache":
    """Return the cache of features in a folder, by default the user's."""
    from sppnet.storage import TensorCache, default_cache_folder

    return TensorCache(folder or default_cache_folder())
