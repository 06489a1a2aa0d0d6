"""Where the files of the studio's page lie, and how a message reads there."""

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent / "page"
SHARED: Final = Path(__file__).parents[1] / "shared" / "page"
PROGRAM: Final = "studio: "


def for_people(error: Exception | str) -> str:
    """Return a message without the program's name before it, which only a terminal with many needs."""
    text = str(error)
    rest = text.removeprefix(PROGRAM)
    begins_with_word = text != rest and rest.split(" ", 1)[0].isalpha()  # a file's name stays as it is
    return rest[:1].upper() + rest[1:] if begins_with_word else rest
