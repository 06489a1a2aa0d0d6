"""``features``: what the network alone makes of regions, or of whole images."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from sppnet.cli.answering import careful, source_of
from sppnet.cli.many import (
    Address,
    Images,
    OnCluster,
    Place,
    Where,
    Workers,
    each_good,
    fill,
    image_files,
    name_of,
    only_paths,
    place,
    report,
    where_of,
)
from sppnet.cli.options import (
    Bad,
    Cache,
    Download,
    Engine,
    EngineName,
    Json,
    Network,
    OnBad,
    Weights,
    cache_in,
    check_out_file,
    check_out_place,
    images_below,
)
from sppnet.cli.printing import notes, print_json, printable
from sppnet.cli.program import app
from sppnet.errors import ArgumentError, ImageDecodeError, counted

if TYPE_CHECKING:
    from sppnet.features.encoder import Encoder
    from sppnet.proposals.files import FileProposals

LEVELS: Final = (3, 2, 1)
IMAGES_A_PART: Final = 100  # their rows are held until the part is written: 70 kB each


class Pooling(NamedTuple):
    """How features are made: what each process opens."""

    backbone: str
    weights: Path | None
    download: bool
    layer: str | None
    short_side: int
    regions: Path | None
    cache: str | None
    engine: Engine

    def open(self) -> "Encoder":
        """Open the network."""
        from sppnet.backbones import backbone
        from sppnet.export.engine import network_by
        from sppnet.features.encoder import Encoder

        named = backbone(self.backbone, weights=self.weights, download=self.download)
        network = network_by(named, self.engine.value)
        layer = self.layer or ("head" if "head" in network.channels else network.classifier_layer)
        return Encoder(layer, self.short_side, cache=cache_in(self.cache, self.engine), backbone=network)

    def run(self) -> dict[str, Any]:
        """Return what features depend on beside the image."""
        from sppnet.pipeline.parts import file_version

        regions = self.regions and file_version(self.regions)
        return {"encoder": self.open().fingerprint, "engine": self.engine.value, "levels": LEVELS, "regions": regions}

    def rows(self, images: Sequence[Place]) -> int:
        """Return how many rows there will be where all images can be read; regions that are lost or cut are told of.

        Raises:
            ArgumentError: a name in the file of regions that may mean two images. DataError: images without regions.
        """
        from sppnet.proposals.files import FileProposals

        if self.regions is None:
            return len(images)
        proposed = FileProposals(self.regions)
        proposed.check(map(name_of, images))
        _tell_lost(proposed, images)
        return sum(proposed.count(name_of(image)) for image in images)


def _tell_lost(proposed: "FileProposals", images: Sequence[Place]) -> None:
    """Warn of regions of images that are not there, and of those that reach out of an image on a disk."""
    from sppnet.images import read_size

    unused = proposed.unused(map(name_of, images))
    if unused:
        told = f"{proposed.where(unused[0])}: the image {unused[0]!r} is not among those given{_more(len(unused) - 1)}"
        notes.print(f"Warning: {printable(told)}: its regions are left out.", style="yellow")
    first, number = "", 0
    for image in (each for each in images if isinstance(each, Path)):
        try:
            size = read_size(image)
        except ImageDecodeError:  # which is told where it is read
            continue
        places = proposed.beyond(name_of(image), size)
        if places and not number:
            where = proposed.where(proposed.key(name_of(image)) or "", places[0])
            first = f"{where}: the region reaches out of {image.name}, of {size[1]} x {size[0]} pixels"
        number += len(places)
    if first:
        notes.print(f"Warning: {printable(first)}{_more(number - 1)}: what is outside is cut off.", style="yellow")


def _more(number: int) -> str:
    return f" ({number} more like this)" if number else ""


@app.command(epilog="Example: sppnet features images --regions regions.csv --out features.npz")
def features(
    images: Images,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File to write: .safetensors, .npz, .npy, .csv; or .parquet, a folder of parts.",
        ),
    ],
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
    workers: Workers = None,
    on: OnCluster = None,
    address: Address = None,
    engine: EngineName = Engine.TORCH,
    on_bad: Bad = OnBad.SKIP,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Write the pyramid features of regions, or of whole images."""
    from sppnet.features.tables import PARQUET, check_form

    form = check_form(Path(out))
    pooling = Pooling(backbone, weights, download, layer, short_side, regions, cache, engine)
    where = where_of(workers, on, address, 0.0)
    if form == PARQUET:
        _write_parts(pooling, images, out, where, on_bad, as_json)
    elif where.cluster:
        expected = "a folder of parts, .parquet, with --on ray"
        raise ArgumentError(f"--out must be {expected}, got {printable(out)}. Many machines cannot write one file.")
    else:
        _write_file(pooling, images, Path(out), where.workers, on_bad, as_json)


def _write_parts(pooling: Pooling, images: list[str], out: str, where: Where, on_bad: OnBad, as_json: bool) -> None:
    from sppnet.features.tables import TABLE
    from sppnet.pipeline.parts import PartFiles

    check_out_place(out)
    files = image_files(images)
    pooling.rows([image.place for image in files])
    parts = PartFiles(place(out), files, pooling.run(), size=IMAGES_A_PART)
    report(parts, fill(parts, TABLE, partial(region_features, pooling), where, on_bad), as_json)


def _write_file(pooling: Pooling, images: list[str], out: Path, workers: int, on_bad: OnBad, as_json: bool) -> None:
    import numpy as np

    from sppnet.detection.output import common_folder, short_name
    from sppnet.features.tables import LEAST_BYTES, check_form, write_features
    from sppnet.storage import check_room

    check_out_file(out)
    paths = images_below(only_paths(images))
    count, encoder = pooling.rows(paths), pooling.open()
    check_room(out, count * encoder.length(LEVELS) * LEAST_BYTES.get(check_form(out), 4))
    rows = list(each_good("Computing features", paths, partial(region_features, pooling), workers, on_bad))
    boxes, vectors = [mine for _, (mine, _) in rows], np.concatenate([values for _, (_, values) in rows])
    settings = {"layer": encoder.layer, "short_side": pooling.short_side, "levels": LEVELS}
    base = common_folder(paths)
    write_features(out, [short_name(path, base) for path, _ in rows], boxes, vectors, settings)
    if as_json:
        print_json({"written": printable(out), "rows": len(vectors), "features": vectors.shape[1], "images": len(rows)})
    else:
        print(f"{printable(out)}: features {vectors.shape[0]} x {vectors.shape[1]} of {counted(len(rows), 'image')}")


def region_features(pooling: Pooling) -> Callable[[Place], Any]:
    """Return the work on one image: its regions (R, 4) and their rows (R, D) float32; or ``Bad``."""
    import numpy as np

    from sppnet.images import read_size
    from sppnet.proposals.files import FileProposals

    encoder = pooling.open()
    proposed = FileProposals(pooling.regions) if pooling.regions else None

    def pooled(image: Place) -> tuple[Any, Any]:
        source = source_of(image)
        size = read_size(source)
        boxes = proposed.of(name_of(image), size) if proposed else np.array([[0.0, 0.0, size[1], size[0]]])
        return boxes, encoder(source).pool(boxes, LEVELS).cpu().numpy()

    return careful(pooled)
