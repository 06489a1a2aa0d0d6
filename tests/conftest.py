"""What several test modules share."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see sppnet.cli
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers are the threads

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton, which compiling imports


# The same examples each time, and no clock: a busy machine is no reason to fail.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

# What is left out, and how to get it

DESELECTED = pytest.StashKey[dict[str, int]]()
MARKERS = {"slow": "slow, more than 2 s each: make test-all", "browser": "driving a browser: make test"}


def pytest_configure(config: pytest.Config) -> None:
    """Begin the account."""
    config.stash[DESELECTED] = {}


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what the chosen tier leaves out, by the first of its markers."""
    found = [next((name for name in MARKERS if item.get_closest_marker(name)), None) for item in items]
    for item in items[:1]:
        item.config.stash[DESELECTED] = {name: found.count(name) for name in MARKERS if name in found}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the account of a worker of pytest-xdist, which collects for itself, to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deselected"] = session.config.stash[DESELECTED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker left out: every worker leaves out the same."""
    node.config.stash[DESELECTED] |= node.workeroutput["deselected"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was left out, and how to get it."""
    left_out = Counter({MARKERS[name]: count for name, count in config.stash[DESELECTED].items()})
    for report in terminalreporter.stats.get("skipped", ()):
        left_out[report.longrepr[2].removeprefix("Skipped: ")] += 1
    if left_out:
        terminalreporter.section("left out", sep="-")
    for reason, count in left_out.items():
        terminalreporter.line(f"{count} tests: {reason}")


@pytest.fixture(scope="module")  # not the session: Playwright's event loop is in the way of other tests' loops
def browser() -> "Iterator[Browser]":
    """Run Chromium, or leave the test out and say how to get it."""
    from benchmarks.driving import PATIENCE, chromium
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    try:
        with chromium() as started:
            yield started
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with Caltech-101 and BCCD, or skip: the project does not hold them."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPPNET_DATA", beside))
    if not (folder / "bccd").is_dir():
        pytest.skip("needs BCCD and Caltech-101: set SPPNET_DATA to the folder that holds bccd and caltech101")
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a VOC data set of red squares and blue discs on noise: 8 images to learn from, 4 to test on."""
    root = tmp_path_factory.mktemp("shapes")
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [_drawn_sample(root, index, rng) for index in range(12)]
    (root / "ImageSets/Main/train.txt").write_text("\n".join(names[:8]))
    (root / "ImageSets/Main/val.txt").write_text("\n".join(names[8:]))
    return root


def _drawn_sample(root: Path, index: int, rng: np.random.Generator) -> str:
    """Draw a square and a disc, each in its own half of an image whose size varies."""
    width, height = int(rng.integers(180, 240)), int(rng.integers(120, 150))
    image = Image.fromarray(rng.integers(90, 160, (height, width, 3)).astype(np.uint8))
    pen, objects = ImageDraw.Draw(image), ""
    for half, (name, shape, colour) in enumerate((("square", pen.rectangle, "red"), ("disc", pen.ellipse, "blue"))):
        side = int(rng.integers(36, 52))
        left = half * width // 2 + int(rng.integers(4, width // 2 - side - 4))
        top = int(rng.integers(4, height - side - 4))
        shape((left, top, left + side - 1, top + side - 1), fill=colour)
        corners = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{left + side}</xmax><ymax>{top + side}</ymax>"
        objects += f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"
    image.save(root / f"JPEGImages/{index:02}.png")
    (root / f"Annotations/{index:02}.xml").write_text(f"<annotation>{objects}</annotation>")
    return f"{index:02}"
