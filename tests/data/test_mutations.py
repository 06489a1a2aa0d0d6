"""Files of every layout changed at random: read, or refused in our own words; never another exception.

``python -m benchmarks.mutations`` is the long form.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from tests.data.test_ilsvrc import kit
from tests.data.test_layouts import LAYOUTS

from sppnet.data import Layout, load_detection
from sppnet.data.layouts.coco import coco_document
from sppnet.errors import SppnetError

Build = Callable[[Path], None]
LABELS = (".xml", ".json", ".txt", ".csv", ".yaml", ".yml", ".data", ".names", ".labels")
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
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    0.5,
    1e300,
    float("nan"),
    10**30,
    "",
    "x",
    "../a.jpg",
    [],
    [[]],
    [1, 2, 3, 4],
    {},
    {"a": 1},
)


def builders() -> dict[str, list[Build]]:
    """Return what writes a set of each layout whose labels lie in files, in each of the ways that people have it."""
    made: dict[str, list[Build]] = {name: [] for name in get_args(Layout) if name != "folders"}
    for layout, build in LAYOUTS.values():
        made[layout].append(build)
    made["ilsvrc"] = [partial(kit, task=task, maps="n03126707 1 crane\n") for task in ("DET", "CLS-LOC")]
    return made


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with a few places changed, cut out or repeated; half of JSON and XML with one value changed."""
    if rng.random() < 0.5 and content[:1] in (b"{", b"["):
        return _another_value(json.loads(content), rng)
    if rng.random() < 0.5 and content[:1] == b"<":
        return _another_text(content, rng)
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(data) + 1))
        length = int(rng.integers(0, 12))
        piece = TOKENS[int(rng.integers(len(TOKENS)))] if rng.random() < 0.7 else bytes(data[at : at + 40])
        data[at : at + length] = piece
    return bytes(data)


def _another_value(document: Any, rng: np.random.Generator) -> bytes:
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[int(rng.integers(len(keys)))]
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.15:
            break
        place = inner
    if rng.random() < 0.2:
        del place[key]
    else:
        place[key] = VALUES[int(rng.integers(len(VALUES)))]
    return json.dumps(document).encode()


def _another_text(content: bytes, rng: np.random.Generator) -> bytes:
    places = list(re.finditer(rb'(?<=")[^"<>]+(?=")|(?<=>)[^"<>]+(?=<)', content))
    place = places[int(rng.integers(len(places)))]
    value = str(VALUES[int(rng.integers(len(VALUES)))]).encode()
    return content[: place.start()] + value + content[place.end() :]


def try_mutations(root: Path, build: Build, count: int, seed: int) -> Counter[str]:
    """Read a set again and again, one file of labels of it changed; count what came of it.

    Returns:
        How often it was read and refused; anything else under the name of the exception and what was changed.
    """
    build(root)
    rng = np.random.default_rng(seed)
    files = sorted(path for path in root.rglob("*") if path.suffix in LABELS)
    whole = {file: file.read_bytes() for file in files}
    came: Counter[str] = Counter()
    for trial in range(count):
        file = files[int(rng.integers(len(files)))]
        file.write_bytes(mutate(whole[file], rng))
        came[_read(root, f"seed {seed}, trial {trial}, {file.relative_to(root)}")] += 1
        file.write_bytes(whole[file])
    return came


def _read(root: Path, trial: str) -> str:
    try:
        coco_document(load_detection(root, on_bad="skip", split="all"))
    except SppnetError as error:
        return "refused" if str(error) else f"{trial}: no message"
    except Exception as error:
        return f"{trial}: {type(error).__name__}: {str(error)[:200]}"
    return "read"


@pytest.mark.parametrize("build", [build for _, build in LAYOUTS.values()], ids=LAYOUTS)
def test_a_changed_file_raises_nothing_foreign(tmp_path: Path, build: Build) -> None:
    came = try_mutations(tmp_path, build, 25, 0)
    assert set(came) <= {"read", "refused"}, came


def test_every_layout_is_tried() -> None:
    assert all(builders().values())
