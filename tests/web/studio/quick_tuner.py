"""The tuning process in a moment: ``python quick_tuner.py FOLDER ENGINE`` does as a word in a file says.

"better" and "worse" are what comes of it, "waits" and "killed" what happens at the first image, "fails" an error,
"breaks" one that nobody foresaw. "really" tunes, for one epoch.
The word is in "quick.txt" beside the folder. "tuner.lock" there is locked for as long as this process lives.
"""

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sppnet.backbones.kinds import with_weights
from sppnet.data import DetectionData
from sppnet.detection import deep
from sppnet.detection.deep import DeepReport
from sppnet.detection.detector import Detector
from sppnet.errors import DataError
from sppnet.progress import Progress
from sppnet.web.studio import tuner

FIGURES = {"better": ((0.9, 0.6), (0.95, 0.7)), "worse": ((0.9, 0.6), (0.8, 0.5))}


def deepen(
    detector: Detector, data: DetectionData, folder: Path, progress: Progress
) -> tuple[Detector | None, DeepReport]:
    """Do in a moment as ``detection.deep.deepen`` does: tell of epochs, and make another network of the one given."""
    what = (folder.parent / "quick.txt").read_text()
    if what == "really":
        deep.MOST_EPOCHS = 1  # type: ignore[misc]
        return tuner.deepened(detector, data, folder, progress)
    for epoch in ("1 of 2", "2 of 2, 61.5% in held-out images"):
        for _ in progress(f"Tuning, epoch {epoch}", data.samples):
            if what == "waits":
                threading.Event().wait()
            if what == "killed":
                print("Torch: out of memory", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "breaks":
                raise RuntimeError("it did not converge")
            if what == "fails":
                raise DataError("a.png: it is gone. Restore it.")
    before, after = FIGURES[what]
    report = DeepReport(what == "better", 2, before, after, 2, (0.5, 0.6))
    if not report.kept:
        return None, report
    given: Any = detector.backbone
    tuned = Detector(short_side=detector.short_side, backbone=with_weights(given, _halved(given.state_dict())))
    return tuned.fit(data.subset([0, 1])), report


def _halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: (value * 0.998).half() if value.is_floating_point() else value for name, value in state.items()}


if __name__ == "__main__":
    lock = (Path(sys.argv[1]).parent / "tuner.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    tuner.main(deepen)
