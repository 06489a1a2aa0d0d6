"""``cache``: the feature maps of images, made beforehand where ``train`` will look for them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from sppnet.cli.answering import careful, source_of
from sppnet.cli.many import (
    Address,
    Gpus,
    Images,
    OnCluster,
    Place,
    Skipped,
    Where,
    Workers,
    answers,
    image_files,
    where_of,
)
from sppnet.cli.options import Bad, Cache, Device, Download, Json, Network, OnBad, Weights, cache_in
from sppnet.cli.printing import counting, print_json
from sppnet.cli.program import app
from sppnet.errors import counted
from sppnet.pipeline import Bad as BadImage
from sppnet.pipeline import each_on_cluster

AT_ONCE: Final = 50  # images that a worker of a cluster is given


class Encoding(NamedTuple):
    """How maps are made: what each process opens."""

    backbone: str
    weights: Path | None
    download: bool
    short_side: int
    device: str
    cache: str | None


@app.command(epilog="Example: sppnet cache images --short-side 480 --workers 4")
def cache(
    images: Images,
    short_side: Annotated[
        int | None,
        typer.Option(help="Scale images to this shorter side, which 'train' says; by default their median."),
    ] = None,
    backbone: Network = "efficientnet_lite0",
    weights: Weights = None,
    download: Download = False,
    device: Device = "cpu",
    workers: Workers = None,
    on: OnCluster = None,
    address: Address = None,
    gpus: Gpus = 0.0,
    on_bad: Bad = OnBad.SKIP,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Make the feature maps that 'train detector' will ask for.

    Those that are there stay as they are.
    """
    where = where_of(workers, on, address, gpus)
    found = [image.place for image in image_files(images)]
    side = _usual_side(found) if short_side is None else short_side
    encoding = Encoding(backbone, weights, download, side, device, cache)
    skipped = Skipped(on_bad)
    with counting("Computing feature maps", len(found)) as advance:
        for count, bad in _each(partial(map_maker, encoding), found, where):
            advance(count)
            for each in bad:
                skipped.add(each)
    skipped.conclude(found, len(found) - skipped.count)
    if as_json:
        print_json({"images": len(found), "skipped": skipped.count, "short_side": side})
    else:
        print(f"Maps of {counted(len(found) - skipped.count, 'image')} at a shorter side of {side} pixels.")


def map_maker(encoding: Encoding) -> Callable[[Place], Any]:
    """Return the work on one image: its maps are in the cache when it is done; ``Bad`` for one that cannot be read.

    Raises:
        WriteError: from the first image on that the cache has no room for: what it is made for is not to be had.
    """
    from sppnet.backbones import backbone
    from sppnet.detection.detector import Detector

    kept = cache_in(encoding.cache)
    detector = Detector(
        short_side=encoding.short_side,
        backbone=backbone(encoding.backbone, weights=encoding.weights, download=encoding.download),
        cache=kept,
        device=encoding.device,
    )

    def prepared(image: Place) -> None:
        detector.prepare_image(source_of(image))
        if kept.refused is not None:
            raise kept.refused

    return careful(prepared)


def _usual_side(images: Sequence[Place]) -> int:
    """Return the shorter side that a detector chooses for these images; the headers of all are read."""
    from sppnet.errors import ImageDecodeError
    from sppnet.geometry import usual_short_side
    from sppnet.images import read_size

    sizes = []
    for image in images:
        try:
            sizes.append(read_size(source_of(image)))
        except ImageDecodeError:  # told when its turn comes
            continue
    return usual_short_side(sizes or [(480, 640)])


def _each(
    prepare: Callable[[], Callable[[Place], Any]], images: Sequence[Place], where: Where
) -> Iterator[tuple[int, list[BadImage]]]:
    """Yield how many images are done again, and which of them are bad."""
    if where.cluster is None:
        for answer in answers(prepare, images, where.workers):
            yield 1, [answer] if isinstance(answer, BadImage) else []
        return
    groups = [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
    yield from each_on_cluster(partial(_group_worker, prepare), groups, where.cluster)


def _group_worker(
    prepare: Callable[[], Callable[[Place], Any]],
) -> Callable[[Sequence[Place]], tuple[int, list[BadImage]]]:
    make = prepare()
    return lambda images: (len(images), [each for each in map(make, images) if isinstance(each, BadImage)])
