"""Names as people and programs write them -> files: which image a label belongs to, what a folder's name says.

Names of folders are of three kinds: of a split ("train", "Testing", "val2017", "train_images"), of what lies in them
("JPEGImages", "annots", "labels"), which tells labels from images and nothing else, and all others.
"""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from typing import Final
from urllib.parse import unquote

from sppnet.data.contents import Contents, normal

IMAGE_FOLDERS: Final = frozenset(
    (  # noqa: SIM905
        "jpegimages images image imgs img pictures pics photos jpegs jpeg jpgs jpg pngs png frames rawimages"
    ).split()
)
LABEL_FOLDERS: Final = frozenset(
    (  # noqa: SIM905
        "annotations annotation annots annot anns ann labels label xmls xml txts txt json jsons bboxes bbox "
        "boxes labelme labeltxt groundtruth gt targets voc yolo coco createml darknet"
    ).split()
)
_FILLING: Final = frozenset({"set", "data", "dataset", "split", "instances", "obj"})
_SPLITS: Final = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    **{name: name for name in ("trainval", "minival", "minitrain", "holdout", "unlabeled", "testdev")},
}
_YEAR: Final = re.compile(r"(19|20)\d\d$")
_VERSION: Final = re.compile(r"v\d+")
_UPLOADED: Final = re.compile(r"(^|/)[0-9a-f]{8}-(?=[^/]+$)")  # Label Studio puts these letters before a name
_EXPORTED: Final = re.compile(r"_([A-Za-z0-9]+)\.rf\.[0-9A-Za-z]+\.\w+$")  # Roboflow puts these letters behind a name
_BETWEEN: Final = re.compile(r"[_\-. ]+|(?<=[a-z])(?=[A-Z])")


@cache
def split_of_name(name: str) -> str:
    """Return the split that a folder's or file's name says, "" if none.

    >>> split_of_name("Training"), split_of_name("val2017"), split_of_name("test_images"), split_of_name("trains")
    ('train', 'val', 'test', '')
    """
    words = [word.lower() for word in _BETWEEN.split(name) if word]
    plain = [_YEAR.sub("", word) or word for word in words]
    plain = [word for word in plain if not _YEAR.fullmatch(word) and not _VERSION.fullmatch(word)]
    rest = [word for word in plain if word not in _FILLING and not _is_kind(word)]
    return _SPLITS.get(rest[0], "") if len(rest) == 1 else ""


def _is_kind(word: str) -> bool:
    return word in IMAGE_FOLDERS or word in LABEL_FOLDERS


@cache
def _canonical(folder: str) -> str:
    """Return what a folder's name says beside what lies in it: the split, nothing, or the name itself."""
    words = [word for word in re.split(r"[_\-. ]+", folder.lower()) if word]
    if words and all(_is_kind(word) for word in words):
        return ""
    return split_of_name(folder) or normal(folder)


def split_of(name: str) -> str:
    """Return the split that the folders of a file say, the first one that says any; "" if none does."""
    return next((split for split in map(split_of_name, name.split("/")[:-1]) if split), "")


def stem_of(name: str) -> str:
    """Return the file's name without its suffix, as names are compared."""
    return normal(posixpath.splitext(posixpath.basename(name))[0])


def own_name(name: str) -> str:
    """Return an image file's name without what Label Studio puts before it and Roboflow behind it.

    >>> own_name("0a1b2c3d-cells.jpg"), own_name("cells_jpg.rf.0a1b2c3d4e5f.jpg")
    ('cells.jpg', 'cells.jpg')
    """
    return normal(_EXPORTED.sub(r".\1", _UPLOADED.sub(r"\1", name)))


def key_of(name: str) -> str:
    """Return what an image and its labels have in common: their folders, without what these are for, and the stem.

    >>> key_of("train/images/a.jpg") == key_of("train/labels/a.txt") == key_of("annots/train/a.xml")
    True
    """
    parts = [part for part in map(_canonical, name.split("/")[:-1]) if part]
    return "/".join((*parts, stem_of(name)))


class Pairing:
    """Which image belongs to which file of labels: by their folders and names, or where one stem is enough."""

    def __init__(self, images: Sequence[str]) -> None:
        self._keys: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._whole: dict[str, list[str]] = {}  # by the image's whole name, as in 1.jpg.txt
        for name in images:
            self._keys[key_of(name)].append(name)
            self._stems[stem_of(name)].append(name)
            self._whole[key_of(f"{name}.txt")] = [name]

    def images(self, labels: str) -> list[str]:
        """Return the images that a file of labels belongs to: none, one, or several of one stem in one folder."""
        for name in dict.fromkeys((labels, _unquoted(labels))):
            found = self._keys.get(key_of(name)) or self._whole.get(key_of(name)) or self._by_stem(name)
            if found:
                beside = [each for each in found if each.rpartition("/")[0] == labels.rpartition("/")[0]]
                return beside or found
        return []

    def _by_stem(self, labels: str) -> list[str]:
        split = split_of(labels)
        same = [name for name in self._stems.get(stem_of(labels), ()) if split in ("", split_of(name))]
        folders = {name.rpartition("/")[0] for name in same}
        return same if len(folders) == 1 else []


