"""Files of every layout with bytes changed at random: read, or refused in our own words; never another exception.

``python -m tests.data.test_mutations 20000`` is the long form.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.data.test_layouts import LAYOUTS

from sppnet.data import load_detection
from sppnet.errors import SppnetError

TOKENS = (
    b"",
    b"\0",
    b"{",
    b"]",
    b"<",
    b'"',
    b",",
    b"-1e999",
    b"nan",
    b"../",
    b"\xff\xfe",
    b"999999999999999999999",
    b"null",
)


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with a few places changed, cut out or repeated."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(data) + 1))
        length = int(rng.integers(0, 12))
        piece = TOKENS[int(rng.integers(len(TOKENS)))] if rng.random() < 0.7 else bytes(data[at : at + 40])
        data[at : at + length] = piece
    return bytes(data)


def try_mutations(root: Path, build: Callable[[Path], None], count: int, seed: int) -> int:
    """Read a set again and again, one file of labels of it changed; return how often it could be read."""
    build(root)
    rng = np.random.default_rng(seed)
    suffixes = (".xml", ".json", ".txt", ".csv", ".yaml", ".yml", ".data", ".names", ".labels")
    files = sorted(path for path in root.rglob("*") if path.suffix in suffixes)
    done = 0
    for _ in range(count):
        file = files[int(rng.integers(len(files)))]
        content = file.read_bytes()
        file.write_bytes(mutate(content, rng))
        try:
            load_detection(root, on_bad="skip", split="all")
            done += 1
        except SppnetError as error:
            if not str(error):
                raise
        finally:
            file.write_bytes(content)
    return done


@pytest.mark.parametrize("build", [build for _, build in LAYOUTS.values()], ids=LAYOUTS)
def test_a_changed_file_raises_nothing_foreign(tmp_path: Path, build: Callable[[Path], None]) -> None:
    assert try_mutations(tmp_path, build, 25, 0) <= 25


if __name__ == "__main__":
    for name, (_, make) in LAYOUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            print(name, try_mutations(Path(folder), make, int(sys.argv[1]), 1), "of", sys.argv[1], "read", flush=True)
