"""YOLO's own files: class names and where the images of each split are, by data.yaml, obj.data or lists of images."""

import posixpath
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from sppnet.data.contents import Contents, normal
from sppnet.data.layouts.records import by_split, counted, list_unread
from sppnet.data.layouts.values import read_text
from sppnet.data.names import Finder, split_lists, split_of, split_of_name
from sppnet.data.problems import Problem, broken
from sppnet.images import is_image

MAX_BYTES: Final = 10_000_000
MAX_LIST_BYTES: Final = 500_000_000
MAX_YAML_BYTES: Final = 1_000_000
MAX_YAML_DEPTH: Final = 16
MAX_DIGITS: Final = 10  # of a class's number
DEEP: Final = f"uses aliases or tags, or lies more than {MAX_YAML_DEPTH} deep, which is refused"
# libyaml, where PyYAML was built with it, is ten times as fast; either makes nothing but texts, lists and dicts.
LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
NAME_LISTS: Final = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")
FIRST_YAMLS: Final = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")

_OPENING: Final = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING: Final = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


class Place(NamedTuple):
    """Where the images of a split are.

    Args:
        images: their names. missing: names in lists that lead nowhere, with file and line.
        problems: of the place as a whole.
    """

    images: Sequence[str]
    missing: Sequence[Problem] = ()
    problems: Sequence[Problem] = ()


class NamedClasses(NamedTuple):
    """The classes of a set by their numbers, the file that names them, and its document if it is YAML."""

    classes: Mapping[int, str]
    source: Path | None
    document: Mapping[str, Any]


def named(listed: Contents) -> NamedClasses | None:
    """Return the class names that some file of the set lists; None where no file does.

    Raises:
        BrokenSampleError: a data.yaml that is not YAML or names no classes.
    """
    yamls = [name for name in listed.of_suffix(".yaml", ".yml") if "/" not in name]
    ranked = sorted(yamls, key=lambda name: FIRST_YAMLS.index(name) if name in FIRST_YAMLS else len(FIRST_YAMLS))
    for name in ranked:
        document = read_yaml(listed.path(name))
        if "names" in document or name in FIRST_YAMLS:
            return NamedClasses(classes_in(listed.path(name), document), listed.path(name), document)
    lists = [name for name in listed.others if posixpath.basename(name).lower() in NAME_LISTS]
    lists += [name for name in listed.of_suffix(".names") if name not in lists]
    lists.sort(key=lambda name: (name.count("/"), name))
    deeper = [name for name in listed.of_suffix(".yaml", ".yml") if posixpath.basename(name) in FIRST_YAMLS]
    if deeper and not any("/" not in name for name in lists):
        documents = {name: read_yaml(listed.path(name)) for name in deeper}
        known = _agreed(listed, {name: classes_in(listed.path(name), each) for name, each in documents.items()})
        # Of several sets, one's paths do not tell where the others' images are.
        shared = {key: value for key, value in documents[deeper[0]].items() if len(deeper) == 1 or key == "kpt_shape"}
        return known and known._replace(document=shared)
    same = [name for name in lists if posixpath.basename(name) == posixpath.basename(lists[0])]
    return _agreed(listed, {name: _listed_classes(listed.path(name)) for name in same})


def _listed_classes(path: Path) -> dict[int, str]:
    texts = read_text(path, limit=MAX_BYTES).splitlines()
    return dict(enumerate(text.strip() for text in texts if text.strip()))


