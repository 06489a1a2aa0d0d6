"""Images that cost a worker: none is to cost a second one."""

import asyncio
import hashlib
from collections import OrderedDict
from typing import Final, TypeVar

from sppnet.web.service.problems import RefusalError

REMEMBERED: Final = 1000  # images, by their digests: 64 KB
Value = TypeVar("Value")
DEATHS: Final = 2  # of workers, after which it is the image and no accident


class CostlyImages:
    """Remembers, by digest, the images that took too long, and those that workers died of."""

    def __init__(self) -> None:
        self._refused: OrderedDict[bytes, str] = OrderedDict()
        self._deaths: OrderedDict[bytes, int] = OrderedDict()

    async def check(self, image: bytes) -> None:
        """Raise the refusal, 422, of an image that was refused before."""
        if self._refused and (detail := self._refused.get(await _digest(image))):
            raise RefusalError(422, detail)

    async def refuse(self, image: bytes, what: str) -> RefusalError:
        """Return the refusal of an image, now and whenever it comes again."""
        detail = f"image must be one that can be {what}. Send a smaller one, or save it anew."
        _remember(self._refused, await _digest(image), detail)
        return RefusalError(422, detail)

    async def count_death(self, image: bytes) -> None:
        """Count that a worker ended while it had this image; it is refused after the second."""
        digest = await _digest(image)
        deaths = self._deaths.get(digest, 0) + 1
        _remember(self._deaths, digest, deaths)
        if deaths >= DEATHS:
            await self.refuse(image, f"answered, got one of which {deaths} workers ended")


def _remember(known: OrderedDict[bytes, Value], digest: bytes, value: Value) -> None:
    known[digest] = value
    if len(known) > REMEMBERED:
        known.popitem(last=False)


async def _digest(image: bytes) -> bytes:
    return await asyncio.to_thread(lambda: hashlib.sha256(image).digest())  # 20 MB take 20 ms
