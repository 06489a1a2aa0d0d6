"""Labels, predictions and models that are brought into a folder that is open: gathered, read, looked at, taken in.

What a person drops or names is gathered in a hidden folder as a data set whose images are links to those of the folder.
So every layout is read by its own loader, and files of labels alone find their images; those that come with images lie
beside these, whatever the folder calls them. What is not taken is named. Nothing changes before the person has seen
what would.
"""

import filecmp
import os
import posixpath
import secrets
import shutil
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from sppnet.data.contents import contents
from sppnet.data.names import LABEL_FOLDERS, Pairing, key_of, leads_out, stem_of
from sppnet.errors import ArgumentError, DataError, SppnetError, is_full, message
from sppnet.images import is_image
from sppnet.storage import TensorCache, open_file
from sppnet.web.studio.folder import Folder
from sppnet.web.studio.networks import maps_of
from sppnet.web.studio.offers import (
    Compared,
    Offer,
    compare,
    detect_with,
    finder_of,
    is_predictions,
    read_labels,
    read_predictions,
)
from sppnet.web.studio.pages import for_people
from sppnet.web.studio.store import Store, StoredImage
from sppnet.web.studio.uploads import MOST_BYTES

Item = TypeVar("Item")

PARTIAL: Final = "import-"  # how names begin of what is being brought in
MODEL: Final = ".safetensors"
LABELS: Final = frozenset({".json", ".xml", ".txt", ".csv", ".tsv", ".yaml", ".yml", ".names", ".data"})
KINDS: Final = LABELS | {".zip", MODEL}
MOST_FILES: Final = 200_000
LONGEST_NAME: Final = 200  # bytes
LONGEST_PATH: Final = 2000
LISTED: Final = 200  # images, problems and names that are shown


class _Dropped(Exception):  # noqa: N818 (no fault: the person closed it)
    pass


