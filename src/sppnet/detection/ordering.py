"""What to label next: the images on which a person's word would teach most."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from sppnet.detection.detections import Detections

Key = TypeVar("Key")


def suggest_order(found: Mapping[Key, Detections], thresholds: np.typing.NDArray[np.float64]) -> tuple[Key, ...]:
    """Order images by what labels of them would teach: the least certain and most surprising first.

    An image is uncertain by its detections of middling confidence, and surprising by how far its counts are from
    those of all images.

    Args:
        found: what ``detect`` gave for each image, whatever the confidence.
        thresholds: (K,) the confidence from which a detection counts.
    Returns:
        The images; of equal ones, in the order given.
    """
    if not found:
        return ()
    shown = [each[each.confidence >= thresholds[each.labels]] for each in found.values()]
    counts = np.array([list(each.counts().values()) for each in shown], dtype=np.float64)
    doubt = np.array([(4 * each.confidence * (1 - each.confidence)).sum() for each in found.values()])
    usual = np.median(counts, axis=0)
    surprise = (np.abs(counts - usual) / np.sqrt(usual + 1)).sum(axis=1)
    worth = doubt / max(float(doubt.mean()), 1e-12) + surprise / max(float(surprise.mean()), 1e-12)
    keys = list(found)
    return tuple(keys[place] for place in np.argsort(-worth, kind="stable"))