def _unquoted(name: str) -> str:
    return unquote(name) if "%" in name else name


class Finder:
    """Finds the image that a label names: as it is written, or by the end of the path that exists in the set."""

    def __init__(self, listed: Contents) -> None:
        self._images = listed.images

    @cached_property
    def _known(self) -> dict[str, str]:
        return {normal(name): name for name in self._images}

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Names whatever their case; of two that differ only there, neither."""
        folded = Counter(name.casefold() for name in self._known)
        return {name.casefold(): kept for name, kept in self._known.items() if folded[name.casefold()] == 1}

    @cached_property
    def _without_suffix(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = defaultdict(list)
        for name, kept in self._known.items():
            stems[posixpath.splitext(name)[0]].append(kept)
        return stems

    @cached_property
    def _by_base(self) -> dict[str, list[str]]:
        bases: dict[str, list[str]] = defaultdict(list)
        for name in self._images:
            bases[normal(posixpath.basename(name))].append(name)
        return bases

    def find(self, written: str, folders: Iterable[str], *, split: str = "") -> str | None:
        """Return the image that a label names, None if there is none or no single one.

        Args:
            written: the path in the label: slashes or backslashes, perhaps of another machine or percent-encoded.
            folders: where images may lie, the likeliest first.
            split: that the label is of: an image in a folder of another split is no answer to a bare name.
        """
        places = list(dict.fromkeys(folders))
        texts = dict.fromkeys((_plain(written), _plain(_unquoted(written))))
        texts |= dict.fromkeys(_UPLOADED.sub(r"\1", text) for text in list(texts))
        found = next(filter(None, (self._found(text, places, split) for text in texts)), None)
        return found or self._uploaded(_plain(_unquoted(written)))

    def _uploaded(self, text: str) -> str | None:
        """Return the one image that Label Studio calls so: "0a1b2c3d-my_photo_1.jpg" of "my photo (1).jpg"."""
        name = _upload_name(own_name(posixpath.basename(text))) if _UPLOADED.search(text) else ""
        same = self._by_upload.get(name, [])
        return same[0] if len(same) == 1 else None

    @cached_property
    def _by_upload(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for name in self._images:
            names[_upload_name(normal(posixpath.basename(name)))].append(name)
        return names

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = defaultdict(list)
        for name in self._images:
            stems[stem_of(name)].append(name)
        return stems

    def of_stem(self, written: str) -> str | None:
        """Return the one image whose name without suffix that is; None if there is none, or several."""
        same = self._by_stem.get(normal(written.strip()), [])
        return same[0] if len(same) == 1 else None

    def several(self, written: str) -> list[str]:
        """Return the images that have the name that a label gives, in whatever folders."""
        return self._by_base.get(normal(posixpath.basename(_plain(written))), [])

    @cached_property
    def _words(self) -> frozenset[str]:
        """What folders of the set are called: who names one of these means it."""
        return frozenset(word for name in self._images for part in name.split("/")[:-1] if (word := _canonical(part)))

    def _found(self, text: str, folders: Sequence[str], split: str) -> str | None:
        parts = [part for part in text.split("/") if part not in ("", ".", "..")]
        meant = [k for k, part in enumerate(parts[:-1]) if _canonical(part) in self._words]
        tails = ["/".join(parts[k:]) for k in range((meant[0] if meant else max(0, len(parts) - 1)) + 1)]
        for tail in tails if parts else ():
            names = [normal(f"{folder}/{tail}" if folder else tail) for folder in folders]
            found = [self._known[name] for name in names if name in self._known]
            found += [self._folded[name.casefold()] for name in names if name.casefold() in self._folded]
            found += [only[0] for name in names if len(only := self._without_suffix.get(name, [])) == 1]
            if found:
                return found[0]
        last = normal(parts[-1]) if parts and not meant else ""
        same = self._by_base.get(last) or self._by_stem.get(last, [])
        fitting = [name for name in same if split == "" or split_of(name) in ("", split)]
        return fitting[0] if len(fitting) == 1 else None


def _upload_name(name: str) -> str:
    """Return a file's name as Label Studio keeps it: underscores for spaces, and nothing but letters, digits, -_."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _plain(written: str) -> str:
    text = written.strip().replace("\\", "/")
    address = re.match(r"[a-z][a-z0-9+.-]+://[^/]*/", text)
    if address is not None and "?d=" not in text:
        text = text[address.end() :].partition("?")[0]
    return text.split("?d=")[-1]  # "?d=": Label Studio's local files


def split_lists(listed: Contents) -> list[str]:
    """Return the text files in the root that are called as lists of a split are: train.txt, test.txt."""
    return [name for name in listed.of_suffix(".txt") if "/" not in name and split_of_name(posixpath.splitext(name)[0])]


def leads_out(written: str) -> bool:
    """Tell whether a written path, followed as it is, would leave the data set; uploads are named by their server."""
    text = written.replace("\\", "/")
    if posixpath.isabs(text) and ".." not in text.split("/") and "\0" not in text and _UPLOADED.search(text):
        return False
    return posixpath.normpath(text).startswith("..") or posixpath.isabs(text) or text[1:2] == ":" or "\0" in text
