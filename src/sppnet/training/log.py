"""What a run tells while it trains: lines of JSON, and TensorBoard's events where that is installed."""

import contextlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sppnet.storage import write_file

LOG: Final = "log.jsonl"


class Log:
    """The log of one run; lines that an interrupted run wrote past its last state are taken back.

    Args:
        folder: of the run. step: steps done when the run goes on.
        active: whether this process is the one that writes.
    """

    def __init__(self, folder: Path, step: int, *, active: bool = True) -> None:
        self._path = folder / LOG if active else None
        self._events: Any = None
        if not active:
            return
        kept = [line for line in _whole_lines(folder / LOG) if json.loads(line)["step"] <= step]
        write_file(folder / LOG, "".join(kept))
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter  # half a second to import

            self._events = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Add one line, ``{"step": ..., **values}``; None is left out of the events."""
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items() if self._events is not None else ():
            if value is not None:
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Bring the events to the disk."""
        if self._events is not None:
            self._events.close()


def _whole_lines(path: Path) -> list[str]:
    """Return the lines of a log up to one that a killed process left unfinished."""
    lines: list[str] = []
    if path.exists():
        with contextlib.suppress(ValueError):
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                json.loads(line)
                lines.append(line)
    return lines
