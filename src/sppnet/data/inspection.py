"""What a data set holds, and what is wrong with it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np

from sppnet.data import ALL, LEVELS, DetectionData, Duplicate, FolderData, Problem, duplicates
from sppnet.data.contents import Contents
from sppnet.data.dataset import Dataset, NoLabelsError, open_dataset
from sppnet.data.problems import code_of, one_or_more, printable
from sppnet.errors import DataError, ImageDecodeError, counted
from sppnet.geometry import best_iou, usual_short_side
from sppnet.images import read_facts, read_parts
from sppnet.progress import Progress, silent
from sppnet.proposals.grid import fitting_grid

RECALL_AT: Final = (0.5, 0.7)  # IoU from which a proposal is said to reach an object
SHOWN: Final = 10  # classes that are named before the rest is counted
WITH_PARTS: Final = frozenset({".tif", ".tiff", ".gif"})  # that commonly have several pages or odd channels
Part = DetectionData | FolderData
P = TypeVar("P", DetectionData, FolderData)


@dataclass(frozen=True)
class Inspection:
    """What ``inspect`` found.

    Args:
        layout: its name, "none" of images without labels. saw: what speaks for it.
        images: how many each split holds.
        objects: of each class, how many each split holds (images, where the layout is folders).
        sizes: the smallest, the median and the largest shorter side in pixels; None without images.
        problems: errors first, then warnings, then notes.
        twins: images that two splits share.
        proposal_recall: of each class, the share of objects that the default proposals overlap by 0.5 and 0.7 IoU.
        parts: what each split holds, by its name.
    """

    layout: str
    saw: str
    images: dict[str, int]
    objects: dict[str, dict[str, int]]
    sizes: tuple[int, int, int] | None
    problems: tuple[Problem, ...]
    twins: tuple[Duplicate, ...]
    proposal_recall: dict[str, tuple[float, float]]
    parts: Mapping[str, Part]

    @property
    def counts(self) -> dict[str, int]:
        """How many errors, warnings and notes there are."""
        levels = Counter(problem.level for problem in self.problems)
        return {"error": levels["error"], "warning": levels["warning"], "note": levels["note"]}

    def as_dict(self) -> dict[str, Any]:
        """Return the inspection for JSON."""
        return {
            "layout": self.layout,
            "saw": self.saw,
            "images": self.images,
            "objects": self.objects,
            "shorter_side": self.sizes,
            "counts": self.counts,
            "problems": [problem.as_dict() for problem in self.problems],
            "duplicates": [[twin.split, str(twin.path), twin.other_split, str(twin.other_path)] for twin in self.twins],
            "proposal_recall": {
                name: {f"{iou}": share for iou, share in zip(RECALL_AT, shares, strict=True)}
                for name, shares in self.proposal_recall.items()
            },
        }


def inspect(root: Path | str, *, layout: str | None = None, progress: Progress = silent) -> Inspection:
    """Read a whole data set as training would, decode every image, and tell what would go wrong.

    Args:
        root: the folder. layout: to read where a folder holds labels of several; None: the one that fits.
        progress: wraps the pass over the images, given its name.
    Raises:
        DataError: a layout that is not known, or two at once.
    """
    try:
        dataset = open_dataset(root, "check", layout=layout)
    except NoLabelsError as error:
        return _unlabelled(error.listed, str(error), progress)
    parts, unread = _parts(dataset)
    paths = {split: list(part.paths) for split, part in parts.items()}
    bad, sizes = _decoded(paths, progress)
    twins = [twin for twin in duplicates(_readable(paths, bad)) if twin.path != twin.other_path]
    problems = [*unread, *_of_parts(parts), *bad, *_of_all(dataset, parts)]
    problems += [*_unlearnt(parts), *_in_two(paths)]
    for twin in twins:
        what = f"in '{twin.other_split}', is the same image as {twin.path} in '{twin.split}'"
        problems.append(Problem(twin.other_path, None, what, "in-two-splits"))
    first = parts.get("train") or next(iter(parts.values()), None)
    return Inspection(
        layout=dataset.layout,
        saw=dataset.found.saw,
        images={split: len(part) for split, part in parts.items()},
        objects=_objects(parts),
        sizes=sizes,
        problems=_ranked(problems),
        twins=tuple(twins),
        proposal_recall=proposal_recall(first) if first else {},
        parts=parts,
    )


def _unlabelled(listed: Contents, what: str, progress: Progress) -> Inspection:
    """Tell what there is to tell of images without labels, which a model may look at all the same."""
    images = tuple(listed.path(name) for name in listed.images)
    part = FolderData(listed.root, (), images, np.zeros(len(images), dtype=np.int64), ())
    bad, sizes = _decoded({ALL: list(images)}, progress)
    unusable_one = Problem(listed.root, None, what.partition(": ")[2], "no-labels")
    problems = _ranked([unusable_one, *listed.problems, *bad])
    return Inspection("none", listed.summary(), {ALL: len(images)}, {}, sizes, problems, (), {}, {ALL: part})


def _ranked(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return problems, each once: errors first, then warnings, then notes."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: LEVELS.index(problem.level)))


def _parts(dataset: Dataset) -> tuple[dict[str, Part], list[Problem]]:
    """Read every split; one that cannot be read at all becomes a problem."""
    parts: dict[str, Part] = {}
    problems = []
    for name in dataset.splits:
        try:
            if dataset.has_boxes:
                parts[name] = dataset.boxes("check", split=name, on_bad="skip")
            else:
                parts[name] = dataset.folders("check", split=name)
        except DataError as error:
            known: Problem | None = getattr(error, "problem", None)
            problem = known or Problem(dataset.listed.root, None, str(error), "labels-unreadable")
            beside = name != "train" and "train" in dataset.splits and problem.code in ("split-missing", "no-images")
            problems.append(replace(problem, code="split-empty") if beside else problem)
    return parts, problems


def _of_parts(parts: Mapping[str, Part]) -> list[Problem]:
    """Return what is wrong with splits, and with their files."""
    whole = [problem for name, part in parts.items() if (problem := unusable(name, part)) is not None]
    return [*whole, *(problem for part in parts.values() for problem in part.problems)]


def unusable(name: str, part: Part) -> Problem | None:
    """Return why nothing can be learnt from a split as a whole; None where something can."""
    if not len(part):
        return Problem(part.root, None, f"the split '{name}' holds no images that can be used", "no-images")
    if (lacking := part.lacks()) is None:
        return None
    what, code = lacking
    return Problem(part.root, None, f"the split '{name}' {what}", code)


def unlearnt(name: str, part: Part, others: Mapping[str, Part] = MappingProxyType({})) -> list[Problem]:
    """Return what of a split to learn from is not learnt: classes without an example, and crowds.

    Args:
        name: of the split. part: what it holds. others: the other splits, which may show more classes.
    """
    if unusable(name, part) is not None:
        return []
    examples, crowds, objects = part.examples(), part.crowds(), part.counts()
    elsewhere = {split: other.counts() for split, other in others.items()}
    named = () if isinstance(part, FolderData) else part.classes  # an empty folder is told of by itself
    lacking = sorted({*named, *(each for counts in elsewhere.values() for each in +counts)} - set(examples))
    problems = []
    if lacking:
        told = [_why_unlearnt(each, objects, crowds, elsewhere) for each in lacking]
        rest = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        what = f"{counted(len(told), 'class')} without an example in '{name}': {', '.join(told[:SHOWN])}{rest}"
        problems.append(Problem(part.root, None, f"{what}. Label some, or take the class away", "class-untrained"))
    for each in sorted(set(crowds) - set(lacking)):
        boxes = counted(crowds[each], "crowd")
        what = f"the class {printable(each)!r} has {boxes} in '{name}' beside {counted(objects[each], 'object')}"
        problems.append(Problem(part.root, None, what, "crowds"))
    return problems


def _why_unlearnt(
    name: str, objects: Mapping[str, int], crowds: Mapping[str, int], elsewhere: Mapping[str, Mapping[str, int]]
) -> str:
    """Return a class's name with what there is of it that is no example."""
    told = [counted(crowds[name], "crowd")] if crowds[name] else []
    told += [counted(objects[name], "difficult object")] if objects[name] else []
    told += [f"{counts[name]} in '{split}'" for split, counts in elsewhere.items() if counts[name]]
    return f"{printable(name)} ({', '.join(told)})" if told else printable(name)


