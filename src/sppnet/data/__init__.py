"""Data sets on disk -> typed samples: VOC, COCO and YOLO with boxes, folders with one class each.

A layout is recognised by its files. What cannot be used is named with its file and line, never passed over.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

from sppnet.data import coco, folders, voc, yolo
from sppnet.data.coco import coco_document, write_coco, write_coco_results
from sppnet.data.folders import load_folders
from sppnet.data.gathering import Listing, gather
from sppnet.data.rules import ALL, check_on_bad, choose_split
from sppnet.data.samples import DetectionData, Duplicate, FolderData, OnBad, Problem, Sample, duplicates
from sppnet.data.voc import write_voc, write_voc_results
from sppnet.data.yolo import write_yolo
from sppnet.errors import DataError, message

__all__ = [
    "DetectionData",
    "Duplicate",
    "FolderData",
    "Layout",
    "OnBad",
    "Problem",
    "Sample",
    "coco_document",
    "duplicates",
    "load_detection",
    "load_folders",
    "recognise",
    "splits",
    "write_coco",
    "write_coco_results",
    "write_voc",
    "write_voc_results",
    "write_yolo",
]

Layout = Literal["voc", "coco", "yolo", "folders"]


class _Splits(Protocol):
    @property
    def LAYOUT(self) -> str: ...  # noqa: N802
    def matches(self, root: Path) -> bool: ...
    def splits(self, root: Path) -> tuple[str, ...]: ...


class _Boxes(_Splits, Protocol):
    def listing(self, root: Path, split: str | None) -> Listing: ...


_WITH_BOXES: Final[Mapping[Layout, _Boxes]] = {"voc": voc, "coco": coco, "yolo": yolo}
_LAYOUTS: Final[Mapping[Layout, _Splits]] = {**_WITH_BOXES, "folders": folders}


def recognise(root: Path | str) -> Layout:
    """Tell the layout of a data set by its files.

    Raises:
        DataError: none of the layouts, which the message lists.
    """
    return _recognised("recognise", Path(root), _LAYOUTS)


def splits(root: Path | str) -> tuple[str, ...]:
    """Return the names of the splits, sorted; ("all",) if there are none.

    Raises:
        DataError: none of the layouts.
    """
    return _LAYOUTS[_recognised("splits", Path(root), _LAYOUTS)].splits(Path(root)) or (ALL,)


def load_detection(
    root: Path | str, *, split: str | None = None, on_bad: OnBad = "fail", classes: Sequence[str] | None = None
) -> DetectionData:
    """Read a data set with boxes: VOC, COCO or YOLO.

    Boxes are cut to their image. One that is empty, inverted, not finite or wholly outside is dropped and named
    in ``problems``. Of an image, no more than the header is looked at.

    Args:
        root: the data set's folder.
        split: None means "train" if there is one, otherwise every image.
        on_bad: what to do about an image that cannot be read, or whose annotation cannot: "fail" raises,
            "skip" leaves it out and names it in ``problems``.
        classes: the names in the order wanted. Otherwise VOC's are sorted, COCO's in the order of their ids,
            YOLO's as they are listed.
    Returns:
        DetectionData, in the order of the split.
    Raises:
        DataError: another layout, an unknown split, an image at fault, a class that ``classes`` does not hold.
    """
    root = Path(root)
    check_on_bad("load_detection", on_bad)
    layout = _WITH_BOXES[_recognised("load_detection", root, _WITH_BOXES)]
    chosen = choose_split("load_detection", layout.splits(root), split=split)
    return gather(root, layout.listing(root, chosen), split=chosen or ALL, on_bad=on_bad, classes=classes)


def _recognised(function: str, root: Path, layouts: Mapping[Layout, _Splits]) -> Layout:
    found: Layout | None = next((name for name, layout in layouts.items() if layout.matches(root)), None)
    if found is None:
        expected = "a folder laid out as " + ", or ".join(layout.LAYOUT for layout in layouts.values())
        actual = f"{root}, which has no such files" if root.is_dir() else f"{root}, which is no folder"
        raise DataError(message(function, "root", expected, actual, "Name the folder that holds these"))
    return found
