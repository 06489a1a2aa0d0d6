"""How a detector learns and answers, every part by name: ours, the paper's, and the released code's.

The paper does not state all of it; what it leaves out is taken from the authors' code, and where both differ there
are two presets.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sppnet.errors import ArgumentError, did_you_mean, message
from sppnet.geometry import WindowRule

EVERY: Final = 1_000_000  # regions an image: as many as there are


@dataclass(frozen=True)
class Fitting:
    """Fine-tuning of the layers between pooled regions and scores, by stochastic gradient descent (Sec. 4.1).

    Args:
        rates: learning rates, one after the other. steps: mini-batches at each rate.
        batch: regions in a mini-batch. positive_share: of them, those that hold an object.
        positive_iou: a region holds the object that it overlaps by this at least.
        negative_iou: background overlaps objects by at least the first and less than the second.
        momentum, decay: of the descent. dropout: after each layer but the last.
    """

    rates: tuple[float, ...] = (1e-4, 1e-5)
    steps: tuple[int, ...] = (250_000, 50_000)
    batch: int = 128
    positive_share: float = 0.25
    positive_iou: float = 0.5
    negative_iou: tuple[float, float] = (0.1, 0.5)
    momentum: float = 0.9
    decay: float = 5e-4
    dropout: float = 0.5


@dataclass(frozen=True)
class Settings:
    """How SVMs and box regressions are learnt from regions, and how answers are made of them.

    Args:
        positive_iou: regions that overlap an object by this join it as positives; None: objects alone.
        negative_iou: negatives of a class overlap each of its objects by less.
        duplicate_iou: of negatives of one image that overlap each other by more, one is kept; 1 keeps all.
        sampled: True: the first SVM learns from a sample of all images, the second from the hard negatives of
            all too. False: one pass over the images as published, with an SVM after each ``retrain_after``.
        retrain_after: new negatives of some class after which SVMs are trained again.
        margin: negatives that score above are hard. evict_below: those that come to score below are let go.
        cost, positive_weight, bias: of the SVM, see ``svm.train_svm``.
        mean_norm: features are scaled to this mean length, so that one cost fits every map.
        regression_iou: boxes are regressed from regions that overlap their object by this. ridge: its
            penalty; where regions are sampled, for each region that an object has on average.
        rounds: how often a region is moved; with 0 boxes stay where they were proposed.
        damping: how far a region is moved after the first time, of what the regression says.
        voting_iou: a kept box becomes the mean, weighted by score, of those that overlap it by this (Gidaris and
            Komodakis 2015); None keeps it.
        rule: which cells a region's window has, and how its scale is chosen, see ``geometry``.
        nms_iou: of detections of a class that overlap by more, the best is kept.
        apart_iou: those that this takes have a second turn among themselves if they overlap none of the kept by more;
            they are less sure, as is what lies on a surer object of another class (``geometry.rivals``). None: neither.
        fitting: how layers are fine-tuned, where there are any.
    """

    positive_iou: float | None = 0.7
    negative_iou: float = 0.3
    duplicate_iou: float = 0.7
    sampled: bool = True
    retrain_after: int = 2000
    margin: float = -1.0
    evict_below: float = -1.2
    cost: float = 1e-2
    positive_weight: float = 2.0
    bias: float = 10.0
    mean_norm: float = 20.0
    regression_iou: float = 0.5
    ridge: float = 20.0
    rounds: int = 2
    damping: float = 0.5
    voting_iou: float | None = 0.65
    rule: WindowRule = "paper"
    nms_iou: float = 0.3
    apart_iou: float | None = 0.6
    fitting: Fitting = Fitting(rates=(1e-2, 1e-3), steps=(2000, 500), dropout=0.0)

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same settings."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "fitting"}
        return own | {"fitting": {field.name: getattr(self.fitting, field.name) for field in fields(Fitting)}}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> "Settings":
        """Make the settings that ``describe`` told of; files of before the second turn tell of none."""
        parts: dict[str, Any] = {
            name: tuple(part) if isinstance(part, list) else part for name, part in description["fitting"].items()
        }
        return cls(**{"apart_iou": None, **description, "fitting": Fitting(**parts)})


OURS: Final = Settings()

PAPER: Final = Settings(
    positive_iou=None,
    sampled=False,
    margin=-1.0001,
    cost=1e-3,
    ridge=1000.0,
    rounds=1,
    damping=1.0,
    voting_iou=None,
    apart_iou=None,
    fitting=Fitting(),
)

RELEASED: Final = replace(
    PAPER,
    duplicate_iou=1.0,  # instead, regions of one window at one scale are one, as they always are here
    ridge=4000.0,
    rule="released",
    fitting=Fitting(rates=(1e-3, 1e-4, 1e-5), steps=(30_000, 30_000, 30_000)),
)

SETTINGS: Final = {"ours": OURS, "paper": PAPER, "released": RELEASED}


def chosen_settings(settings: str | Settings) -> Settings:
    """Return a preset by its name; settings of the user's own as they are."""
    return named_settings(settings) if isinstance(settings, str) else settings


def named_settings(name: str) -> Settings:
    """Return a preset: "ours", "paper" or "released".

    Raises:
        ArgumentError: another name.
    """
    if name not in SETTINGS:
        expected = f"one of {', '.join(SETTINGS)}"
        raise ArgumentError(
            message(
                "named_settings", "settings", expected, repr(name), did_you_mean(name, SETTINGS) or "Name one of these"
            )
        )
    return SETTINGS[name]
