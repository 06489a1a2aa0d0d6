"""Data sets on disk and in memory -> typed samples: boxes in many layouts, or one folder a class; and back.

A layout is recognised by its files. What cannot be used is named with its file and line, never passed over.
"""

from collections.abc import Sequence
from pathlib import Path

from sppnet.data.contents import images_of
from sppnet.data.dataset import Dataset, Layout, open_dataset
from sppnet.data.layouts.coco import write_coco, write_coco_results
from sppnet.data.layouts.label_studio import write_labelstudio
from sppnet.data.layouts.tables import write_csv
from sppnet.data.layouts.voc import result_names, write_voc, write_voc_results
from sppnet.data.layouts.yolo import write_yolo
from sppnet.data.problems import CODES, LEVELS, BrokenSampleError, Level, Problem, printable
from sppnet.data.samples import (
    ALL,
    DetectionData,
    Duplicate,
    FolderData,
    OnBad,
    Outline,
    Sample,
    as_detection_data,
    as_labelled_images,
    check_on_bad,
    duplicates,
)

__all__ = [
    "ALL",
    "CODES",
    "LEVELS",
    "BrokenSampleError",
    "Dataset",
    "DetectionData",
    "Duplicate",
    "FolderData",
    "Layout",
    "Level",
    "OnBad",
    "Outline",
    "Problem",
    "Sample",
    "as_detection_data",
    "as_labelled_images",
    "check_on_bad",
    "duplicates",
    "images_of",
    "load_detection",
    "load_folders",
    "open_dataset",
    "printable",
    "recognise",
    "result_names",
    "splits",
    "write_coco",
    "write_coco_results",
    "write_csv",
    "write_labelstudio",
    "write_voc",
    "write_voc_results",
    "write_yolo",
]


def recognise(root: Path | str) -> str:
    """Tell the layout of a data set by its files.

    Raises:
        DataError: none of the layouts, or two at once; the message says what was seen.
    """
    return open_dataset(root, "recognise").layout


def splits(root: Path | str) -> tuple[str, ...]:
    """Return the names of the splits, sorted; ("all",) if there are none.

    Raises:
        DataError: none of the layouts, or two at once.
    """
    return open_dataset(root, "splits").splits


def load_detection(
    root: Path | str,
    *,
    split: str | None = None,
    on_bad: OnBad = "fail",
    classes: Sequence[str] | None = None,
    layout: str | None = None,
) -> DetectionData:
    """Read a data set with boxes, in any layout of docs/data.md.

    Boxes are cut to their image and kept to a ten thousandth of a pixel. One that is empty, inverted, not finite or
    wholly outside is dropped and named in ``problems``. Of an image, no more than the header is looked at. Images and
    classes are in the order of their names, whatever the layout.

    Args:
        root: the data set's folder.
        split: None means "train", or every image of a set without splits; several as "train+val"; "all".
        on_bad: what to do about an image or a row of labels that cannot be read: "fail" raises, "skip" leaves it out
            and names it in ``problems``.
        classes: the names in the order wanted; otherwise sorted.
        layout: one of ``Layout``, to read where a folder holds labels of several; None: the one that fits.
    Returns:
        DetectionData, by the names of the images.
    Raises:
        DataError: another layout, an unknown split, an image at fault, a class that ``classes`` does not hold.
    """
    check_on_bad("load_detection", on_bad)
    dataset = open_dataset(root, "load_detection", layout=layout)
    return dataset.boxes("load_detection", split=split, on_bad=on_bad, classes=classes)


def load_folders(
    root: Path | str,
    *,
    split: str | None = None,
    on_bad: OnBad = "fail",
    classes: Sequence[str] | None = None,
) -> FolderData:
    """List the images of a folder that holds one folder a class; they are not opened here.

    Args:
        root: holds the classes, or folders named train, val or test that hold them.
        split: None means "train", or every image of a set without splits; several as "train+val"; "all".
        on_bad: as ``load_detection``; nothing is read here that could be bad.
        classes: the names in the order wanted; otherwise sorted.
    Returns:
        FolderData, by class and name. A class without images is kept, and named in ``problems``.
    Raises:
        DataError: another layout, an unknown split, a class that ``classes`` does not hold.
    """
    check_on_bad("load_folders", on_bad)
    return open_dataset(root, "load_folders").folders("load_folders", split=split, classes=classes)