def _agreed(listed: Contents, lists: Mapping[str, Mapping[int, str]]) -> NamedClasses | None:
    """Return the longest of some files' classes: labelImg writes a list into every folder, and adds to it.

    Raises:
        BrokenSampleError: two of them give one number different names.
    """
    longest: Mapping[int, str] = {}
    source = ""
    for name, classes in lists.items():
        differs = next((k for k in classes if longest.get(k, classes[k]) != classes[k]), None)
        if differs is not None:
            what = f"class {differs} is {classes[differs]!r:.60}, and {longest[differs]!r:.60} in {source}"
            broken(listed.path(name), f"{what}. Read each folder by itself, or number the classes alike")
        longest, source = max((longest, source), (classes, name), key=lambda each: len(each[0]))
    return NamedClasses(longest, listed.path(source), {}) if longest else None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds, every scalar as the text that is written: a class named "no" stays so.

    Raises:
        BrokenSampleError: naming the line, if it is no YAML, uses aliases or lies deep.
    """
    try:
        text = read_text(path, limit=MAX_YAML_BYTES)
        _check_tokens(path, text)
        document = yaml.load(text, Loader=LOADER)  # makes nothing but texts, lists and dicts
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", error))
        told = DEEP if "nesting depth" in problem else f"is not YAML: {problem}"  # libyaml has a limit of its own
        broken(path, told, line=mark.line + 1 if mark else None)
    if not isinstance(document, dict):
        broken(path, "must hold names")
    return {key: value for key, value in document.items() if isinstance(key, str)}


def _check_tokens(path: Path, text: str) -> None:
    """Refuse what a short file can keep the parser busy with for hours: aliases of aliases, and great depth."""
    depth = 0
    for token in yaml.scan(text, Loader=LOADER):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        refused = isinstance(token, yaml.AliasToken | yaml.TagToken)
        if refused or depth > MAX_YAML_DEPTH:
            line = token.start_mark.line + 1
            broken(path, DEEP, line=line)


def classes_in(path: Path, document: Mapping[str, Any]) -> dict[int, str]:
    """Return the names that a data.yaml lists from 0, or maps numbers to, by these numbers."""
    names = document.get("names")
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    known = (
        isinstance(names, dict)
        and all(map(_is_number, names))
        and all(isinstance(each, str) for each in names.values())
    )
    if not isinstance(names, dict) or not names or not known:
        broken(path, "names must list the classes, or map 0, 1, ... to them", line=line_of(path, "names"))
    return {int(number): " ".join(name.split()) for number, name in names.items()}


def _is_number(key: object) -> bool:
    return isinstance(key, str) and key.strip().isdecimal() and len(key) < MAX_DIGITS


def line_of(path: Path, key: str) -> int | None:
    """Return the line of a YAML file that a key of its document stands on."""
    lines = read_text(path, limit=MAX_YAML_BYTES).splitlines()
    return next((number for number, line in enumerate(lines, start=1) if line.strip().startswith(f"{key}:")), None)


def count_differs(known: NamedClasses) -> list[Problem]:
    """Return a problem where ``nc`` of a data.yaml is not the number of its names."""
    said = known.document.get("nc")
    if known.source is None or not _is_number(said) or int(str(said)) == len(known.classes):
        return []
    what = f"nc is {said}, and names has {len(known.classes)}"
    return [Problem(known.source, line_of(known.source, "nc"), what, "class-count")]


def check_from_zero(source: Path, classes: Mapping[int, str], used: Collection[int], line: int | None = None) -> None:
    """Raise BrokenSampleError where numbers count the classes from 1, and names are told for them from 0."""
    last = max(classes) + 1
    if min(classes) == 0 and 0 not in used and max(used, default=0) == last:
        what = (
            f"class {last} is used and class 0 is not, though they count from 0 and {last} names are told. "
            f"Take 1 from every class's number, or map the numbers in data.yaml: 1: {classes[0]}"
        )
        broken(source, what, line=line, code="numbers-from-one")


# Splits


def places(listed: Contents, known: NamedClasses | None) -> dict[str, Callable[[], Place]]:
    """Return what makes the ``Place`` of each split; one called "" where there are no splits."""
    finder = Finder(listed)
    made, used = _places(listed, finder, known)
    why = "names no image in its first line" if used is None else "is named neither by data.yaml nor by obj.data"
    unread = [list_unread(listed, name, why) for name in split_lists(listed) if name not in (used or ())]
    if used is None:  # no other file tells the splits: those in the root do, as far as they are lists
        lists = [name for name in split_lists(listed) if _names_images(listed.path(name), finder)]
        unread = [problem for problem in unread if problem.path not in map(listed.path, lists)]
        made = _of_each({split_of_name(Path(name).stem): [name] for name in lists}, listed, finder) or made
    return {split: partial(_with_problems, place, unread) for split, place in made.items()}


def _places(
    listed: Contents, finder: Finder, known: NamedClasses | None
) -> tuple[dict[str, Callable[[], Place]], Collection[str] | None]:
    """Return the places that data.yaml or obj.data tells, and the lists it names; or those of folders, and None."""
    if known is not None and known.source is not None and known.document:
        told = _Told(listed, finder, known.source, known.document)
        splits = told.splits()
        if splits:
            return {split: partial(told.place, key) for split, key in splits.items()}, told.names()
    lists = _told_lists(listed, finder)
    if lists:
        return _of_each(lists, listed, finder), {name for names in lists.values() for name in names}
    groups = by_split(counted(listed.images))
    return {split: partial(Place, images) for split, images in groups.items()}, None


def _of_each(lists: Mapping[str, Sequence[str]], listed: Contents, finder: Finder) -> dict[str, Callable[[], Place]]:
    return {split: partial(_of_lists, listed, finder, names) for split, names in lists.items()}


def _with_problems(place: Callable[[], Place], problems: Sequence[Problem]) -> Place:
    made = place()
    return made._replace(problems=[*made.problems, *problems])


def _told_lists(listed: Contents, finder: Finder) -> dict[str, list[str]]:
    """Return the lists that a .data file names, "train = data/train.txt", found by the ends of their paths."""
    told: dict[str, list[str]] = {}
    lists = listed.of_suffix(".txt")
    for name in listed.of_suffix(".data"):
        for line in read_text(listed.path(name), limit=MAX_BYTES).splitlines():
            key, _, path = (part.strip() for part in line.partition("="))
            parts = path.replace("\\", "/").split("/")
            ends = ["/".join(parts[k:]) for k in range(len(parts))]
            ends += [f"{name.rpartition('/')[0]}/{parts[-1]}"]
            found = next((end for end in ends if end in lists), None)
            if split_of_name(key) and found is not None and _names_images(listed.path(found), finder):
                told.setdefault(split_of_name(key), []).append(found)
    return told


def _names_images(path: Path, finder: Finder) -> bool:
    """Tell whether the first line of a file is the path of an image, or the name without suffix of one of the set."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = next((line.strip() for line in file if line.strip()), "")
    return finder.of_stem(first) is not None or is_image(Path(first.replace("\\", "/")))


