"""Who is at work, and which image each has open: so that two do not label the same."""

import threading
from dataclasses import dataclass
from time import monotonic
from typing import Final

AWAY: Final = 120.0  # seconds without a request after which a person's image is free for others


@dataclass
class _Seat:
    name: str
    image: int | None
    seen: float


class People:
    """The persons whose pages asked for something lately; any thread may call any method."""

    def __init__(self) -> None:
        self._seats: dict[str, _Seat] = {}
        self._lock = threading.Lock()

    def seen(self, person: str, name: str = "") -> bool:
        """Note that a person is here; tell whether they were not before."""
        with self._lock:
            self._leave()
            seat = self._seats.get(person)
            if seat is None:
                self._seats[person] = _Seat(name, None, monotonic())
                return True
            seat.seen = monotonic()
            return False

    def opens(self, person: str, image: int) -> bool:
        """Note which image a person has open now; tell whether it was another one before."""
        self.seen(person)
        with self._lock:
            before, self._seats[person].image = self._seats[person].image, image
            return before != image

    def open_images(self, *, but: str | None = None) -> set[int]:
        """Return the images that are open, other than at one person's."""
        with self._lock:
            self._leave()
            return {seat.image for person, seat in self._seats.items() if person != but and seat.image is not None}

    def at_work(self) -> list[dict[str, str | int | None]]:
        """Return name and open image of each person, for JSON."""
        with self._lock:
            self._leave()
            return [{"name": seat.name, "image": seat.image} for seat in self._seats.values()]

    def _leave(self) -> None:
        gone = [person for person, seat in self._seats.items() if monotonic() - seat.seen > AWAY]
        for person in gone:
            del self._seats[person]
