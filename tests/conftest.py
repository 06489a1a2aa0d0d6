"""What several test modules share."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see sppnet.cli


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with Caltech-101 and BCCD, or skip: the project does not hold them."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPPNET_DATA", beside))
    if not (folder / "bccd").is_dir():
        pytest.skip("needs BCCD and Caltech-101: set SPPNET_DATA to the folder that holds bccd and caltech101")
    return folder
