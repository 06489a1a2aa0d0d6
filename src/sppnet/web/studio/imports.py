"""Labels, predictions and models that are brought into a folder that is open: gathered, read, looked at, taken in.

What a person drops or names is gathered in a hidden folder as a data set whose images are links to those of the folder.
So every layout is read by its own loader, and files of labels alone find their images. Nothing changes before the
person has seen what would.
"""

import os
import secrets
import shutil
import threading
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, TypeVar

from sppnet.data.contents import contents
from sppnet.data.names import LABEL_FOLDERS, key_of, leads_out, stem_of
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
        self._place = folder.hidden / f"{PARTIAL}{self.token}"
        self._place.mkdir()
        self._set = self._place / "set"
        self._set.mkdir()
        self._there: set[str] = set()  # the images of its own that the set has, which stay where they are
        self._model: Path | None = None
        self._done, self._of = 0, 0
        self._thread: threading.Thread | None = None
        self._dropped = False
        self._offer: Offer | None = None
        self.fault = ""

    # Gathering

    def new_file(self) -> Path:
        """Return where to write a file that comes in parts; ``add`` takes it in."""
        return self._place / secrets.token_hex(8)

    def add(self, file: Path, name: str) -> None:
        """Take a file in, given the name that its sender gives it: labels, a zip of them, or a model.

        Raises:
            ArgumentError: a file of another kind, a broken or an enormous zip.
        """
        named = PurePosixPath(name.replace("\\", "/").strip()).name.lstrip(".")
        kind = Path(named).suffix.lower()
        if kind not in KINDS or len(named.encode()) > 200 or not named.isprintable():
            expected = f"labels ({', '.join(sorted(LABELS))}), a .zip of them, or a model ({MODEL})"
            raise ArgumentError(message("studio", "the file", expected, repr(name[:100]), "Choose another file"))
        if kind == ".zip":
            self._unpack(file, named)
        elif kind == MODEL:
            self._model = file
        else:
            _link(file, self._set / named)

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
            _link(listed.path(name), self._set / name)
        own = {self._folder.path(name).resolve(): name for name in self._images}
        self._match((name, own.get(listed.path(name).resolve())) for name in listed.images)

    def _unpack(self, file: Path, name: str) -> None:
        """Write the labels of a zip into the set; of its images, only the names count."""
        images = []
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
                        place = self._set / inner
                        place.parent.mkdir(parents=True, exist_ok=True)
                        with archive.open(row) as opened, place.open("wb") as written:
                            shutil.copyfileobj(opened, written)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            if is_full(error):  # no fault of the zip's
                raise
            reason = str(error)[:100] or type(error).__name__
            raise ArgumentError(message("studio", name, "a zip file", reason, "Make the zip anew")) from error
        self._match((image, None) for image in images)

    def _match(self, rows: Iterable[tuple[str, str | None]]) -> None:
        """Link images of the set to those of the folder that they are, by path or by name; each stands for one."""
        finder = finder_of(self._images)
        for name, known in rows:
            found = known or finder.find(name, [""])
            if found is not None and found not in self._there:
                self._there.add(found)
                _link(self._folder.path(found), self._set / name)

    # Reading

    def read(self) -> None:
        """Begin to read what was gathered, in a thread of its own; ``state`` tells how far it is."""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        offer, fault = None, ""
        try:
            offer = self._read()
        except _Dropped:
            fault = "it was dropped"
        except (SppnetError, OSError, ValueError, RuntimeError) as error:
            fault = self._shortened(for_people(error) or type(error).__name__)
        if offer is None or not offer.boxes:
            cut = next((file for file in self._set.rglob("*.json") if _is_cut_off(file)), None)
            if cut is not None:
                said = "ends in the middle: it was not saved or sent whole. Choose it anew once it is."
                offer, fault = None, f"{cut.name} {said}"
        shutil.rmtree(self._place, ignore_errors=True)  # before anybody is told that it is read
        self._offer, self.fault = offer, fault

    def _read(self) -> Offer:
        files = [path for path in self._set.rglob("*") if path.is_file() and not is_image(path)]
        if self._model is not None:
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
        predictions = next((path for path in files if is_predictions(path)), None)
        if predictions is not None:
            return read_predictions(predictions, self._images)
        self._link_images([path.relative_to(self._set).as_posix() for path in files])
        offer = read_labels(self._set, {self._folder.path(name).resolve(): name for name in self._images})
        offer.unmatched = [self._shortened(each) for each in offer.unmatched]
        offer.problems = [self._shortened(each) for each in offer.problems]
        return offer

    def _link_images(self, files: Sequence[str]) -> None:
        """Put images where the set has none: each where its own file of labels looks for it, all others at the root."""
        stems: dict[str, list[str]] = defaultdict(list)
        for name in self._images:
            if name not in self._there:
                stems[stem_of(name)].append(name)
        placed: set[str] = set()
        for file in files:
            same = stems.get(stem_of(file)) or stems.get(stem_of(stem_of(file))) or []
            alike = same if len(same) == 1 else [name for name in same if key_of(file).endswith(key_of(name))]
            if len(alike) == 1:
                folder = "/".join(map(_beside, file.split("/")[:-1]))
                _link(self._folder.path(alike[0]), self._set / folder / PurePosixPath(alike[0]).name)
                placed.add(alike[0])
        for name in self._images:
            if name not in placed | self._there:
                _link(self._folder.path(name), self._set / name)

    def _counted(self, _: str, items: Sequence[Item], /) -> Iterator[Item]:
        self._of = len(items)
        for self._done, item in enumerate(items):
            if self._dropped:
                raise _Dropped
            yield item

    def _shortened(self, text: str) -> str:
        """Return a text with paths as the person knows them."""
        return text.replace(f"{self._set}/", "").replace(str(self._set), "the files").replace(str(self._model), "it")

    def drop(self) -> None:
        """End it, and remove what was gathered."""
        self._dropped = True
        if self._thread is None:
            shutil.rmtree(self._place, ignore_errors=True)

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


def _link(path: Path, place: Path) -> None:
    """Make a file stand at another place too; one that stands there already stays."""
    place.parent.mkdir(parents=True, exist_ok=True)
    link: Callable[[Path, Path], object]
    for link in (os.symlink, os.link, shutil.copyfile):  # Windows gives links to few
        try:
            link(path.absolute(), place)
        except FileExistsError:
            return
        except OSError:
            continue
        return


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
