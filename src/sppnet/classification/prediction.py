"""What one image shows, as far as a classifier knows; whatever computed its scores."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NONE: Final = "none of these"


@dataclass(frozen=True)
class Prediction:
    """What one image shows, as far as the classifier knows.

    Args:
        classes: names.
        scores: (K,) float32 in their order, probabilities that sum to 1.
        threshold: the probability that the best class must reach.
    """

    classes: tuple[str, ...]
    scores: NDArray[np.float32]
    threshold: float = 0.0

    @property
    def label(self) -> str:
        """The name of the best class; "none of these" where its probability is below the threshold."""
        return self.classes[int(self.scores.argmax())] if self.scores.max() >= self.threshold else NONE

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the best ``count`` classes with their scores, the best first; of equal ones, the first."""
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.classes[index], float(self.scores[index])) for index in order]
