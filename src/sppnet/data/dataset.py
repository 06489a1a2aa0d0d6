"""A folder recognised by what lies in it, its splits, and how they are read.

Every layout tells how many images it has labels for. The one that has most is read, if no other comes near it; class
folders are what is left where no labels lie. What is not sure is said, with what was seen and what to do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from sppnet.data.contents import Contents, contents
from sppnet.data.gathering import Listing, by_name, gather
from sppnet.data.layouts import coco, cvat, folders, ilsvrc, json_shapes, label_studio, tables, voc, yolo
from sppnet.data.layouts.folders import ClassFolders, alike
from sppnet.data.layouts.records import Found, list_unread
from sppnet.data.layouts.unread import LABELS, PACKED, Unread, unread
from sppnet.data.layouts.values import glance
from sppnet.data.layouts.yolo_places import NAME_LISTS
from sppnet.data.names import split_lists
from sppnet.data.parting import read_splits
from sppnet.data.problems import NotThereError, Problem, printable
from sppnet.data.samples import ALL, DetectionData, FolderData, OnBad
from sppnet.errors import DataError, did_you_mean, message

Layout = Literal[
    "voc",
    "coco",
    "yolo",
    "labelme",
    "createml",
    "labelstudio",
    "cvat",
    "csv",
    "supervisely",
    "via",
    "ilsvrc",
    "folders",
]
WITH_LISTS: Final = ("voc", "yolo", "ilsvrc")  # layouts that tell splits by lists of images, and say which are not read
NEAR: Final = 0.9  # of two layouts, the share of images from which the second is as likely as the first

_LOOKS: Final[Sequence[Callable[[Contents], Found | None]]] = (
    voc.look,
    coco.look,
    yolo.look,
    json_shapes.LABELME.look,
    json_shapes.CREATEML.look,
    label_studio.look,
    cvat.look,
    tables.look,
    json_shapes.SUPERVISELY.look,
    json_shapes.VIA.look,
)
_SHAPES: Final = (voc.SHAPE, coco.SHAPE, yolo.SHAPE, cvat.SHAPE, label_studio.SHAPE, tables.SHAPE, folders.SHAPE)


@dataclass(frozen=True)
class Dataset:
    """A recognised data set; ``open_dataset`` makes it.

    Args:
        listed: the files that count. found: the layout that is read, and what lists each split.
        problems: of the folder as a whole.
        told: the split of each image by its name, as ``splits.csv`` says; None where there is no such file.
    """

    listed: Contents
    found: Found
    problems: tuple[Problem, ...]
    told: Mapping[str, str] | None = None

    @property
    def layout(self) -> str:
        """The layout's name."""
        return self.found.layout

    @property
    def has_boxes(self) -> bool:
        """Whether its labels are boxes; otherwise they are one class an image."""
        return self.layout != "folders"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, sorted; ("all",) if there are none."""
        if self.told is not None:
            return tuple(sorted(set(self.told.values())))
        return self._own

    @property
    def _own(self) -> tuple[str, ...]:
        """The splits that the layout has, whatever ``splits.csv`` says."""
        return tuple(sorted(self.found.splits)) if "" not in self.found.splits else (ALL,)

    def chosen(self, function: str, split: str | None) -> list[str]:
        """Return the splits that are meant: by ``split``, such as "train+val", or if it is None, by default.

        Raises:
            DataError: naming the splits there are. One that was not asked for is never used instead.
        """
        names = self.splits
        if split is None and "train" not in names and len(names) > 1:
            raise NotThereError(self._no_split(function, "named, for there is no 'train'", "none"))
        if split is None:
            return ["train"] if "train" in names else self._only(function, names[0])
        if split == ALL and ALL not in names:
            return list(names)
        wanted = [split] if split in names else list(dict.fromkeys(part.strip() for part in split.split("+")))
        unknown = [part for part in wanted if part not in names]
        if unknown:
            expected = f"one of {', '.join(dict.fromkeys((*names, ALL)))}"
            near = did_you_mean(unknown[0], (*names, ALL))
            raise NotThereError(self._no_split(function, expected, repr(split), near))
        return wanted

    def _only(self, function: str, name: str) -> list[str]:
        if name in ("val", "test"):
            raise NotThereError(self._no_split(function, f"named, for there is only '{name}'", "none"))
        return [name]

    def _no_split(self, function: str, expected: str, actual: str, near: str = "") -> str:
        names = ", ".join(self.splits)
        told = near or "Name one of these, several as 'train+val', or 'all'"
        advice = f"{printable(self.listed.root)} has {names}. {told}"
        return message(function, "split", expected, actual, advice)

    def boxes(
        self, function: str, *, split: str | None = None, on_bad: OnBad = "fail", classes: Sequence[str] | None = None
    ) -> DetectionData:
        """Read the images and boxes of a split; see ``data.load_detection``."""
        if not self.has_boxes:
            raise DataError(_wrong_kind(function, self, "boxes", "load_folders", "sppnet train classifier"))
        chosen = self.chosen(function, split)
        read = partial(gather, self.listed.root, on_bad=on_bad, classes=classes)
        parts = [read(self._listing(name), split=name) for name in (chosen if self.told is None else self._own)]
        whole = parts[0]
        if len(parts) > 1:
            merged = whole.merge(*parts[1:])
            whole = replace(merged, samples=tuple(sorted(merged.samples, key=lambda sample: by_name(sample.path))))
            whole = whole if classes is None else whole.relabelled(tuple(dict.fromkeys(classes)))
        if self.told is not None:
            inside = self._in_splits([sample.path for sample in whole.samples], chosen)
            whole = replace(whole.subset(inside), problems=whole.problems)
        problems = tuple(dict.fromkeys((*self.problems, *whole.problems, *alike(whole.classes, self.listed.root))))
        return replace(whole, name=split if split else chosen[0], problems=problems, layout=self.layout)

    def _in_splits(self, paths: Sequence[Path], chosen: Sequence[str]) -> list[int]:
        """Return which images ``splits.csv`` puts into the chosen splits."""
        told = self.told or {}
        names = [path.relative_to(self.listed.root).as_posix() for path in paths]
        return [index for index, name in enumerate(names) if told.get(name) in chosen]

    def _listing(self, split: str) -> Listing:
        return self.found.splits[self._key(split)]()

    def _key(self, split: str) -> str:
        """Return what the layout calls a split: "" where it has none, and a split of its own may be called "all"."""
        return split if split in self.found.splits else ""

    def folders(self, function: str, *, split: str | None = None, classes: Sequence[str] | None = None) -> FolderData:
        """List the images of a split and their classes; see ``data.load_folders``."""
        if self.has_boxes and self.layout != "ilsvrc":
            raise DataError(
                _wrong_kind(function, self, "one folder a class", "load_detection", "sppnet train detector")
            )
        chosen = self.chosen(function, split)
        kept = _kit_classes(self.listed) if self.layout == "ilsvrc" else ClassFolders.of(self.listed)
        names = chosen if self.told is None else self._own
        parts = [kept.load(self._key(name), classes) for name in names]
        whole = parts[0] if len(parts) == 1 else parts[0].merge(*parts[1:])
        if self.told is not None:
            whole = replace(whole.subset(self._in_splits(whole.paths, chosen)), problems=whole.problems)
        problems = (*self.problems, *whole.problems, *alike(whole.classes, self.listed.root))
        return replace(whole, name=split if split else chosen[0], problems=tuple(dict.fromkeys(problems)))


class _KitClasses:
    """ILSVRC's images with one class each, as class folders are loaded."""

    def __init__(self, kit: ilsvrc.Kit) -> None:
        self._kit = kit
        self._splits = kit.splits()

    def load(self, split: str, classes: Sequence[str] | None) -> FolderData:
        """List the images of a split by class and name."""
        rows, problems = self._kit.classes(self._splits[split])
        names = tuple(dict.fromkeys(classes)) if classes else tuple(sorted({name for _, name in rows}))
        place = {name: index for index, name in enumerate(names)}
        unknown = next((name for _, name in rows if name not in place), None)
        if unknown is not None:
            raise DataError(f"{self._kit.listed.root}: holds the class {unknown!r}, which is not asked for. Name it.")
        rows.sort(key=lambda row: (place[row[1]], row[0]))
        labels = np.array([place[name] for _, name in rows], dtype=np.int64)
        paths = tuple(self._kit.listed.path(image) for image, _ in rows)
        return FolderData(self._kit.listed.root, names, paths, labels, tuple(problems), split)


