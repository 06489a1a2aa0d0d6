"""Which files of a folder count, by one rule for loaders, commands and the studio.

Hidden files and folders are left out, and so is what other programs leave behind (``LITTER``) and what sppnet itself
draws. Links are followed, wherever they lead; one that leads back into its own way is not followed again. Image files
of formats that are not read are counted, not passed over.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sppnet.data.problems import Problem
from sppnet.errors import counted
from sppnet.images import VIDEOS, is_image

# Synology, macOS, Windows, QNAP, Python, ext4; all that begins with a dot is left out anyway.
LITTER: Final = frozenset(
    {"@eadir", "__macosx", "$recycle.bin", "system volume information", "#recycle", "@recycle", "@syno", "#snapshot"}
    | {"__pycache__", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
)
DRAWN: Final = ".detections.jpg"  # how the names of drawings end that ``predict --draw`` makes
# Image formats that people have, and that are not read.
UNREAD_SUFFIXES: Final = frozenset(
    (  # noqa: SIM905
        ".heic .heif .avif .jxl .jp2 .j2k .jpx .psd .svg .exr .hdr .dcm .dicom .nii .nrrd .fits .fit .raw "
        ".dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .czi .nd2 .lif .lsm .svs .ndpi .mrxs .vsi .oib .oif .tga "
        ".ppm .pgm .pbm .pnm .pcx .ico .eps .xcf"
    ).split()
)


def is_litter(name: str) -> bool:
    """Tell whether a file or folder of that name is no part of any data set."""
    return name.startswith(".") or name.lower() in LITTER


def normal(name: str) -> str:
    """Return a name as names are compared: composed (NFC), for macOS keeps them decomposed."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class Contents:
    """The files below a folder, by their paths from it with slashes between, sorted.

    Args:
        root: the folder.
        images: that are read. others: every other file that counts.
        folders: that count, empty ones too; "" is the root.
        problems: image files that do not count, and why.
    """

    root: Path
    images: tuple[str, ...]
    others: tuple[str, ...]
    folders: frozenset[str]
    problems: tuple[Problem, ...] = ()

    def of_suffix(self, *suffixes: str) -> list[str]:
        """Return the other files of these lowercase suffixes, in whatever case they have them."""
        return [name for name in self.others if name.lower().endswith(suffixes)]

    def path(self, name: str) -> Path:
        """Return where a file lies."""
        return self.root / name if name else self.root

    def below(self, folder: str) -> "Contents":
        """Return the contents of a folder in it."""
        start = f"{folder}/"
        images, others = (
            tuple(name.removeprefix(start) for name in names if name.startswith(start))
            for names in (self.images, self.others)
        )
        folders = frozenset(name.removeprefix(start) for name in self.folders if name.startswith(start)) | {""}
        return Contents(self.root / folder, images, others, folders, self.problems)

    def summary(self) -> str:
        """Say in a line what lies there, as a person would who looks into the folder."""
        parts = [counted(len(self.images), "image")] if self.images else []
        suffixes = Counter(Path(name).suffix.lower() or "without suffix" for name in self.others)
        parts += [f"{number} {suffix}" for suffix, number in suffixes.most_common(4)]
        unread = Counter(problem.path.suffix.lower() for problem in self.problems if problem.code == "format-unread")
        parts += [f"{number} {suffix} (not read)" for suffix, number in unread.most_common(3)]
        links = sum(problem.code == "link-broken" for problem in self.problems)
        parts += [counted(links, "broken link")] if links else []
        return ", ".join(parts) or "no files"


def contents(root: Path) -> Contents:
    """List the files below a folder that count."""
    walk = _Walk()
    walk.enter(os.fspath(root), "", ())
    problems = [Problem(root / name, None, what, code) for name, what, code in sorted(walk.left_out)]
    folders = frozenset(walk.folders)
    return Contents(root, tuple(sorted(walk.images)), tuple(sorted(walk.others)), folders, tuple(problems))


@dataclass
class _Walk:
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)

    def enter(self, folder: str, prefix: str, way: tuple[tuple[int, int], ...]) -> None:
        """List a folder; ``way`` identifies the folders that led here."""
        try:
            status = Path(folder).stat()
            here = (status.st_dev, status.st_ino)
            if here in way:
                return
            entries = list(os.scandir(folder))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self.left_out.append((prefix.rstrip("/"), f"cannot be listed: {reason}", "folder-unreadable"))
            return
        self.folders.append(prefix.rstrip("/"))
        for entry in entries:
            if not is_litter(entry.name):
                self._sort(entry, prefix + entry.name, (*way, here))

    def _sort(self, entry: "os.DirEntry[str]", name: str, way: tuple[tuple[int, int], ...]) -> None:
        if _holds(entry.is_dir):
            self.enter(entry.path, f"{name}/", way)
        elif not _holds(entry.is_file):
            if is_image(Path(entry.name)) and _holds(entry.is_symlink):
                self.left_out.append((name, "is a link that leads nowhere", "link-broken"))
        elif name.lower().endswith(DRAWN):
            self.left_out.append((name, "was drawn by sppnet and is no image of the set", "own-output"))
        elif is_image(Path(entry.name)):
            self.images.append(name)
        elif (suffix := Path(name).suffix.lower()) in UNREAD_SUFFIXES | VIDEOS:
            video = suffix in VIDEOS
            advice = "'sppnet studio' takes its frames as images" if video else "Convert it to JPEG or PNG"
            what = f"is {'a video' if video else 'of a format'} that is not read. {advice}"
            self.left_out.append((name, what, "format-unread"))
        else:
            self.others.append(name)


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link in a circle
        return False


def images_of(given: Iterable[Path]) -> tuple[list[Path], list[Problem]]:
    """Return the image files that are named, and those below the folders that are named; each once.

    A file that is named counts, whatever it is called.

    Returns:
        The images, folder by folder, sorted; and what was left out of the folders.
    """
    found: list[Path] = []
    problems: list[Problem] = []
    for path in given:
        if path.is_dir():
            below = contents(path)
            found += [path / name for name in below.images]
            problems += below.problems
        else:
            found.append(path)
    return unique_files(found), problems


def unique_files(paths: Sequence[Path]) -> list[Path]:
    """Return paths without those that name a file again, such as ``a/../b.jpg`` after ``b.jpg``."""
    unique: dict[str, Path] = {}
    for path in paths:
        unique.setdefault(os.path.normpath(path.absolute()), path)
    return list(unique.values())
