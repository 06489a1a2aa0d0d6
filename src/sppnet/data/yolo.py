"""YOLO: images/<split>/ and labels/<split>/*.txt, or <split>/images/ and <split>/labels/; data.yaml or classes.txt.

Its boxes are centre and size relative to the image, or the corners of a polygon, of which the box around them
is taken; they are converted here and nowhere else. A split of data.yaml is a folder, or a text file that lists
images.
"""

from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from sppnet.data.gathering import Listing, RawBox, RawImage, unique_stems
from sppnet.data.rules import broken, find_image, folders_in, is_there, lies_within, read_text, split_names
from sppnet.data.samples import DetectionData, Sample
from sppnet.errors import DataError
from sppnet.images import is_image
from sppnet.storage import write_file

LAYOUT: Final = "YOLO (data.yaml or classes.txt, images/<split>/, labels/<split>/*.txt)"
MAX_BYTES: Final = 10_000_000
NAME_LISTS: Final = ("classes.txt", "labels/classes.txt")
MAX_YAML_BYTES: Final = 1_000_000
MAX_YAML_DEPTH: Final = 16
Places = list[Path]  # folders of images, and files that list images

_OPENING: Final = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING: Final = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def matches(root: Path) -> bool:
    """Tell whether a folder has this layout."""
    labelled = any((base / "labels").is_dir() for base in (root, *folders_in(root)))
    return (root / "data.yaml").is_file() or (labelled and any((root / name).is_file() for name in NAME_LISTS))


def splits(root: Path) -> tuple[str, ...]:
    """Return the names of the splits, sorted; empty if there are none."""
    return tuple(split_names(_split_places(root)))


def listing(root: Path, split: str | None) -> Listing:
    """List the images of a split, None for all; the classes are in the order of data.yaml or classes.txt.

    Raises:
        DataError: class names that cannot be read.
    """
    classes, found = _classes(root), _split_places(root)
    names = split_names(found)
    wanted = [names[split]] if split is not None else list(found)
    places = [place for name in wanted for place in found[name]] or [root / "images"]
    images = dict.fromkeys(path for place in places for path in _images(root, place))
    if not images:
        broken(root, f"holds no images in {', '.join(str(place.relative_to(root)) for place in places)}")
    return Listing(classes, [partial(_read, root, path, classes) for path in images])


def _images(root: Path, place: Path) -> list[Path]:
    """Return the images in a folder, sorted, or those that a file lists, in its order."""
    if place.is_file():
        lines = (line.strip() for line in read_text(root, place, limit=MAX_BYTES).splitlines())
        return [_listed(root, place, line) for line in lines if line]
    return sorted(path for path in place.rglob("*") if is_image(path) and path.is_file())


def _listed(root: Path, file: Path, text: str) -> Path:
    """Return the image that a line of a file names, from the root or from the file's own folder."""
    tried = [root / text, file.parent / text]
    return next((path for path in tried if is_there(path, Path.is_file)), tried[0])


# The folders and the classes


def _split_places(root: Path) -> dict[str, Places]:
    """Return where the images of each split are: as data.yaml says, or as folders lie."""
    document = _document(root)
    told = {str(key): _told(root, document, value) for key, value in document.items() if key not in ("path", "names")}
    grouped = {folder.name: [folder] for folder in folders_in(root / "images") if _labels(root, folder).is_dir()}
    nested = {path.name: [path / "images"] for path in folders_in(root) if (path / "images").is_dir()}
    return {key: folders for key, folders in told.items() if folders} or grouped or nested


def _told(root: Path, document: dict[Any, Any], value: object) -> Places:
    """Return the folders and lists that a value of data.yaml names; a value that names none is something else.

    Exporters write paths as their own machine saw them, and "../" where they mean the root: what exists counts.
    """
    base = str(document.get("path", ""))
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text]
    places = [[root / text, root / text.removeprefix("../"), root / base / text] for text in texts]
    found = [[path for path in tried if _is_place(path) and lies_within(root, path)][:1] for tried in places]
    return [path for first in found for path in first]


def _is_place(path: Path) -> bool:
    return is_there(path, Path.is_dir) or (path.suffix == ".txt" and is_there(path, Path.is_file))


def _document(root: Path) -> dict[Any, Any]:
    path = root / "data.yaml"
    if not path.is_file():
        return {}
    try:
        text = read_text(root, path, limit=MAX_YAML_BYTES)
        _check_tokens(path, text)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        broken(path, f"is not YAML: {getattr(error, 'problem', error)}", line=mark.line + 1 if mark else None)
    if not isinstance(document, dict):
        broken(path, "must hold names")
    return document