def _kit_classes(listed: Contents) -> _KitClasses:
    kit = ilsvrc.kit_of(listed)
    if kit is None:
        raise DataError(f"{listed.root}: the development kit is gone. Name its folder again.")
    return _KitClasses(kit)


def _wrong_kind(function: str, dataset: Dataset, wanted: str, call: str, command: str) -> str:
    actual = f"{dataset.found.saw} in {printable(dataset.listed.root)}"
    return message(function, "data", wanted, actual, f"These are for '{command}', in Python {call}")


# Recognising


class NoLabelsError(DataError):
    """A folder of images and nothing else; ``listed`` is what lies there."""

    def __init__(self, what: str, listed: Contents) -> None:
        super().__init__(what)
        self.listed = listed


def open_dataset(root: Path | str, function: str = "recognise", *, layout: str | None = None) -> Dataset:
    """Recognise a data set by its files.

    Args:
        root: its folder. function: whose messages name the call. layout: to read; None: the one that fits best.
    Raises:
        DataError: no layout fits, or two do; it says what was seen.
        ArgumentError: a layout that is not known.
    """
    folder = Path(root)
    if layout is not None and layout not in get_args(Layout):
        known = get_args(Layout)
        advice = did_you_mean(layout, known) or "Name one"
        raise NotThereError(message(function, "layout", f"one of {', '.join(known)}", repr(layout), advice))
    if not folder.is_dir():
        what = "a file" if folder.exists() else "not there"
        advice = f"Give its folder, {printable(folder.parent)}" if folder.exists() else "Name a folder"
        raise NotThereError(message(function, "data", "a folder", f"{printable(root)}, which is {what}", advice))
    whole = listed = contents(folder)
    found = _best(function, listed, layout)
    while (inner := _wrapper(listed)) is not None and (
        found is None or _is_wrapped(found[0], listed) or _names_classes(listed, inner)
    ):
        listed = listed.below(inner)
        found = _best(function, listed, layout)
    if layout is None and (found is None or found[0].layout == "folders"):
        told = unread(whole, LABELS) or (unread(whole, PACKED) if found is None else None)
        if told is not None:
            raise DataError(_unread(function, whole, told))
    if found is None:
        if layout is None and whole.images and not whole.others:
            raise NoLabelsError(_without_labels(function, whole), whole)
        raise DataError(_unknown(function, whole, layout))
    chosen, others = found
    notes = [Problem(folder, None, f"{other.saw}: not read", "other-labels") for other in others]
    own = read_splits(listed)
    why = f"is not read, as {chosen.layout} has no lists of splits"
    lists = [] if own is not None or chosen.layout in WITH_LISTS else split_lists(listed)
    notes += [list_unread(listed, name, why) for name in lists]
    return Dataset(listed, chosen, (*listed.problems, *notes, *_names(listed)), own)


