"""Where the files of the studio's page lie."""

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent / "page"
SHARED: Final = Path(__file__).parents[1] / "shared" / "page"