class Import:
    """One thing that is brought in; its methods may be called from any thread.

    Args:
        folder: the images. images: they, by their names.
    """

    def __init__(self, folder: Folder, images: Mapping[str, StoredImage]) -> None:
        self.token = secrets.token_hex(8)
        self._folder, self._images = folder, images
        self._home = folder.hidden / f"{PARTIAL}{self.token}"
        self._home.mkdir()
        self._set = self._home / "set"
        self._set.mkdir()
        self._placed: dict[str, str] = {}  # path in the set -> the image of the folder that stands there
        self._untaken: set[str] = set()  # paths of images that came along and were not taken
        self._model: Path | None = None
        self._left_out: list[str] = []  # what is not taken, and why
        self._done, self._of = 0, 0
        self._thread: threading.Thread | None = None
        self._dropped = False
        self._offer: Offer | None = None
        self.fault = ""

    # Gathering

    def new_file(self) -> Path:
        """Return where to write a file that comes in parts; ``add`` takes it in."""
        return self._home / secrets.token_hex(8)

    def add(self, file: Path, name: str) -> None:
        """Take a file in, given the path that its sender gives it: labels, a zip of them, or a model.

        Raises:
            ArgumentError: a file of another kind, a broken or an enormous zip.
        """
        named = _inner(name)
        kind = Path(named).suffix.lower()
        if kind not in KINDS:
            expected = f"labels ({', '.join(sorted(LABELS))}), a .zip of them, or a model ({MODEL})"
            raise ArgumentError(message("studio", "the file", expected, repr(name[:100]), "Choose another file"))
        if kind == ".zip":
            self._unpack(file, named)
        elif kind == MODEL and self._model is not None:
            self._leave_out(named, "one detector looks at a time, and another came before it", "Import it by itself")
        elif kind == MODEL:
            self._model = file
        else:
            self._put(file, named)

    def add_images(self, rows: Iterable[tuple[str, int | None]]) -> None:
        """Tell which images came with the labels: the path of each beside them, and its id; None if it was not taken.

        Labels that lie with an image are of that one, whatever the folder calls it.
        """
        names = {image.id: name for name, image in self._images.items()}
        for path, image in rows:
            place, name = _inner(path), names.get(image or 0)
            if not place or place in self._placed:
                continue
            if name is not None:
                self._place(name, place)
                continue
            self._untaken.add(place)
            if is_image(Path(place)):  # a file of labels that names it finds it, empty, and no other image
                (self._set / place).parent.mkdir(parents=True, exist_ok=True)
                (self._set / place).touch()

    def _put(self, file: Path, name: str) -> None:
        """Make a file of labels stand in the set; another one that stands there already stays, and that is told."""
        place = self._set / name
        try:
            _link(file, place)
        except (FileExistsError, NotADirectoryError):
            if not (place.is_file() and filecmp.cmp(file, place, shallow=False)):
                self._leave_out(name, "another file of this name came before it", "Import it by itself")

    def _place(self, image: str, place: str) -> None:
        """Make an image of the folder stand in the set."""
        self._placed[place] = image
        _link(self._folder.path(image), self._set / place)

    def _leave_out(self, name: str, why: str, advice: str) -> None:
        self._left_out.append(f"{name} is not taken: {why}. {advice}.")

    def add_path(self, path: Path) -> None:
        """Take in a file or folder of this machine, which stays where it is.

        Raises:
            ArgumentError: nothing lies there.
        """
        if path.is_file():
            self.add(path, path.name)
            return
        if not path.is_dir():
            raise ArgumentError(message("studio", "path", "a file or folder", f"{str(path)[:200]!r}", "Name another"))
        listed = contents(path)
        for name in listed.others:
            self._put(listed.path(name), name)
        own = {self._folder.path(name).resolve(): name for name in self._images}
        self._match((name, own.get(listed.path(name).resolve())) for name in listed.images)

    def _unpack(self, file: Path, name: str) -> None:
        """Write the labels of a zip into the set, where the zip lies; of its images, only the names count."""
        images = []
        beside = posixpath.dirname(name)
        try:
            with zipfile.ZipFile(file) as archive:
                rows = [each for each in archive.infolist() if not each.is_dir()]
                size = sum(each.file_size for each in rows if not is_image(Path(each.filename)))
                if len(rows) > MOST_FILES or size > MOST_BYTES:
                    expected, advice = (
                        f"at most {MOST_FILES} files and {MOST_BYTES} bytes of labels",
                        "Import it in parts",
                    )
                    raise ArgumentError(message("studio", name, expected, f"{len(rows)} and {size}", advice))
                for row in rows:
                    inner = row.filename.replace("\\", "/")
                    if leads_out(inner) or not inner.isprintable():
                        advice = "Make the zip anew"
                        raise ArgumentError(message("studio", name, "files below its root", repr(inner[:100]), advice))
                    if is_image(Path(inner)):
                        images.append(inner)
                    elif Path(inner).suffix.lower() in LABELS:
                        unpacked = self.new_file()
                        with archive.open(row) as opened, unpacked.open("wb") as written:
                            shutil.copyfileobj(opened, written)
                        self._put(unpacked, posixpath.join(beside, inner))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            if is_full(error):  # no fault of the zip's
                raise
            reason = str(error)[:100] or type(error).__name__
            raise ArgumentError(message("studio", name, "a zip file", reason, "Make the zip anew")) from error
        self._match(((image, None) for image in images), beside)

    def _match(self, rows: Iterable[tuple[str, str | None]], beside: str = "") -> None:
        """Place the images of the folder that those of a set are, by path or by name; each stands for one."""
        finder, there = finder_of(self._images), set(self._placed.values())
        for name, known in rows:
            found, place = known or finder.find(name, [""]), posixpath.join(beside, name)
            if found is not None and found not in there and place not in self._placed:
                there.add(found)
                self._place(found, place)

    # Reading

    def read(self) -> None:
        """Begin to read what was gathered, in a thread of its own; ``state`` tells how far it is."""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        offer, fault = None, ""
        try:
            offer = self._read()
            offer.problems = [*self._left_out, *map(self._shortened, offer.problems)]
            offer.unmatched = [self._shortened(each) for each in offer.unmatched]
        except _Dropped:
            fault = "it was dropped"
        except (SppnetError, OSError, ValueError, RuntimeError) as error:
            fault = " ".join([*self._left_out[:3], self._shortened(for_people(error) or type(error).__name__)])
        if offer is None or not offer.boxes:
            cut = next((file for file in self._set.rglob("*.json") if _is_cut_off(file)), None)
            if cut is not None:
                said = "ends in the middle: it was not saved or sent whole. Choose it anew once it is."
                offer, fault = None, f"{cut.name} {said}"
        shutil.rmtree(self._home, ignore_errors=True)  # before anybody is told that it is read
        self._offer, self.fault = offer, fault

    def _read(self) -> Offer:
        paths = [path for path in self._set.rglob("*") if path.is_file() and not is_image(path)]
        files = sorted(path.relative_to(self._set).as_posix() for path in paths)
        if self._model is not None:
            self._leave_rest(files, "a detector")
            from sppnet.detection.detector import Detector  # torch takes seconds, and the page is there before

            encoder = Detector.load(self._model).model_.encoder
            maps = maps_of(self._folder.hidden, encoder.backbone, *encoder.scales, layers=encoder.layers)
            # Where the studio does not keep maps of this kind itself, nobody would need them again.
            detector = Detector.load(self._model, cache=TensorCache(maps) if maps.exists() else None)
            open_images = {
                name: self._folder.path(name)
                for name, each in self._images.items()
                if not each.complete and not each.fault
            }
            return detect_with(detector, open_images, progress=self._counted)
        predictions = next((file for file in files if is_predictions(self._set / file)), None)
        self._place_images([] if predictions else files)
        if predictions is not None:
            self._leave_rest([file for file in files if file != predictions], predictions)
            images = {place: self._images[name] for place, name in self._placed.items()}
            return read_predictions(self._set / predictions, images)
        self._leave_astray(files)
        return read_labels(self._set, {self._set / place: name for place, name in self._placed.items()})

    def _leave_rest(self, files: Iterable[str], read: str) -> None:
        for file in files:
            self._leave_out(file, f"{read} came with it, which is imported by itself", "Import this one after it")

    def _place_images(self, files: Iterable[str]) -> None:
        """Place images that the set has not: each where its own file of labels looks for it, all others as they lie.

        Where an image of that name came along, labels mean this one: others of the name stay out of its way.
        """
        there = [*self._placed, *self._untaken]
        own, came = set(map(key_of, there)), set(map(stem_of, there))
        stems: dict[str, list[str]] = defaultdict(list)
        for name in self._images.keys() - set(self._placed.values()):
            stems[stem_of(name)].append(name)
        placed = set(self._placed.values())
        for file in _nearest_first(files, self._images):
            named = file if stem_of(file) in stems.keys() | came else posixpath.splitext(file)[0]  # as in 1.jpg.txt
            same = stems.get(stem_of(named), [])
            alike = [name for name in same if key_of(name) == key_of(named)]
            if not alike and stem_of(named) not in came:
                alike = same if len(same) == 1 else [name for name in same if key_of(named).endswith(key_of(name))]
            if len(alike) == 1 and alike[0] not in placed and key_of(named) not in own:
                folder = "/".join(map(_beside, file.split("/")[:-1]))
                self._place(alike[0], posixpath.join(folder, posixpath.basename(alike[0])))
                placed.add(alike[0])
        for name in self._images:
            if name not in placed and stem_of(name) not in came:
                self._place(name, name)

    def _leave_astray(self, files: Iterable[str]) -> None:
        """Leave out files of labels that would go to no image, or to one that has those of another folder."""
        there = sorted([*self._placed, *self._untaken])
        pairing, stems = Pairing(there), set(map(stem_of, there))
        first: dict[tuple[str, str], str] = {}
        for file in _nearest_first(files, there):
            kind = Path(file).suffix.lower()
            images = pairing.images(file)
            others = [first.setdefault((image, kind), file) for image in images]
            other = next((each for each in others if not self._are_same(each, file)), None)
            if self._untaken.intersection(images):
                why, advice = f"its image {images[0]} was not either", "Drop both again once the image can be read"
            elif other is not None:
                why = f"the image {posixpath.basename(images[0])} has the labels of {other} already"
                advice = "Import it together with its own image, or by itself"
            elif kind == ".txt" and not images and stem_of(file) in stems:  # nothing in it could tell the image
                why, advice = "several images have its name", "Import a zip with it in the folder of its image"
            else:
                continue
            self._leave_out(file, why, advice)
            (self._set / file).unlink()

    def _are_same(self, one: str, other: str) -> bool:
        return one == other or filecmp.cmp(self._set / one, self._set / other, shallow=False)

    def _counted(self, _: str, items: Sequence[Item], /) -> Iterator[Item]:
        self._of = len(items)
        for self._done, item in enumerate(items):
            if self._dropped:
                raise _Dropped
            yield item

    def _shortened(self, text: str) -> str:
        """Return a text with paths as the person knows them."""
        text = text.replace(f"{self._set}/", "").replace(str(self._set), "the files")
        return text if self._model is None else text.replace(str(self._model), "it")

    def drop(self) -> None:
        """End it, and remove what was gathered."""
        self._dropped = True
        if self._thread is None:
            shutil.rmtree(self._home, ignore_errors=True)

    # Looking

    def state(self, store: Store) -> dict[str, Any]:
        """Return, for JSON, how far reading is, why it cannot be read, or what would change."""
        if self.fault:
            return {"state": "failed", "detail": self.fault}
        if self._offer is None:
            return {"state": "reading", "done": self._done, "of": self._of}
        return {"state": "read", **_preview(self._offer, self.compared(store), store)}

    @property
    def offer(self) -> Offer:
        """What was read; DataError where it is not yet, or cannot be."""
        if self._offer is None:
            actual = self.fault or "one that is being read"
            raise DataError(message("studio", "the import", "read as a whole", actual, "Wait, or begin it anew"))
        return self._offer

    def compared(self, store: Store) -> list[Compared]:
        """Compare what was read with what people said by now."""
        return compare(self.offer, store, self._images)