def _of_lists(listed: Contents, finder: Finder, files: Sequence[str]) -> Place:
    found: dict[str, None] = {}
    missing = []
    for name in files:
        path, folder = listed.path(name), name.rpartition("/")[0]
        lines = read_text(path, limit=MAX_LIST_BYTES).splitlines()
        for line, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            image = finder.find(text, ["", folder]) or finder.of_stem(text)
            if image is None:
                base = posixpath.basename(text.strip().replace("\\", "/"))
                missing.append(Problem(path, line, f"the image {base!r} is missing", "image-missing"))
            else:
                found[image] = None
    return Place(list(found), missing)


class _Told:
    """Where data.yaml says that the images of each split are.

    Exporters write paths as their own machine saw them, and "../" where they mean the root. A path that leads nowhere
    is looked for by its end, and by the split's name; it is never taken for another split's.
    """

    def __init__(self, listed: Contents, finder: Finder, source: Path, document: Mapping[str, Any]) -> None:
        self._listed = listed
        self._finder = finder
        self._source = source
        self._document = document
        self._base = str(document.get("path", "")) if isinstance(document.get("path"), str) else ""
        self._folder = source.relative_to(listed.root).parent.as_posix().removeprefix(".")

    def splits(self) -> dict[str, str]:
        """Return the keys that name splits, by the split's usual name."""
        keys = [key for key, value in self._document.items() if _texts(value) and key not in ("path", "names", "nc")]
        usual = {split_of_name(key): key for key in reversed(keys) if split_of_name(key)}
        others = {
            key: key for key in keys if not split_of_name(key) and all(map(self._exact, _texts(self._document[key])))
        }
        return usual | others

    def names(self) -> set[str]:
        """Return what files in the root the paths of the splits may mean, by their names."""
        texts = [text for key in self.splits().values() for text in _texts(self._document[key])]
        return {posixpath.basename(text.strip().replace("\\", "/")) for text in texts}

    def place(self, key: str) -> Place:
        """Find the images of a split.

        Raises:
            BrokenSampleError: naming the line, where a path of it leads nowhere.
        """
        found = [self._one(key, text) for text in _texts(self._document[key])]
        images = dict.fromkeys(name for place in found for name in place.images)
        missing = [problem for place in found for problem in place.missing]
        return Place(list(images), missing, [problem for place in found for problem in place.problems])

    def _one(self, key: str, text: str) -> Place:
        exact = self._exact(text)
        target = exact
        for look in (self._below_base, partial(self._elsewhere, split_of_name(key) or key)):
            target = look(text) if target is None else target
        line = line_of(self._source, key)
        if target is None:
            where = f"{text} leads nowhere, and no folder of {self._listed.root} is plainly meant"
            broken(self._source, f"{key}: {where}. Correct the path.", line=line, code="split-missing")
        if target in self._listed.folders:
            start = f"{target}/" if target else ""
            place = Place([name for name in counted(self._listed.images) if name.startswith(start)])
        else:
            place = _of_lists(self._listed, self._finder, [target])
        if exact is not None:
            return place
        what = f"{key}: {text} leads nowhere; the images of {target} are taken"
        return place._replace(problems=[Problem(self._source, line, what, "found-elsewhere")])

    def _exact(self, text: str) -> str | None:
        """Return the folder or list that a path names as it is written: from the file, from ``path``, from the root."""
        plain = text.strip().replace("\\", "/")
        below = [plain, plain.removeprefix("../"), posixpath.join(self._base.replace("\\", "/"), plain)]
        places = [posixpath.join(folder, each) for folder in dict.fromkeys((self._folder, "")) for each in below]
        return next((name for each in places if (name := self._known(each)) is not None), None)

    def _below_base(self, text: str) -> str | None:
        """Return the folder or list that a path names below the end of ``path``, which is of another machine."""
        parts = [part for part in self._base.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        ends = ["/".join((*parts[k:], text.strip().replace("\\", "/"))) for k in range(len(parts))]
        return next((name for each in ends if (name := self._known(each)) is not None), None)

    def _known(self, path: str) -> str | None:
        if "\0" in path:
            return None
        if posixpath.isabs(path):
            root = normal(self._listed.root.resolve().as_posix())
            path = posixpath.relpath(normal(path), root) if normal(path).startswith(root) else path
        name = posixpath.normpath(path)
        name = "" if name == "." else name
        lists = name.lower().endswith(".txt") and name in self._listed.others
        return name if name in self._listed.folders or lists else None

    def _elsewhere(self, split: str, text: str) -> str | None:
        """Return the folder in the set that a path must mean: one that ends as it does, or goes by the split's name."""
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        tails = ["/".join(parts[k:]) for k in range(1, len(parts))]
        ends = [name for tail in tails if (name := self._known(tail)) is not None]
        sure = [name for name in ends if split_of(f"{name}/x") == split or split_of_name(Path(name).stem) == split]
        if sure:
            return sure[0]
        holding = {name.rpartition("/")[0] for name in counted(self._listed.images)}
        named = sorted(name for name in holding if split_of(f"{name}/x") == split)
        tops = {_down_to_split(name) for name in named}
        return tops.pop() if len(tops) == 1 else None


def _texts(value: object) -> list[str]:
    """Return the paths that a value of data.yaml holds."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text.strip() and "\n" not in text]


def _down_to_split(folder: str) -> str:
    parts = folder.split("/")
    at = next(k for k, part in enumerate(parts) if split_of_name(part))
    return "/".join(parts[: at + 1])
