"""What several commands ask for: their options, and what becomes of them."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from sppnet.cli.printing import bar, printable, tell, warn
from sppnet.errors import ArgumentError, DataError, did_you_mean

if TYPE_CHECKING:
    from sppnet.classification.classifier import Classifier
    from sppnet.data import DetectionData, FolderData
    from sppnet.detection.detector import Detector
    from sppnet.storage import TensorCache


ALIASES: Final = {"form": "format", "part": "shard", "as_json": "json"}  # options by the names of their parameters
MODEL_SUFFIX: Final = ".safetensors"
LEAST: Final = 4096  # bytes that any output takes of a disk

Part = TypeVar("Part", "DetectionData", "FolderData")


class OnBad(StrEnum):
    """What to do about an image that cannot be read."""

    FAIL = "fail"
    SKIP = "skip"


class Engine(StrEnum):
    """What runs the network."""

    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Format(StrEnum):
    """What to write predictions as."""

    JSON = "json"
    COCO = "coco"
    VOC = "voc"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Folder with a data set: labels of a usual tool, or one folder a class."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write the model to.")]
Split = Annotated[
    str | None,
    typer.Option(help="Part of the data: 'train' (the default where there are splits), 'train+val', 'all'."),
]
LayoutName = Annotated[
    str | None,
    typer.Option("--layout", help="Of the labels, where a folder holds several kinds: 'voc', 'coco', 'yolo', ..."),
]
Groups = Annotated[
    str | None,
    typer.Option(help="Pattern whose first group, in an image's path, names what stays together, as 'video(\\d+)'."),
]
ValShare = Annotated[
    float | None, typer.Option("--val", min=0, max=1, help="Keep this share of the images to validate on.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything that is drawn at random.")]
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
Device = Annotated[
    str, typer.Option(help="Where maps are computed, pooled and scored: cpu, cuda, mps, or auto for what is there.")
]
EngineName = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="What runs the network: 'onnxruntime' or 'openvino' often takes less time; 'predict --profile' compares.",
    ),
]
Bad = Annotated[OnBad, typer.Option(help="Stop at an image that cannot be read, or leave it out.")]
Cache = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Where features are kept between runs, s3://bucket/maps perhaps; by default the user's cache folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that 'sppnet train' wrote.")]


def images_below(given: Sequence[Path]) -> list[Path]:
    """Return the images named, and those in the folders named, each once; what is left out is told once and counted."""
    from sppnet.data import images_of
    from sppnet.data.inspection import parts_unread

    for path in given:
        if not path.exists():
            raise ArgumentError(f"{printable(path)}: no such file or folder. Name images, or folders of images.")
        if path.suffix == MODEL_SUFFIX and path.is_file():
            raise ArgumentError(f"{printable(path)}: is a model, not an image. Give the model first, then images.")
    found, problems = images_of(given)
    warn(problems)
    if not found:
        raise DataError(f"{printable(given[0])}: holds no images that can be read. Name images, or folders of images.")
    unread = parts_unread(found)
    if unread:
        rest = f" ({len(unread) - 1} more like this: 'sppnet check' names them)" if len(unread) > 1 else ""
        tell(f"{unread[0]}{rest}.")
    return found


def usable(data: Part, on_bad: OnBad) -> Part:
    """Return data without the images that cannot be decoded, if they are to be skipped."""
    from sppnet.data.inspection import readable

    return data if on_bad is OnBad.FAIL else readable(data, progress=bar)


def check_out_file(path: Path, option: str = "--out") -> None:
    """Raise ArgumentError unless a file can be written there; asked before the work, not after it."""
    if path.is_dir():
        raise ArgumentError(f"{option} must be a file, got the folder {printable(path)}. Name a file in it.")
    check_out_folder(path.parent, option)


def check_out_place(folder: str) -> None:
    """Raise ArgumentError unless files can be written into a folder; object storage is not asked before the work."""
    from sppnet.storage import is_address

    if not is_address(folder):
        check_out_folder(Path(folder))


def check_out_folder(path: Path, option: str = "--out") -> None:
    """Raise ArgumentError unless files can be written into a folder, which may not be there yet.

    Raises:
        WriteError: the disk is full.
    """
    from tempfile import TemporaryFile

    from sppnet.storage import check_room

    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    check_room(path, LEAST)
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ArgumentError(f"{option} {printable(path)}: cannot be written: {reason}. Name another place.") from error


def refuse_given(context: typer.Context, options: Sequence[str], kind: str) -> None:
    """Raise ArgumentError if one of these options was given: they mean nothing to a model of that kind."""
    names = _given(context, options)
    if names:
        raise ArgumentError(f"{names}: the model is {kind}, which has no use for this. Leave it out.")


def refuse_without(context: typer.Context, options: Sequence[str], other: str) -> None:
    """Raise ArgumentError if one of these options was given and another, without which they mean nothing, was not."""
    names = "" if context.params[other] else _given(context, options)
    if names:
        raise ArgumentError(f"{names} must come with --{other}, got none. Add it, or leave {names} out.")


def _given(context: typer.Context, options: Sequence[str]) -> str:
    given = [name for name in options if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    return ", ".join(f"--{ALIASES.get(name, name).replace('_', '-')}" for name in given)


def load_model(
    path: Path, cache: "TensorCache | None", device: str = "cpu", engine: Engine = Engine.TORCH
) -> "Detector | Classifier":
    """Return the detector or the classifier that a file holds, on a device, or run by another engine.

    Raises:
        ArgumentError: no model, or an engine asked for on another device than the processor.
        MissingExtraError: an engine that is not installed.
    """
    from sppnet.images import is_image
    from sppnet.models import load

    if path.is_dir() or is_image(path):
        what = "the folder" if path.is_dir() else "the image"
        advice = "Give the model first, then the data or the images"
        raise ArgumentError(f"MODEL must be a file that 'sppnet train' wrote, got {what} {printable(path)}. {advice}.")
    if not path.exists():
        raise ArgumentError(f"{printable(path)}: no such model file. Give one that 'sppnet train' wrote.")
    model: Detector | Classifier = load(path, cache=cache)
    if engine is not Engine.TORCH and device != "cpu":
        raise ArgumentError(f"--engine {engine.value}: runs on the processor, got --device {device}. Leave one out.")
    if engine is not Engine.TORCH:
        from sppnet.export.engine import run_by

        return run_by(model, engine.value)
    known = model
    return known if device == "cpu" else known.to(device)


def named_proposals(name: str) -> Any:
    """Return the way of proposing regions that was named, as ``Detector`` takes it.

    Raises:
        ArgumentError: neither a way that is known nor a file.
    """
    from sppnet.proposals.files import FileProposals
    from sppnet.proposals.learnt import METHOD
    from sppnet.proposals.opencv import EdgeBoxes, SelectiveSearch

    methods: dict[str, Any] = {"grid": lambda: None, METHOD: lambda: METHOD}
    methods |= {"selective-search": SelectiveSearch, "edge-boxes": EdgeBoxes}
    if name in methods:
        return methods[name]()
    if not Path(name).is_file():
        advice = did_you_mean(name, methods) or "Name one of these."
        known = ", ".join(f"'{method}'" for method in methods)
        raise ArgumentError(f"--proposals must be {known} or a file, got {printable(name)!r}. {advice}")
    return FileProposals(Path(name))


def cache_in(folder: str | None, engine: Engine = Engine.TORCH) -> "TensorCache":
    """Return the cache of features in a folder, or at an address of one, by default the user's; each engine's apart.

    Raises:
        ArgumentError: a file in place of the folder.
    """
    from sppnet.export.installed import maps_folder
    from sppnet.storage import TensorCache, default_cache_folder, is_address

    if folder is not None and not is_address(folder) and Path(folder).is_file():
        raise ArgumentError(f"--cache must be a folder, got the file {printable(folder)}. Name a folder.")
    return TensorCache(maps_folder(folder or default_cache_folder(), engine.value))
