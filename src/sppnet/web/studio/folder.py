"""A folder of images as the studio sees it: its images and their labels at opening, and how they are shown."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sppnet.data import DetectionData, Sample, load_detection, recognise, splits
from sppnet.detection.drawing import colour_of
from sppnet.errors import DataError, ImageDecodeError
from sppnet.geometry import longer_side_size
from sppnet.images import encode, is_image, read_image, read_size, resize
from sppnet.progress import Progress, silent
from sppnet.storage import cache_key, write_file
from sppnet.web.studio.store import Store, Values

HIDDEN: Final = ".sppnet"
THUMBNAIL: Final = 256  # pixels of the longer side
SHOWN: Final = 4096  # pixels of the longer side: more, and browsers refuse or lose their memory


class Folder:
    """The images of one folder, and what is kept beside them in its hidden folder.

    Args:
        root: the folder.
    Raises:
        DataError: no folder, or one without images.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.hidden = self.root / HIDDEN
        self.names = _names(self.root)
        """Paths of the images below the folder, sorted."""
        if not self.names:
            what = "holds no images" if root.is_dir() else "is no folder"
            raise DataError(f"{root}: {what}. Name a folder that holds images.")

    def path(self, name: str) -> Path:
        """Return where an image lies."""
        return self.root / name

    def thumbnail(self, name: str) -> bytes:
        """Return a small WebP of an image; it is made once, and again when the file changes.

        Raises:
            ImageDecodeError: an image that cannot be read.
        """
        path = self.path(name)
        kept = self.hidden / "thumbnails" / f"{self.version(name)}.webp"
        if not kept.is_file():
            write_file(kept, _encoded(path, THUMBNAIL, "WEBP", quality=80), durable=False)
        return kept.read_bytes()

    def shown(self, name: str) -> bytes:
        """Return a JPEG of an image, upright and in 8 bits, so that a browser shows what the detector sees.

        Raises:
            ImageDecodeError: an image that cannot be read.
        """
        return _encoded(self.path(name), SHOWN, "JPEG", quality=92)

    def version(self, name: str) -> str:
        """Return 64 digits that change when the file does.

        Raises:
            ImageDecodeError: there is no such file any more.
        """
        try:
            status = self.path(name).stat()
        except OSError as error:
            raise ImageDecodeError(self.path(name), (error.strerror or str(error)).lower()) from error
        return cache_key(name, status.st_mtime_ns, status.st_size)


def _names(root: Path) -> list[str]:
    """List images below a folder, neither hidden nor reached by a link that leads out of it."""
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(folder) / name for name in files]
        found += [path for path in paths if is_image(path) and path.resolve().is_relative_to(root)]
    return sorted(path.relative_to(root).as_posix() for path in found)


def _encoded(path: Path, longer_side: int, form: str, *, quality: int) -> bytes:
    pixels = read_image(path)
    return encode(resize(pixels, longer_side_size(pixels.shape[:2], longer_side)), form, quality=quality)


# Opening


def take_in(folder: Folder, store: Store, *, progress: Progress = silent) -> tuple[str, ...]:
    """Add images that the store does not know, and look again at those that could not be read.

    At the first opening the labels that lie in the folder are taken in too.

    Returns:
        What is wrong with these labels, in a person's words.
    """
    known = {image.name: image for image in store.images()}  # none until a first opening is done as a whole
    with store.step("Open the folder", undoable=False) as step:
        for image in known.values():
            if image.fault and image.name in folder.names:
                step.change("image", image.id, _looked_at(folder, image.name))
    fresh = [name for name in folder.names if name not in known]
    rows = [_looked_at(folder, name) for name in progress("Looking at images", fresh)]
    if known:
        _write(store, rows, (), {})
        return ()
    parts, problems = _labelled(folder.root)
    _write(store, rows, tuple(dict.fromkeys(name for part in parts for name in part.classes)), _by_name(folder, parts))
    return problems


def _looked_at(folder: Folder, name: str) -> Values:
    try:
        height, width = read_size(folder.path(name))
    except ImageDecodeError as error:
        return {"name": name, "height": 0, "width": 0, "fault": error.reason}
    return {"name": name, "height": height, "width": width, "fault": ""}


def _labelled(root: Path) -> tuple[list[DetectionData], tuple[str, ...]]:
    """Read the labels that lie in a folder as VOC, COCO or YOLO have them, of all its splits."""
    try:
        if recognise(root) == "folders":
            return [], ()
    except DataError:
        return [], ()
    parts, problems = [], []
    for split in splits(root):
        try:
            parts.append(load_detection(root, split=split, on_bad="skip"))
        except DataError as error:
            problems.append(str(error))
    return parts, (*problems, *(str(problem) for part in parts for problem in part.problems))


def _by_name(folder: Folder, parts: list[DetectionData]) -> dict[str, list[Values]]:
    """Return the boxes of each image by its name; an image of several splits counts once."""
    boxes: dict[str, list[Values]] = {}
    for part in parts:
        for sample in part.samples:
            path = sample.path.resolve()
            if path.is_relative_to(folder.root):
                boxes.setdefault(path.relative_to(folder.root).as_posix(), list(_boxes(part, sample)))
    return boxes


def _boxes(part: DetectionData, sample: Sample) -> Iterator[Values]:
    rows = zip(sample.boxes.tolist(), sample.labels, sample.difficult, sample.crowd, strict=True)
    for (left, top, right, bottom), label, difficult, crowd in rows:
        edges = {"left": left, "top": top, "right": right, "bottom": bottom}
        flags = {"difficult": int(difficult), "crowd": int(crowd)}
        yield edges | flags | {"kind": "object", "class": part.classes[label]}


def _write(store: Store, rows: list[Values], classes: tuple[str, ...], boxes: dict[str, list[Values]]) -> None:
    """Write images, classes and boxes; an image that has boxes counts as complete."""
    with store.step("Open the folder", undoable=False) as step:
        labels = {name: step.add("class", {"name": name, "colour": colour_of(k)}) for k, name in enumerate(classes)}
        for row in rows:
            found = boxes.get(row["name"], [])
            image = step.add("image", row | {"complete": int(bool(found))})
            for values in found:
                step.add("box", values | {"image": image, "class": labels[values["class"]]})
