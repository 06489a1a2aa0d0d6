"""Who is at work, and which image each has open: so that two do not label the same."""

import threading
from time import monotonic
from typing import Annotated, Any, Final, NamedTuple

from fastapi import Depends, Request

AWAY: Final = 120.0  # seconds without a request after which a person's image is free for others
BROWSER: Final = "browser-"  # how persons begin who have no name: one browser each
PERSON: Final = "sppnet-person"  # the cookie that tells browsers apart


def person_of(request: Request) -> str:
    """Return who asks: the name that was given with the password, or what this browser was given with its first page.

    It is "" for a program without a page.
    """
    if named := getattr(request.state, "person", ""):
        return str(named)
    return request.cookies.get(PERSON, "")[:64]


Person = Annotated[str, Depends(person_of)]


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
