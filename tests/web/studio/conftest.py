"""Studios for the page's tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.driving import Studio


@pytest.fixture
def small(shapes: Path, tmp_path: Path) -> Iterator[Studio]:
    """Run the studio on twelve small images without labels."""
    folder = tmp_path / "small"
    shutil.copytree(shapes / "JPEGImages", folder)
    studio = Studio(folder)
    yield studio
    studio.kill()