def _unlearnt(parts: Mapping[str, Part]) -> list[Problem]:
    """Return what is not learnt of the split that training takes."""
    name = "train" if "train" in parts else next(iter(parts), "")
    if name != "train" and (len(parts) != 1 or name in ("val", "test")):
        return []
    return unlearnt(name, parts[name], {split: part for split, part in parts.items() if split != name})


def _in_two(paths: Mapping[str, Sequence[Path]]) -> list[Problem]:
    """Return a problem of each two splits that list the same files, where these should not: VOC's trainval may."""
    problems = []
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        both = sorted(set(paths.get(first, ())) & set(paths.get(second, ())))
        if both:
            where = f"in '{first}' and in '{second}' too"
            what = one_or_more(len(both) - 1, f"is {where}", f"are {where}")
            problems.append(Problem(both[0], None, what, "in-two-splits"))
    return problems


def _of_all(dataset: Dataset, parts: Mapping[str, Part]) -> list[Problem]:
    """Return a note on images that no split holds."""
    listed = {dataset.listed.path(name) for name in dataset.listed.images}
    held = {path for part in parts.values() for path in part.paths}
    named = {problem.path for part in parts.values() for problem in part.problems}
    left = sorted(listed - held - named)
    if not left or not parts:
        return []
    what = one_or_more(len(left) - 1, "is in none of the splits", "are in none of the splits")
    return [Problem(left[0], None, what, "in-no-split")]


