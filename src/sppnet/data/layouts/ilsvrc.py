"""ILSVRC as its development kit has it: Annotations, Data and ImageSets of DET or CLS-LOC, classes by their synsets.

The kit's map_det.txt, map_clsloc.txt or Kaggle's LOC_synset_mapping.txt name the synsets, wherever they lie; its
blacklist leaves images of the validation set out. As class folders, DET's training images have one class a leaf synset
(499 in 2014's) and CLS-LOC's have 1,000.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from sppnet.data.contents import Contents
from sppnet.data.gathering import Listing, RawImage
from sppnet.data.layouts import voc
from sppnet.data.layouts.records import Found, read_record
from sppnet.data.layouts.values import read_text
from sppnet.data.layouts.xml_files import read_xml
from sppnet.data.names import split_of_name, stem_of
from sppnet.data.problems import Problem

SHAPE: Final = "ILSVRC (Annotations/, Data/ and ImageSets/ of DET or CLS-LOC, as the development kit has them)"
MAX_BYTES: Final = 500_000_000
TASK: Final = re.compile(r"^(?:(.*)/)?(?:Annotations|Data)/(DET|CLS-LOC)/")
SYNSET: Final = re.compile(r"^n\d{8}$")
MAPS: Final = ("map_det.txt", "map_clsloc.txt", "loc_synset_mapping.txt")


class Kit:
    """What lies below Annotations/<task> and Data/<task>: the images of each split, and their files of labels."""

    def __init__(self, listed: Contents, base: str, task: str) -> None:
        self.listed = listed
        self.task = task
        prefix = f"{base}/" if base else ""
        self._data, self._labels = f"{prefix}Data/{task}/", f"{prefix}Annotations/{task}/"
        self._sets = f"{prefix}ImageSets/{task}/"
        self.images = {_key(name, self._data): name for name in listed.images if name.startswith(self._data)}
        xmls = [name for name in listed.of_suffix(".xml") if name.startswith(self._labels)]
        self.labels = {_key(name, self._labels): name for name in xmls}
        self.names = _class_names(listed)

    def splits(self) -> dict[str, list[str]]:
        """Return the keys of each split: by its list in ImageSets if there is one, otherwise by its folder."""
        folders: dict[str, list[str]] = {}
        for key in self.images:
            folders.setdefault(split_of_name(key.split("/")[0]) or key.split("/")[0], []).append(key)
        return {split: self._listed(split, keys) for split, keys in sorted(folders.items())}

    def _listed(self, split: str, keys: list[str]) -> list[str]:
        files = [f"{self._sets}{name}.txt" for name in (split, f"{split}_loc", f"{split}_cls")]
        file = next((name for name in files if name in self.listed.others), None)
        if file is not None:
            lines = read_text(self.listed.path(file), limit=MAX_BYTES).splitlines()
            told = {stem_of(line.split()[0]) for line in lines if line.strip()}
            keys = [key for key in keys if stem_of(key) in told]
        black = self._blacklist() if split == "val" else frozenset()
        return [key for key in sorted(keys) if _number(key) not in black]

    def _blacklist(self) -> frozenset[int]:
        plain = self.task.replace("-", "").lower()
        names = [name for name in self.listed.of_suffix("blacklist.txt") if plain in name.rpartition("/")[2].lower()]
        words = [word for name in names for word in read_text(self.listed.path(name), limit=MAX_BYTES).split()]
        return frozenset(int(word) for word in words if word.isdecimal())

    def boxes(self, keys: Sequence[str]) -> Listing:
        """List the images of a split that have labels."""
        reads = [partial(self._read, key) for key in keys if key in self.labels]
        scope = [self.listed.path(self.images[key]) for key in keys]
        return Listing(sorted(set(self.names.values())) or None, reads, scope=scope)

    def _read(self, key: str) -> RawImage:
        labels = self.listed.path(self.labels[key])
        raw = read_record(voc.FILES.parse(labels), self.listed.path(self.images[key]), labels)
        return raw._replace(boxes=[box._replace(name=self.named(box.name)) for box in raw.boxes])

    def named(self, synset: str) -> str:
        """Return what a synset is called; itself where no map names it."""
        return self.names.get(synset, synset)

    def classes(self, keys: Sequence[str]) -> tuple[list[tuple[str, str]], list[Problem]]:
        """Return images and their one class: by their folder's synset, otherwise by the first box."""
        rows, problems = [], []
        for key in keys:
            synset = next((part for part in reversed(key.split("/")[:-1]) if SYNSET.match(part)), "")
            if not synset and key in self.labels:
                synset = _first_name(self.listed.path(self.labels[key]))
            if synset:
                rows.append((self.images[key], self.named(synset)))
            else:
                path = self.listed.path(self.images[key])
                problems.append(Problem(path, None, "has no class: it is left out", "image-without-labels"))
        return rows, problems


def look(listed: Contents) -> Found | None:
    """Tell what speaks for this layout."""
    kit = kit_of(listed)
    if kit is None:
        return None
    splits = {split: partial(kit.boxes, keys) for split, keys in kit.splits().items()}
    saw = f"Annotations/{kit.task} and Data/{kit.task} of ILSVRC with {len(kit.labels)} XML files"
    return Found("ilsvrc", saw, len(kit.images), splits)


def kit_of(listed: Contents) -> Kit | None:
    """Return the kit that lies there, None if none does."""
    found = next((match for name in listed.images if (match := TASK.match(name))), None)
    return None if found is None else Kit(listed, found.group(1) or "", found.group(2))


def _key(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).rpartition(".")[0]


def _number(key: str) -> int:
    digits = re.search(r"(\d+)$", key)
    return int(digits.group(1)) if digits else -1


def _class_names(listed: Contents) -> Mapping[str, str]:
    """Return the name of each synset that a map lists; of two synsets of one name, each keeps its number too."""
    names: dict[str, str] = {}
    for file in (name for name in listed.others if name.rpartition("/")[2].lower() in MAPS):
        for line in read_text(listed.path(file), limit=MAX_BYTES).splitlines():
            synset, _, rest = line.strip().partition(" ")
            title = re.sub(r"^\d+ ", "", rest).split(",")[0].replace("_", " ").strip()
            if SYNSET.match(synset) and title:
                names[synset] = title
    times = Counter(names.values())
    return {synset: name if times[name] == 1 else f"{name} {synset}" for synset, name in names.items()}


def _first_name(labels: Path) -> str:
    for node in read_xml(labels).children:
        if node.tag == "object":
            return node.text_of("name")
    return ""
