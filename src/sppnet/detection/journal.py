"""The answers of a run, kept on the disk as they come: a run that was ended goes on, and memory does not grow."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sppnet.data import printable
from sppnet.errors import CorruptFileError
from sppnet.pipeline.parts import file_version
from sppnet.storage import write_file

JOURNAL: Final = "predictions.partial.jsonl"

Answer = dict[str, Any]


class Journal:
    """The answers of a run, a line an image; of each, memory holds its place in the file alone.

    Args:
        folder: to write into; made where it is missing.
        run: JSON of what the answers depend on: those of another run are not taken over.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.file = folder / JOURNAL
        self._run = json.loads(json.dumps(run))
        self._places, end = self._read()
        if not self._places:
            write_file(self.file, _line({"run": self._run}), durable=False)
            end = self.file.stat().st_size
        os.truncate(self.file, end)  # a run that was killed may have left a part of a line

    def __len__(self) -> int:
        """Return how many images have an answer."""
        return len(self._places)

    def knows(self, path: Path) -> bool:
        """Tell whether there is an answer for an image as its file is now."""
        return printable(path) in self._places and self._row(path)["version"] == file_version(path)

    def answer(self, path: Path) -> Answer:
        """Return the answer for an image, whatever became of its file since.

        Raises:
            CorruptFileError: the journal was changed meanwhile.
        """
        answer: Answer = self._row(path)["answer"]
        return answer

    def add(self, path: Path, answer: Answer) -> None:
        """Keep the answer for an image."""
        content = _line({"image": printable(path), "version": file_version(path), "answer": answer})
        with self.file.open("ab") as file:
            self._places[printable(path)] = file.tell()
            file.write(content.encode())

    def remove(self) -> None:
        """Remove it: the files that were asked for are there."""
        self.file.unlink(missing_ok=True)

    def _row(self, path: Path) -> dict[str, Any]:
        with self.file.open("rb") as file:
            file.seek(self._places[printable(path)])
            row = _parsed(file.readline())
        if not isinstance(row, dict) or row.get("image") != printable(path):
            raise CorruptFileError(f"{self.file}: was changed by another program. Remove it and run the command again.")
        return row

    def _read(self) -> tuple[dict[str, int], int]:
        """Return the place of each image's last answer, and where the last whole line ends."""
        places: dict[str, int] = {}
        end = 0
        try:
            with self.file.open("rb") as file:
                for line in file:
                    row = _parsed(line)
                    if end == 0 and row != {"run": self._run}:
                        return {}, 0
                    if not line.endswith(b"\n"):
                        break
                    if isinstance(row, dict) and isinstance(row.get("image"), str):
                        places[row["image"]] = end
                    end += len(line)
        except OSError:
            return {}, 0
        return places, end


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:  # of a machine that lost its power
        return None


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, allow_nan=False) + "\n"