def _objects(parts: Mapping[str, Part]) -> dict[str, dict[str, int]]:
    counts = {split: part.counts() for split, part in parts.items()}
    classes = sorted({name for part in parts.values() for name in part.classes})
    return {name: {split: counted[name] for split, counted in counts.items()} for name in classes}


def proposal_recall(data: Part) -> dict[str, tuple[float, float]]:
    """Return of each class the share of objects that the grid made for this data overlaps by 0.5 and by 0.7 IoU."""
    if not any(len(sample.boxes) for sample in data.samples):
        return {}
    boxes, labels, sizes = zip(*((each.boxes, each.labels, each.size) for each in data.samples), strict=True)
    grid = fitting_grid(boxes, labels, sizes, usual_short_side(sizes))
    hits: dict[str, list[tuple[bool, ...]]] = {name: [] for name in data.classes}
    for sample in data.samples:
        best = np.zeros(len(sample.boxes))
        for regions in grid.chunks(sample.size):
            best = np.maximum(best, best_iou(sample.boxes, regions))
        found = [tuple(each >= iou for iou in RECALL_AT) for each in best.tolist()]
        for label, pair in zip(sample.labels, found, strict=True):
            hits[data.classes[label]].append(pair)
    shares = {name: np.mean(pairs, axis=0).tolist() for name, pairs in hits.items() if pairs}
    return {name: (half, most) for name, (half, most) in shares.items()}


def readable(part: P, *, progress: Progress = silent) -> P:
    """Return a split without the images that cannot be decoded, which become problems of it."""
    problems, _ = _decoded({part.name: list(part.paths)}, progress)
    bad: dict[Path, Problem] = {problem.path: problem for problem in problems if problem.level == "error"}
    kept = part.subset([index for index, path in enumerate(part.paths) if path not in bad])
    return replace(kept, problems=(*part.problems, *bad.values()))


def _decoded(paths: Mapping[str, list[Path]], progress: Progress) -> tuple[list[Problem], tuple[int, int, int] | None]:
    """Decode every image once; return what is wrong with them, and the range of shorter sides."""
    problems: list[Problem] = []
    shorter: list[int] = []
    shown: dict[Path, dict[tuple[float, float], list[Path]]] = {}
    for path in progress("Reading images", list(dict.fromkeys(path for part in paths.values() for path in part))):
        try:
            facts = read_facts(path)
        except ImageDecodeError as error:
            problems.append(Problem(path, None, error.reason, code_of(error)))
            continue
        shorter.append(min(facts.size))
        problems += _unread(path, facts.pages, facts.unread)
        if facts.shown is not None:
            shown.setdefault(path.parent, {}).setdefault(facts.shown, []).append(path)
    sizes = (min(shorter), int(np.median(shorter)), max(shorter)) if shorter else None
    return [*problems, *(problem for ranges in shown.values() for problem in _of_ranges(ranges))], sizes


def parts_unread(paths: Sequence[Path]) -> list[Problem]:
    """Return what is not read of images of formats with pages and channels of any number; they are not decoded."""
    problems = []
    for path in (each for each in paths if each.suffix.lower() in WITH_PARTS):
        try:
            problems += _unread(path, *read_parts(path))
        except ImageDecodeError:  # which is told where it is read
            continue
    return problems


def _unread(path: Path, pages: int, channels: int) -> list[Problem]:
    """Return what of an image is not read."""
    told = [(pages > 1, f"of {pages} pages or frames the first is read")]
    told += [(channels > 0, f"{channels} of its channels are not read, the first ones are")]
    return [Problem(path, None, what, "pages") for holds, what in told if holds]


def _of_ranges(ranges: Mapping[tuple[float, float], list[Path]]) -> list[Problem]:
    """Tell which values of deep images of one folder are black and white; a warning where they differ."""
    ((usual, first), *others) = sorted(ranges.items(), key=lambda each: -len(each[1]))
    values = f"values from {usual[0]:g} to {usual[1]:g} become 0 to 255"
    what = one_or_more(len(first) - 1, values, f"of its folder: {values}")
    problems = [Problem(first[0], None, what, "range")]
    for (low, high), paths in others:
        other = f"{counted(len(paths), 'image')} of its folder with values from {low:g} to {high:g}, unlike the others"
        problems.append(Problem(paths[0], None, other, "range-differs"))
    return problems


def _readable(paths: Mapping[str, list[Path]], bad: Sequence[Problem]) -> dict[str, list[Path]]:
    broken = {problem.path for problem in bad if problem.level == "error"}
    return {split: [path for path in part if path not in broken] for split, part in paths.items()}