class _Counts(NamedTuple):
    new: int
    same: int
    changed: int


def _preview(offer: Offer, compared: Sequence[Compared], store: Store) -> dict[str, Any]:
    known = {each.name for each in store.classes()}
    counts = [_Counts(len(each.new), each.same, len(each.changed)) for each in compared]
    rows = [
        {"image": each.image.id, "name": each.image.name, **number._asdict()}
        for each, number in zip(compared, counts, strict=True)
        if number.new or number.changed
    ]
    return {
        "saw": offer.saw,
        "predicted": any("score" in row for boxes in offer.boxes.values() for row in boxes),
        "classes": [{"name": name, "fresh": name not in known} for name in offer.classes],
        "totals": {key: sum(getattr(each, key) for each in counts) for key in _Counts._fields}
        | {"images": len(compared), "empty": sum(each.empty for each in compared)},
        "images": rows[:LISTED],
        "unmatched": {"number": len(offer.unmatched), "first": offer.unmatched[:LISTED]},
        "problems": {"number": len(offer.problems), "first": offer.problems[:LISTED]},
    }


def _is_cut_off(file: Path) -> bool:
    """Tell whether a file of JSON ends before it closes what it begins with."""
    with open_file(file) as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - 1000))
        return not opened.read().rstrip(b"\x00 \r\n\t").endswith((b"}", b"]"))


