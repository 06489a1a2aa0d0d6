"""``convert`` and ``split``: a data set in another layout, or parted into training and validation."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sppnet.cli.options import Bad, Data, Groups, Json, LayoutName, OnBad, check_out_folder
from sppnet.cli.printing import bar, print_json, printable, tell, warn
from sppnet.cli.program import app
from sppnet.errors import counted


class Target(StrEnum):
    """What a data set is written as."""

    COCO = "coco"
    VOC = "voc"
    YOLO = "yolo"
    CSV = "csv"
    LABELSTUDIO = "labelstudio"


@app.command(epilog="Example: sppnet convert cells --to yolo --out cells-yolo")
def convert(
    data: Data,
    to: Annotated[Target, typer.Option("--to", help="Layout to write.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to: empty, or not there yet.")],
    split: Annotated[
        str | None, typer.Option(help="Split to write; by default each but those that put others together.")
    ] = None,
    layout: LayoutName = None,
    on_bad: Bad = OnBad.FAIL,
    as_json: Json = False,
) -> None:
    """Write a data set with its images in another layout."""
    from sppnet.data import load_detection, open_dataset
    from sppnet.data.converting import convert as write
    from sppnet.data.converting import without_unions

    check_out_folder(out)
    names = [split] if split else open_dataset(data, "convert", layout=layout).splits
    loaded = [load_detection(data, split=name, on_bad=on_bad.value, layout=layout) for name in names]
    parts = without_unions(loaded)
    for part in parts:
        warn(part.problems)
    for name in sorted({part.name for part in loaded} - {part.name for part in parts}):
        tell(f"The split {printable(name)} is left out: others hold all its images. --split {name} writes it alone.")
    done = write(parts, to.value, out, progress=bar)
    if as_json:
        print_json({"out": str(out), "images": done.images, "boxes": done.boxes, "lost": dict(done.lost)})
        return
    print(f"{printable(out)}: {counted(done.images, 'image')} with {counted(done.boxes, 'box')} as {to.value}.")
    for flag, number in done.lost.items():
        print(f"{number} boxes are {flag}, which {to.value} has no place for.")


@app.command("split", epilog="Example: sppnet split cells --val 0.2")
def split_data(
    data: Data,
    val: Annotated[float, typer.Option("--val", min=0, max=1, help="Share of the images to validate on.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice.")] = 0,
    groups: Groups = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the splits that are there.")] = False,
    layout: LayoutName = None,
    as_json: Json = False,
) -> None:
    """Part a data set into training and validation.

    The choice is written into its splits.csv, which every command goes by.
    """
    from sppnet.data import DetectionData, FolderData, open_dataset
    from sppnet.data.parting import FILE, splits_text
    from sppnet.errors import DataError
    from sppnet.storage import write_file

    dataset = open_dataset(data, "split", layout=layout)
    if dataset.splits != ("all",) and not replace:
        names = ", ".join(dataset.splits)
        raise DataError(
            f"{printable(data)}: there are splits already: {names}. Give --replace to part all images anew."
        )
    whole: DetectionData | FolderData
    if dataset.has_boxes:
        whole = dataset.boxes("split", split="all", on_bad="skip")
    else:
        whole = dataset.folders("split", split="all")
    warn(whole.problems)
    parts = whole.split(val, seed, groups=groups)
    chosen = {path.relative_to(dataset.listed.root).as_posix(): part.name for part in parts for path in part.paths}
    file = dataset.listed.root / FILE
    write_file(file, splits_text(dict(sorted(chosen.items()))))
    counts = {part.name: len(part) for part in parts}
    if as_json:
        print_json({"file": str(file), "images": counts})
        return
    print(f"{printable(file)}: " + ", ".join(f"{number} {name}" for name, number in counts.items()))