def _best(function: str, listed: Contents, layout: str | None) -> tuple[Found, list[Found]] | None:
    kit = ilsvrc.look(listed) if layout in (None, "ilsvrc") else None
    if kit is not None:
        return kit, []
    fits = [found for look in _LOOKS if (found := look(listed)) is not None]
    fits.sort(key=lambda found: -found.images)
    named = [found for found in fits if layout in (None, found.layout)]
    plain = folders.look(listed) if layout in (None, "folders") else None
    if not named:
        return None if plain is None or (layout is None and _looks_labelled(listed)) else (plain, [])
    rivals = [found for found in named[1:] if found.images >= NEAR * named[0].images and found.images > 0]
    if rivals:
        raise DataError(_two(function, listed, [named[0], *rivals]))
    return named[0], [found for found in fits if found is not named[0]]


def _looks_labelled(listed: Contents) -> bool:
    """Tell whether so many files may be labels that folders are hardly classes."""
    files = [name for name in listed.of_suffix(".xml", ".json", ".txt", ".csv") if "/" in name]
    return len(files) > 1 and 2 * len(files) >= len(listed.images)


def _is_wrapped(found: Found, listed: Contents) -> bool:
    """Tell whether class folders lie one deeper: the one folder there is holds nothing but several folders."""
    tops = {name.split("/")[0] for name in listed.images}
    inner = {tuple(name.split("/")[:2]) for name in listed.images if name.count("/") > 1}
    return (
        found.layout == "folders"
        and len(tops) == 1
        and len(inner) > 1
        and all(name.count("/") > 1 for name in listed.images)
    )


