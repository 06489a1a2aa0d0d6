"""What is learnt does not depend on the cache: none, an empty one, a full one, or one that cannot be written."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sppnet import Classifier, Detector, TensorCache, load_detection
from sppnet.data import FolderData


def _detector(shapes: Path, cache: TensorCache | None, file: Path) -> None:
    Detector(short_side=96, cache=cache).fit(load_detection(shapes, split="train")).save(file)


def _classifier(shapes: Path, cache: TensorCache | None, file: Path) -> None:
    paths = tuple(sorted((shapes / "JPEGImages").iterdir())[:6])
    data = FolderData(shapes, ("even", "odd"), paths, np.array([0, 1, 0, 1, 0, 1]), ())
    Classifier(short_side=64, cache=cache).fit(data).save(file)


@pytest.mark.parametrize("learn", [_detector, _classifier])
@pytest.mark.slow
def test_the_same_bits_with_an_empty_a_full_and_an_impossible_cache(
    learn: Callable[[Path, TensorCache | None, Path], None], shapes: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    caches: list[TensorCache | None] = [
        *(TensorCache(tmp_path / "cache") for _ in range(2)),
        TensorCache(tmp_path / "file" / "cache"),
        None,
    ]
    learnt = []
    for cache in caches:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # that the last one cannot be written
            learn(shapes, cache, tmp_path / "model.safetensors")
        learnt.append((tmp_path / "model.safetensors").read_bytes())
    assert len(set(learnt)) == 1
