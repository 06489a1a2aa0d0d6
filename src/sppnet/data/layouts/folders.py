"""One folder a class: <class>/*, or <split>/<class>/*; images in folders inside a class's folder belong to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from sppnet.data.contents import Contents, normal
from sppnet.data.gathering import Listing
from sppnet.data.layouts.records import SIDE_FOLDERS, Found
from sppnet.data.names import IMAGE_FOLDERS, LABEL_FOLDERS, split_of_name
from sppnet.data.problems import Problem, one_or_more, printable
from sppnet.data.samples import FolderData
from sppnet.errors import DataError

SHAPE: Final = "one folder a class (<class>/*.jpg, or <split>/<class>/*.jpg)"


def look(listed: Contents) -> Found | None:
    """Tell what speaks for this layout: folders with images, named neither for splits nor for kinds of files."""
    tops = _tops(listed)
    classes = {name for names in tops.values() for name in names}
    if not classes or all(_says_no_class(name) for name in classes):
        return None
    filled = sorted(name for name in classes if any(image.startswith(_start(tops, name)) for image in listed.images))
    if not filled:
        return None
    saw = f"images in folders named {', '.join(map(printable, filled[:4]))}{', ...' if len(filled) > 4 else ''}"
    return Found("folders", saw, 0, {split: partial(_no_boxes, split) for split in tops})


def _no_boxes(split: str) -> Listing:
    raise DataError(f"{split or 'all'}: class folders hold no boxes. Use load_folders.")


def _start(tops: "dict[str, dict[str, str]]", name: str) -> tuple[str, ...]:
    return tuple(f"{names[name]}/" for names in tops.values() if name in names)


def _says_no_class(name: str) -> bool:
    """Tell whether a folder's name says what kind of files or which split lies in it."""
    plain = name.lower()
    return plain in IMAGE_FOLDERS or plain in LABEL_FOLDERS or plain in SIDE_FOLDERS or bool(split_of_name(name))


def _tops(listed: Contents) -> dict[str, dict[str, str]]:
    """Return the folder of each class by split; the split is "" where there are none."""
    folders = sorted(name for name in listed.folders if name)
    holding = {image.rpartition("/")[0] for image in listed.images}
    first = [name for name in folders if "/" not in name]
    said = _splits_of(first)
    splits = [name for name in said if name not in holding and any(each.startswith(f"{name}/") for each in folders)]
    if not splits:
        return {"": {name: name for name in first}}
    named: dict[str, dict[str, str]] = {}
    for split in splits:
        base = f"{split}/{split}" if f"{split}/{split}" in folders else split  # as archives are unpacked
        inner = [name for name in folders if name.startswith(f"{base}/") and name.count("/") == base.count("/") + 1]
        named.setdefault(said[split], {}).update({name.rpartition("/")[2]: name for name in inner})
    return named


def _splits_of(first: Sequence[str]) -> dict[str, str]:
    """Return the split that each folder in the root says: by its name, or behind a word that all have, as seg_train."""
    said = {name: split_of_name(name) for name in first if split_of_name(name)}
    words = {name.partition("_")[0] for name in first}
    behind = {name: split_of_name(name.partition("_")[2]) for name in first}
    behind = {name: split for name, split in behind.items() if split}
    return behind if not said and len(words) == 1 and len(set(behind.values())) > 1 else said


@dataclass(frozen=True)
class ClassFolders:
    """The class folders of a data set, by split."""

    listed: Contents
    tops: dict[str, dict[str, str]]

    @classmethod
    def of(cls, listed: Contents) -> "ClassFolders":
        """Find the folders of the classes."""
        return cls(listed, _tops(listed))

    def load(self, split: str, classes: Sequence[str] | None) -> FolderData:
        """List the images of a split by class and name.

        Raises:
            DataError: a folder that ``classes`` does not hold.
        """
        folders = self.tops[split]
        names = tuple(dict.fromkeys(classes)) if classes else tuple(sorted(folders))
        unknown = next((folder for name, folder in folders.items() if name not in names), None)
        if unknown is not None:
            known = ", ".join(map(printable, names))
            path = printable(self.listed.path(unknown))
            raise DataError(f"{path}: the class must be one of {known}. Rename the folder, or remove it.")
        by_folder = {folder: names.index(name) for name, folder in folders.items()}
        depth = max((folder.count("/") for folder in folders.values()), default=0) + 1
        parts = [(image, "/".join(image.split("/")[:depth])) for image in self.listed.images]
        rows = [(image, by_folder[folder]) for image, folder in parts if folder in by_folder and image != folder]
        rows.sort(key=lambda row: (row[1], [normal(part) for part in row[0].split("/")[depth:]]))
        labels = np.array([label for _, label in rows], dtype=np.int64)
        paths = tuple(self.listed.path(image) for image, _ in rows)
        return FolderData(self.listed.root, names, paths, labels, self._problems(split, rows, depth), split or "all")

    def _problems(self, split: str, rows: Sequence[tuple[str, int]], depth: int) -> tuple[Problem, ...]:
        filled = {"/".join(image.split("/")[:depth]) for image, _ in rows}
        empty = [folder for folder in self.tops[split].values() if folder not in filled]
        problems = [Problem(self.listed.path(folder), None, "holds no images", "class-empty") for folder in empty]
        deeper = [image for image, _ in rows if image.count("/") > depth]
        if deeper:
            one = "lies in a folder inside its class's folder, and belongs to that class"
            several = "lie in folders inside their class's folder, and belong to that class"
            what = one_or_more(len(deeper) - 1, one, several)
            problems.append(Problem(self.listed.path(deeper[0]), None, what, "deeper"))
        return tuple(problems)


def alike(classes: Sequence[str], root: Path) -> list[Problem]:
    """Return a problem for each pair of classes whose names differ in case or spaces only."""
    seen: dict[str, str] = {}
    problems = []
    for name in classes:
        other = seen.setdefault("".join(name.casefold().split()), name)
        if other != name:
            what = f"the classes {printable(other)!r} and {printable(name)!r} are two"
            problems.append(Problem(root, None, what, "classes-alike"))
    return problems