def _names_classes(listed: Contents, inner: str) -> bool:
    """Tell whether what names the classes lies in a folder, which is the root of the set then."""
    return any(name.rpartition("/")[0] == inner for name in listed.of_suffix(".yaml", ".yml", *NAME_LISTS))


def _wrapper(listed: Contents) -> str | None:
    """Return the one folder that a set was packed into, if there are no images beside it."""
    tops = {name.partition("/")[0] for name in (*listed.images, *listed.others) if "/" in name}
    loose = any("/" not in name for name in listed.images)
    return tops.pop() if len(tops) == 1 and not loose else None


def _two(function: str, listed: Contents, fits: Sequence[Found]) -> str:
    saw = "; ".join(f"{found.saw} ({found.layout})" for found in fits)
    names = " or ".join(f"'{found.layout}'" for found in fits)
    advice = f"Say which is meant: layout={names}, on the command line --layout"
    return message(function, "data", "laid out in one way", f"{saw} in {printable(listed.root)}", advice)


def _unread(function: str, listed: Contents, told: Unread) -> str:
    where = printable(listed.path(told.file))
    return message(function, "data", "laid out in a way that is read", f"{where}, {told.what}", told.advice)


def _unknown(function: str, listed: Contents, layout: str | None) -> str:
    saw = f"{listed.summary()} in {printable(listed.root)}"
    if layout is not None:
        return message(function, "data", f"laid out as {layout}", saw, "Leave the layout out, or name another")
    if any(problem.code == "link-broken" for problem in listed.problems) and not listed.images:
        return message(function, "data", "images", saw, "Fetch what the links lead to")
    if not listed.images:
        return message(function, "data", "images with labels", saw, "Name the folder that holds the images")
    begins = next((name for name in listed.of_suffix(".csv", ".tsv", ".json", ".xml", ".txt")), None)
    if begins is not None:
        first = " ".join(glance(listed.path(begins))[:200].split())[:60]
        saw = f"{saw}; {printable(begins)} begins with {printable(first)!r}"
    shapes = "\n  ".join(_SHAPES)
    advice = f"These are read:\n  {shapes}\nSee docs/data.md"
    return message(function, "data", "laid out in a way that is known", saw, advice)


def _without_labels(function: str, listed: Contents) -> str:
    advice = "Draw boxes in 'sppnet studio', or sort the images into one folder a class"
    saw = f"{listed.summary()} in {printable(listed.root)}"
    return message(function, "data", "images with labels", saw, advice)


def _names(listed: Contents) -> list[Problem]:
    odd = [name for name in (*listed.images, *listed.others) if any("\udc80" <= letter <= "\udcff" for letter in name)]
    what = "has a name that is not UTF-8: results name it with the bytes as \\x.."
    return [Problem(listed.path(name), None, what, "name-not-utf8") for name in odd]
