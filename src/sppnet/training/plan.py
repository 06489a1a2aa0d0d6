"""What a training run does, as numbers: epochs, sizes, rates."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR, ReduceLROnPlateau

from sppnet.errors import check_seed, check_that

Precision = Literal["float32", "bfloat16"]

FACTOR: Final = 0.1  # of the rate at a plateau, or at an epoch named

Draw = Literal["order", "change", "size", "step"]
_STREAMS: Final[Mapping[Draw, int]] = {"order": 1, "change": 2, "size": 3, "step": 4}


def generator(what: Draw, *numbers: int) -> np.random.Generator:
    """Return the generator of one kind of draw: the same numbers, which begin with the seed, give the same draws."""
    return np.random.default_rng((_STREAMS[what], *numbers))


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    The defaults are the paper's for ZF-5 (Sec. 3.1); momentum, decay and batch, of which it is silent, are those of
    Krizhevsky et al. 2012, whose set-up it follows.

    Args:
        epochs: passes over the data; the paper has 70 for ZF-5 and 90 for the other networks.
        batch: images a step, of all processes together.
        sizes: sides of the square inputs, in pixels. Crops have the largest; the others are the same crops scaled,
            and epochs take the sizes in turn: (224, 180) is the paper's multi-size training.
        draw_sizes: instead draw one size an epoch, each from the smallest to the largest being as likely.
        short_side: images are scaled to this shorter side before they are cropped.
        rate: of learning, at first. momentum, decay: of SGD; decay is of the weights.
        divide_at: epochs before which the rate is divided by 10; None divides it at plateaus, twice.
        patience: epochs in a row without a lower error that make a plateau.
        precision: of the arithmetic; weights, their gradients and momenta stay float32.
        average: of weights over the steps, as the share kept a step (0.9999); None keeps none.
        seed: of every draw there is.

    >>> [Plan(sizes=(224, 180)).size(epoch) for epoch in range(4)]
    [224, 180, 224, 180]
    >>> {180 <= Plan(sizes=(224, 180), draw_sizes=True).size(epoch) <= 224 for epoch in range(100)}
    {True}
    """

    epochs: int = 70
    batch: int = 128
    sizes: tuple[int, ...] = (224,)
    draw_sizes: bool = False
    short_side: int = 256
    rate: float = 0.01
    momentum: float = 0.9
    decay: float = 5e-4
    divide_at: tuple[int, ...] | None = None
    patience: int = 5
    precision: Precision = "float32"
    average: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "short_side", "patience"):
            value = getattr(self, name)
            check_that(value >= 1, "Plan", name, "1 or more", value, advice="Give a positive number")
        fits = len(self.sizes) > 0 and min(self.sizes) >= 1 and max(self.sizes) <= self.short_side
        expected = f"sides of 1 to {self.short_side} pixels, the images' short side"
        check_that(fits, "Plan", "sizes", expected, self.sizes, advice="Give smaller sizes, or scale images larger")
        check_seed("Plan", self.seed)
        check_that(self.rate > 0, "Plan", "rate", "above 0", self.rate, advice="0.01 is the paper's")
        known = self.precision in get_args(Precision)
        expected = " or ".join(get_args(Precision))
        check_that(known, "Plan", "precision", expected, repr(self.precision), advice="Name one of these")
        kept = self.average is None or 0 < self.average < 1
        check_that(kept, "Plan", "average", "between 0 and 1", self.average, advice="0.9999 is usual, None is off")

    @property
    def crop(self) -> int:
        """The side in pixels of what is cut out of an image."""
        return max(self.sizes)

    def size(self, epoch: int) -> int:
        """Return the side in pixels of the inputs of an epoch, which counts from 0."""
        if self.draw_sizes:
            draws = generator("size", self.seed, epoch)
            return int(draws.integers(min(self.sizes), max(self.sizes), endpoint=True))
        return self.sizes[epoch % len(self.sizes)]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        listed = {"sizes": list(self.sizes), "divide_at": None if self.divide_at is None else list(self.divide_at)}
        return asdict(self) | listed


def rate_schedule(plan: Plan, optimiser: Optimizer) -> MultiStepLR | ReduceLROnPlateau:
    """Return what divides an optimiser's rate by 10, told of each epoch: at those named, or at plateaus, twice."""
    if plan.divide_at is not None:
        return MultiStepLR(optimiser, plan.divide_at, gamma=FACTOR)
    lowest = plan.rate * FACTOR * FACTOR
    patience = plan.patience - 1  # of torch, it is how many epochs do no harm yet
    return ReduceLROnPlateau(optimiser, factor=FACTOR, patience=patience, threshold=0.0, min_lr=lowest, eps=0.0)


def schedule_state(schedule: MultiStepLR | ReduceLROnPlateau) -> dict[str, Any]:
    """Return what JSON can hold of a schedule's state, for its ``load_state_dict`` if it is of the same plan."""
    return {name: value for name, value in schedule.state_dict().items() if name != "milestones" and value != math.inf}
