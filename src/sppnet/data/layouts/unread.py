"""Labels of kinds that people have and that are not read: named by a file, with what to export instead."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from sppnet.data.contents import Contents
from sppnet.data.layouts.records import LOOKED_AT
from sppnet.data.layouts.values import glance
from sppnet.storage import POINTER

IMAGE: Final = r"\S[^\n]*\.(?:jpe?g|png|bmp|tiff?|webp)"
NUMBER: Final = r"-?\d+(?:\.\d+)?"


class Unread(NamedTuple):
    """A kind of labels: how its files' names end, what both ends of one hold, and what to do. ``told``: which file."""

    what: str
    suffixes: tuple[str, ...]
    holds: str
    advice: str
    file: str = ""


_COCO: Final = "Export COCO instead"
_BOXES: Final = "Fetch the table of its boxes instead"
LABELS: Final[Sequence[Unread]] = (
    Unread(
        "a pointer of Git LFS, not the file itself",
        (".json", ".xml", ".txt", ".csv", ".tsv", ".yaml", ".yml"),
        f"^{re.escape(POINTER.decode())}",
        "Fetch the files first, with 'git lfs pull'",
    ),
    Unread("CSV of VGG Image Annotator", (".csv",), r"region_shape_attributes", "Export its JSON instead"),
    Unread("CSV of Label Studio", (".csv", ".tsv"), r"^annotation_id\W|rectanglelabels", "Export its JSON instead"),
    Unread("classes of whole images by Roboflow", ("_classes.csv",), r"^filename", "Export one folder a class instead"),
    Unread("classes of whole images by Open Images", (".csv",), r"^ImageID,Source,LabelName,Confidence\r?\n", _BOXES),
    Unread("panoptic JSON of COCO", (".json",), r'"segments_info"\s*:', _COCO),
    Unread("COCO's results, which are no labels", (".json",), r'^\[(?=.*"image_id"\s*:)(?=.*"score"\s*:)', _COCO),
    Unread("JSON of Datumaro", (".json",), r'(?=.*"items"\s*:)(?=.*"label_id"\s*:)', _COCO),
    Unread("JSON of BDD100K or Scalabel", (".json",), r'"box2d"\s*:', _COCO),
    Unread("JSON of Labelbox", (".json", ".ndjson"), r'"(?:Labeled Data|data_row)"\s*:', _COCO),
    Unread("JSON of V7 Darwin", (".json",), r'(?=.*"item"\s*:)(?=.*"bounding_box"\s*:)', _COCO),
    Unread("JSON of FiftyOne", (".json",), r'(?=.*"(?:labels|samples)"\s*:)(?=.*"bounding_box"\s*:)', _COCO),
    Unread("manifest of SageMaker", (".manifest", ".jsonl", ".json"), r'"source-ref"\s*:', _COCO),
    Unread("JSON lines", (".jsonl", ".ndjson"), r'^\{.*"(?:file_name|image)"\s*:', _COCO),
    Unread("text files of DOTA", (".txt",), rf"^(?:[a-z]+:[^\n]*\n)*(?:{NUMBER} ){{8}}[A-Za-z]", _COCO),
    Unread("text files of KITTI", (".txt",), rf"^[A-Za-z_]+(?: {NUMBER}){{14}}", _COCO),
    Unread("list of images and boxes", (".txt",), rf"^{IMAGE}(?:,{NUMBER}){{4}},\S", "Name it .csv instead"),
    Unread("list of images and boxes", (".txt",), rf"^{IMAGE}(?: {NUMBER}){{4}} \S", "Write it as CSV instead"),
    Unread("list of boxes of WIDER FACE", (".txt",), rf"^{IMAGE}\s*\n\d+\s*\n(?:{NUMBER} ){{4}}", _COCO),
    Unread("list of boxes of MOT", (".txt",), rf"^\d+,-?\d+(?:,{NUMBER}){{4}}", _COCO),
    Unread("list of images and boxes of keras-yolo3", (".txt",), rf"^{IMAGE} \d+,\d+,\d+,\d+,\d+", _COCO),
)
PACKED: Final[Sequence[Unread]] = (
    Unread("TFRecord", (".tfrecord", ".tfrecords", ".record"), "", _COCO),
    Unread("table of images", (".parquet", ".arrow"), "", "Write the images as files, and export COCO"),
    Unread("archive", (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar"), "", "Unpack it first"),
    Unread("array file", (".npz", ".npy", ".h5", ".hdf5", ".mat", ".pkl"), "", "Write the images as files"),
)


def unread(listed: Contents, kinds: Sequence[Unread]) -> Unread | None:
    """Return the kind of labels that lies there and is not read, with the file that tells; None if there is none."""
    for kind in kinds:
        for name in listed.of_suffix(*kind.suffixes)[:LOOKED_AT]:
            if not kind.holds or re.search(kind.holds, glance(listed.path(name)), re.DOTALL):
                return kind._replace(file=name)
    return None