def _check_tokens(path: Path, text: str) -> None:
    """Refuse what a short file can keep the parser busy with for hours: aliases of aliases, and great depth."""
    depth = 0
    for token in yaml.scan(text):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if isinstance(token, yaml.AliasToken) or depth > MAX_YAML_DEPTH:
            line = token.start_mark.line + 1
            broken(path, f"uses aliases or lies more than {MAX_YAML_DEPTH} deep, which is refused", line=line)


def _classes(root: Path) -> list[str]:
    names = _document(root).get("names")
    if isinstance(names, dict) and all(isinstance(key, int) for key in names) and set(names) == set(range(len(names))):
        names = [names[key] for key in range(len(names))]
    if isinstance(names, list) and names and all(isinstance(name, str | int | float) for name in names):
        return [str(name) for name in names]
    if (root / "data.yaml").is_file():
        broken(root / "data.yaml", "names must list the classes, or map 0, 1, ... to them")
    path = next(root / name for name in NAME_LISTS if (root / name).is_file())
    return [text.strip() for text in read_text(root, path, limit=MAX_BYTES).splitlines() if text.strip()]


# Reading


def _labels(root: Path, path: Path) -> Path:
    """Return the place among the labels of a place among the images: the last images/ in it becomes labels/."""
    parts = list(path.relative_to(root).parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return root.joinpath(*parts)


def _read(root: Path, image: Path, classes: list[str]) -> RawImage:
    path, size = find_image(root, [image], source=image, name=image.name)
    labels = _labels(root, image).with_suffix(".txt")
    if not labels.is_file():  # the layout's way to say that an image shows no object
        return RawImage(path, size, labels, ())
    lines = enumerate(read_text(root, labels, limit=MAX_BYTES).splitlines(), start=1)
    return RawImage(path, size, labels, [_box(labels, *row, size, classes) for row in lines if row[1].strip()])


def _box(labels: Path, line: int, text: str, size: tuple[int, int], classes: list[str]) -> RawBox:
    words = text.split()
    try:
        number, numbers = int(words[0]), [float(word) for word in words[1:]]
        left, top, right, bottom = _sides(numbers)
    except ValueError:
        expected = "class, centre x, centre y, width, height, or class and three corners x, y at least"
        broken(labels, f"the line must be {expected}, got {text.strip()[:60]!r}", line=line)
    edges = (left * size[1], top * size[0], right * size[1], bottom * size[0])
    if not 0 <= number < len(classes):
        return RawBox("", edges, line, fault=f"has class {number}, and there are {len(classes)} from 0")
    return RawBox(classes[number], edges, line)


def _sides(numbers: list[float]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of a box, or of the box around a polygon; ValueError where it is neither."""
    if len(numbers) == 4:
        x, y, width, height = numbers
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(len(numbers))
    across, down = numbers[::2], numbers[1::2]
    return min(across), min(down), max(across), max(down)


# Writing


def write_yolo(folder: Path | str, data: DetectionData) -> None:
    """Write ``labels/<split>/*.txt``, and the split into ``data.yaml``; no images are copied.

    The images belong in images/<split>/. YOLO knows neither difficult boxes nor crowds.

    Raises:
        DataError: two images of the same name, or a data.yaml with other classes.
    """
    folder, classes = Path(folder), list(data.classes)
    document = _document(folder) or {"names": classes}
    if (folder / "data.yaml").is_file() and _classes(folder) != classes:
        raise DataError(f"{folder / 'data.yaml'}: names must be {', '.join(classes)}. Write to another folder.")
    labels = folder / "labels" / data.split
    for stem, sample in zip(unique_stems(data), data.samples, strict=True):
        write_file(labels / f"{stem}.txt", "".join(_lines(sample)))
    document[data.split] = f"images/{data.split}"
    write_file(folder / "data.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _lines(sample: Sample) -> list[str]:
    height, width = sample.size
    sides = sample.boxes / (width, height, width, height)
    centres, extents = (sides[:, :2] + sides[:, 2:]) / 2, sides[:, 2:] - sides[:, :2]
    rows = zip(sample.labels.tolist(), centres.tolist(), extents.tolist(), strict=True)
    return [f"{label} {centre[0]!r} {centre[1]!r} {extent[0]!r} {extent[1]!r}\n" for label, centre, extent in rows]
