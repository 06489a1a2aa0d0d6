"""Any number of images: which they are, where they are worked on, what becomes of the bad ones."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from sppnet.cli.options import OnBad, images_below
from sppnet.cli.printing import bar, counting, notes, print_json, printable, tell, without_folders
from sppnet.errors import ArgumentError, DataError, ImageDecodeError, counted
from sppnet.pipeline import Bad, Cluster, each_answer, each_on_cluster, shard

if TYPE_CHECKING:
    from sppnet.pipeline.parts import ImageFile, Part, PartFiles, Table

Place = Path | str  # of an image: a path, or an address in object storage
Prepare = Callable[[], Callable[[Place], Any]]
File = TypeVar("File")


class On(StrEnum):
    """What runs the workers, if not this machine alone."""

    RAY = "ray"


Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGES", help="Images, or folders of images; with Parquet also s3://, gs://, hf://."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes, of which each has its part of the cores; by default one.")
]
OnCluster = Annotated[
    On | None, typer.Option("--on", help="Work on a cluster of Ray, into Parquet: needs sppnet[ray].")
]
Address = Annotated[str | None, typer.Option(help="Of the cluster's head; by default this machine's own cluster.")]
Gpus = Annotated[float, typer.Option(min=0, help="GPUs that each worker on the cluster takes, as 1 or 0.5.")]
Shard = Annotated[
    str | None, typer.Option("--shard", help="Only this part of the images, as 3/10, into a folder of its own.")
]


class Where(NamedTuple):
    """Where images are worked on: in so many processes of this machine, or on a cluster."""

    workers: int
    cluster: Cluster | None


def where_of(workers: int | None, on: On | None, address: str | None, gpus: float) -> Where:
    """Return what the options ask for.

    Raises:
        ArgumentError: an option of a cluster without one.
    """
    if on is None and (address is not None or gpus):
        raise ArgumentError("--address and --gpus must come with --on ray, got none. Add it, or leave them out.")
    return Where(workers or 1, Cluster(address, workers, gpus) if on is On.RAY else None)


def shard_of(images: list[File], out: Place, part: str | None) -> tuple[list[File], Place]:
    """Return the images of a part such as 3/10, and the folder that its results go to; of no part, all and ``out``.

    There may be more parts than images: one without any is told of, and writes files that hold none.

    Raises:
        ArgumentError: something else than a part.
    """
    from sppnet.storage import place_in

    if part is None:
        return images, out
    number, _, parts = part.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise ArgumentError(f"--shard must be a part of all images such as 3/10, got {part!r}. Count parts from 1.")
    mine = shard(images, int(number), int(parts))
    if not mine:
        tell(f"The part {part} has no images: {counted(len(images), 'image')} for {parts} parts. Its files are empty.")
    return mine, place_in(out, f"part-{int(number)}-of-{int(parts)}")


def place(text: str) -> Place:
    """Return the path, or the address, that a user wrote."""
    from sppnet.storage import is_address

    return text if is_address(text) else Path(text)


def only_paths(given: Sequence[str]) -> list[Path]:
    """Return what was given as paths.

    Raises:
        ArgumentError: an address among them.
    """
    from sppnet.storage import is_address

    address = next((each for each in given if is_address(each)), None)
    if address is not None:
        web = address.startswith(("http://", "https://"))
        advice = "Download it" if web else "Add --format parquet, or copy it"
        raise ArgumentError(f"IMAGES must be on this machine's disks, got {address}. {advice}.")
    return [Path(each) for each in given]


def name_of(image: Place) -> str:
    """Return what an image is called in a file of regions, which knows it by the end of this."""
    return image.absolute().as_posix() if isinstance(image, Path) else image


def image_files(given: Sequence[str]) -> "list[ImageFile]":
    """Return the images named by path or address, and those in the folders named, as they are now."""
    from sppnet.images import is_image
    from sppnet.pipeline.parts import ImageFile, file_version
    from sppnet.storage import files_below, is_address

    paths = only_paths([each for each in given if not is_address(each)])
    found = [ImageFile(path.absolute(), file_version(path)) for path in (images_below(paths) if paths else [])]
    for address in filter(is_address, given):
        below = [ImageFile(*each) for each in files_below(address).items() if is_image(Path(each[0]))]
        if not below:
            raise DataError(f"{address}: holds no images that can be read. Name images, or folders of images.")
        found += below
    return found


def answers(prepare: Prepare, images: Sequence[Place], workers: int) -> Iterator[Any]:
    """Yield the answer for each image, in their order, from this process or from several; a bad one's is ``Bad``."""
    if workers == 1:
        return map(prepare(), images)
    return each_answer(prepare, images, workers=workers)


