"""Who is at work, and which image each has open: so that two do not label the same."""

import threading
from time import monotonic
from typing import Any, Final, NamedTuple

AWAY: Final = 120.0  # seconds without a request after which a person's image is free for others
BROWSER: Final = "browser-"  # how persons begin who have no name: one browser each


class _Seat(NamedTuple):
    image: int
    seen: float


class People:
    """The persons whose pages opened an image lately; any thread may call any method."""

    def __init__(self) -> None:
        self._seats: dict[str, _Seat] = {}
        self._lock = threading.Lock()

    def opens(self, person: str, image: int) -> bool:
        """Note which image a person has open now; tell whether it was another one before."""
        with self._lock:
            before = self._seats.get(person)
            self._seats[person] = _Seat(image, monotonic())
            return before is None or before.image != image

    def open_images(self, *, but: str | None = None) -> set[int]:
        """Return the images that are open, other than at one person's."""
        return {seat.image for person, seat in self._here().items() if person != but}

    def at_work(self) -> list[dict[str, Any]]:
        """Return name, "" for none, and open image of each person, for JSON."""
        return [
            {"name": "" if person.startswith(BROWSER) else person, "image": seat.image}
            for person, seat in self._here().items()
        ]

    def _here(self) -> dict[str, _Seat]:
        with self._lock:
            since = monotonic() - AWAY
            self._seats = {person: seat for person, seat in self._seats.items() if seat.seen >= since}
            return dict(self._seats)
