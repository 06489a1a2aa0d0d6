"""Images on disk -> batches, decoded by threads ahead of the network that learns from them.

Threads and not processes: Pillow lets go of Python's lock while it decodes and scales, images kept in memory are
shared, and a run that is killed leaves no process behind.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.data import FolderData, OnBad, Problem, check_on_bad
from sppnet.errors import DataError, ImageDecodeError, check_that
from sppnet.geometry import shorter_side_size
from sppnet.images import read_image, resize
from sppnet.storage import cache_key
from sppnet.training.augmentation import UNCHANGED, cut, draw_change

AHEAD: Final = 3  # batches decoded before they are asked for
MEMORY: Final = 1_000_000_000  # bytes


class SampleRequest(NamedTuple):
    """One batch to come.

    Args:
        indices: (N,) int64 of its images. crop: side in pixels. size: side that crops are scaled to.
        draw: (seed, epoch) of the changes; None leaves images as they are, and crops their centres.
    """

    indices: NDArray[np.int64]
    crop: int
    size: int
    draw: tuple[int, int] | None


class Batch(NamedTuple):
    """What a network learns from in one step.

    Args:
        pixels: (N, S, S, 3) uint8 RGB. colours: (N, 3) float32 to be added to them. labels: (N,) int64.
    """

    pixels: Tensor
    colours: Tensor
    labels: Tensor

    def normalised(self, device: torch.device, *, mean: float, std: float) -> Tensor:
        """Return (N, 3, S, S) float32 ``(pixels + colours - mean) / std``, channels last in memory."""
        values = self.pixels.to(device, non_blocking=True).to(torch.float32)
        shift = (self.colours.to(device, non_blocking=True) - mean).div_(std)
        return values.div_(std).add_(shift[:, None, None, :]).permute(0, 3, 1, 2)


class Images:
    """The labelled images of a data set, scaled to one shorter side, in batches.

    Args:
        data: from ``load_folders``; nothing is opened before it is asked for.
        short_side: in pixels.
        on_bad: "fail" stops at an image that cannot be read. "skip" names it in ``problems``, and the next one of
            the data takes its place, so that every batch is full.
        workers: threads that decode; by default as many as there are processors, at most 8.
        memory: bytes of scaled images to keep from one epoch to the next.
    """

    def __init__(
        self,
        data: FolderData,
        *,
        short_side: int = 256,
        on_bad: OnBad = "fail",
        workers: int | None = None,
        memory: int = MEMORY,
    ) -> None:
        check_on_bad("Images", on_bad)
        enough = workers is None or workers >= 1
        check_that(enough, "Images", "workers", "1 or more", workers, advice="Leave it out for the default")
        self.data, self.short_side, self.on_bad = data, short_side, on_bad
        self.workers = workers or min(os.cpu_count() or 1, 8)
        self._problems: dict[int, Problem] = {}
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._room, self._lock = memory, Lock()

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.data.paths)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The images that could not be read so far, in the order of the data."""
        return tuple(self._problems[index] for index in sorted(self._problems))

    def fingerprint(self) -> str:
        """Return what stands for these images, their classes and their order, without opening them."""
        data = self.data
        names = (str(path.relative_to(data.root)) for path in data.paths)
        return cache_key(*data.classes, data.labels.tobytes(), *names)

    def batches(self, requests: Iterable[SampleRequest]) -> Generator[Batch, None, None]:
        """Yield one batch a request, in their order; the next few are decoded meanwhile.

        Raises:
            ImageDecodeError: an image that cannot be read, if bad ones are not skipped.
            DataError: no image can be read.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="sppnet-images")
        waiting: deque[list[Future[tuple[NDArray[np.uint8], NDArray[np.float32], int]]]] = deque()
        try:
            for request in requests:
                waiting.append([pool.submit(self._sample, request, int(index)) for index in request.indices])
                if len(waiting) > AHEAD:
                    yield _collated(waiting.popleft())
            while waiting:
                yield _collated(waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _sample(self, request: SampleRequest, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], int]:
        change = UNCHANGED if request.draw is None else draw_change(*request.draw, index)
        image, label = self._readable(index)
        square = np.ascontiguousarray(cut(image, request.crop, change))
        return resize(square, (request.size, request.size)), change.colour, label

    def _readable(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Return the image at ``index``, or the first one after it that can be read, and its label."""
        for offset in range(len(self)):
            place = (index + offset) % len(self)
            if place in self._problems:
                continue
            try:
                return self._scaled(place), int(self.data.labels[place])
            except ImageDecodeError as error:
                if self.on_bad == "fail":
                    raise
                what = f"cannot be read: {error.reason}; the next image takes its place"
                self._problems[place] = Problem(self.data.paths[place], None, what, "image-unreadable")
        raise DataError(f"{self.data.root}: none of {len(self)} images can be read. Name other data.")

    def _scaled(self, index: int) -> NDArray[np.uint8]:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        path = self.data.paths[index]
        image = read_image(path, at_least=self.short_side)
        try:
            scaled = resize(image, shorter_side_size((image.shape[0], image.shape[1]), self.short_side))
        except ImageDecodeError as error:  # names no file: it only knows pixels
            raise ImageDecodeError(path, error.reason) from error
        self._keep(index, scaled)
        return scaled

    def _keep(self, index: int, image: NDArray[np.uint8]) -> None:
        with self._lock:
            if index not in self._kept and image.nbytes <= self._room:
                self._room -= image.nbytes
                self._kept[index] = image


def _collated(samples: list[Future[tuple[NDArray[np.uint8], NDArray[np.float32], int]]]) -> Batch:
    squares, colours, labels = zip(*(sample.result() for sample in samples), strict=True)
    pixels = torch.from_numpy(np.stack(squares))
    return Batch(pixels, torch.from_numpy(np.stack(colours)), torch.tensor(labels))