def _beside(folder: str) -> str:
    return "images" if folder.lower() in LABEL_FOLDERS else folder


def _inner(name: str) -> str:
    """Return where a file lies in the set, given the path that its sender gives it; empty if it can lie nowhere."""
    parts = [part.strip().lstrip(".") for part in name.replace("\\", "/").split("/")]
    inner = "/".join(filter(None, parts))
    fits = inner.isprintable() and len(inner.encode()) <= LONGEST_PATH
    return inner if fits and all(len(part.encode()) <= LONGEST_NAME for part in parts) else ""


def _nearest_first(files: Iterable[str], images: Iterable[str]) -> list[str]:
    """Sort files of labels: those first that lie as an image does, the others by how deep they lie."""
    keys = set(map(key_of, images))
    return sorted(files, key=lambda file: (key_of(file) not in keys, file.count("/"), file))


def _link(path: Path, place: Path) -> None:
    """Make a file stand at another place too; FileExistsError where one stands there already."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for link in (os.symlink, os.link):  # Windows gives links to few
        try:
            link(path.absolute(), place)
        except FileExistsError:
            raise
        except OSError:
            continue
        return
    shutil.copyfile(path, place)


class Imports:
    """All that is being brought in, one by each person; any thread may call any method."""

    def __init__(self) -> None:
        self._all: dict[str, Import] = {}
        self._of: dict[str, str] = {}  # person -> token

    def begin(self, person: str, folder: Folder, images: Iterable[StoredImage]) -> Import:
        """Begin another one, in place of the one that this person had begun before."""
        self.drop(self._of.get(person, ""))
        one = Import(folder, {image.name: image for image in images})
        self._all[one.token], self._of[person] = one, one.token
        return one

    def get(self, token: str) -> Import:
        """Return one that was begun; ArgumentError for a token of none."""
        if token not in self._all:
            advice = "Begin the import anew"
            raise ArgumentError(message("studio", "the import", "one that was begun", repr(token[:40]), advice))
        return self._all[token]

    def drop(self, token: str) -> None:
        """End one; nothing happens if there is none."""
        if (one := self._all.pop(token, None)) is not None:
            one.drop()

    def close(self) -> None:
        """End all."""
        for token in list(self._all):
            self.drop(token)