class Skipped:
    """Counts the images that could not be read; names each, or stops at the first."""

    def __init__(self, on_bad: OnBad) -> None:
        self.count, self._stops = 0, on_bad is OnBad.FAIL

    def add(self, bad: Bad) -> None:
        """Name a bad image and count it.

        Raises:
            ImageDecodeError: where one stops it all.
        """
        error = ImageDecodeError(without_folders(bad.path), bad.reason)
        if self._stops:
            raise error
        self.count += 1
        notes.print(f"Skipped: {printable(error)}", style="yellow")

    def conclude(self, images: Sequence[Place], good: int) -> None:
        """Tell how many there were.

        Raises:
            DataError: there were images, and none was good.
        """
        if self.count:
            notes.print(f"{self.count} of {counted(len(images), 'image')} could not be read.")
        if images and not good:
            first, count = without_folders(printable(images[0])), counted(len(images), "image")
            raise DataError(f"{first}: none of {count} could be read. Name other ones.")


def each_good(
    name: str, images: Sequence[Path], prepare: Prepare, workers: int, on_bad: OnBad, known: int = 0
) -> Iterator[tuple[Path, Any]]:
    """Yield each image that can be read, with its answer, in their order, behind a bar.

    Args:
        known: good images beside these, which a run before has answered.
    Raises:
        DataError: there are images, and none is good.
    """
    skipped, good = Skipped(on_bad), known
    coming = answers(prepare, images, workers)
    for image in bar(name, images):
        answer = next(coming)
        if isinstance(answer, Bad):
            skipped.add(answer)
        else:
            good += 1
            yield image, answer
    skipped.conclude(images, good)


def fill(files: "PartFiles", table: "Table", prepare: Prepare, where: Where, on_bad: OnBad) -> int:
    """Write the parts of a table that are not there yet, and return how many images could not be read.

    Args:
        prepare: run once in each worker: returns the work on one image, which answers ``Bad`` for a bad one.
    """
    missing, skipped, skip = files.missing(), Skipped(on_bad), on_bad is OnBad.SKIP
    images = [image for part in files.parts for image in part.images]
    count = sum(len(part.images) for part in missing)
    known = len(images) - count
    for bad in files.unread():
        skipped.add(bad)
    if known:
        tell(f"{known} of {known + count} images are in parts that a run before has written; going on.")
    with counting("Looking at images", count) as advance:
        if where.cluster is None:
            done = _here(prepare, files, table, missing, where.workers, advance, skip)
        else:
            done = _on_cluster(prepare, files, table, missing, where.cluster, advance, skip)
        for bad in done:
            skipped.add(bad)
    files.remove_others()
    skipped.conclude(images, len(images) - skipped.count)
    return skipped.count


def report(files: "PartFiles", skipped: int, as_json: bool) -> None:
    """Tell where the parts of a table lie, and what is in them."""
    images = sum(len(part.images) for part in files.parts)
    if as_json:
        print_json(
            {"written": printable(files.folder), "parts": len(files.parts), "images": images, "skipped": skipped}
        )
    else:
        print(f"{printable(files.folder)}: {counted(images - skipped, 'image')} in {counted(len(files.parts), 'part')}")


def _here(
    prepare: Prepare,
    files: "PartFiles",
    table: "Table",
    missing: "Sequence[Part]",
    workers: int,
    advance: Callable[[int], None],
    skip: bool,
) -> Iterator[Bad]:
    from sppnet.pipeline.parts import write_part

    coming = answers(prepare, [image for part in missing for image in part.images], workers)

    def counted(count: int) -> Iterator[Any]:
        for answer in islice(coming, count):
            advance(1)
            yield answer

    for part in missing:
        yield from write_part(files.folder, table, part, counted(len(part.images)), skip=skip)


def _on_cluster(
    prepare: Prepare,
    files: "PartFiles",
    table: "Table",
    missing: "Sequence[Part]",
    cluster: Cluster,
    advance: Callable[[int], None],
    skip: bool,
) -> Iterator[Bad]:
    work = partial(_part_worker, prepare, files.folder, table, skip)
    for count, bad in each_on_cluster(work, missing, cluster):
        advance(count)
        yield from bad


def _part_worker(
    prepare: Prepare, folder: Place, table: "Table", skip: bool
) -> "Callable[[Part], tuple[int, list[Bad]]]":
    """Return the work of one worker on a part: it writes the part, and tells what could not be read."""
    from sppnet.pipeline.parts import write_part

    answer = prepare()
    return lambda part: (len(part.images), write_part(folder, table, part, map(answer, part.images), skip=skip))
