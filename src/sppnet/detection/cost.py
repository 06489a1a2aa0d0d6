"""What learning will cost on this machine, from the work on one image that is timed."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from sppnet.data import DetectionData
from sppnet.detection.examples import FULL_SHARES, MOST_OBJECTS, examples_per_image, scene_of
from sppnet.detection.learner import AXES_IMAGES
from sppnet.detection.validation import MOST_IMAGES
from sppnet.features.encoder import MapsEncoder
from sppnet.geometry import images_in
from sppnet.progress import BASE_MEMORY, Estimate, timed
from sppnet.proposals.learnt import MOST_IMAGES as MOST_RANKED
from sppnet.proposals.learnt import LearntProposals
from sppnet.proposals.protocol import Proposals

START: Final = 0.5  # seconds, whatever the images
A_LOOK: Final = 0.02  # seconds to read an image's maps from the cache, and for all that is done once
A_MEGAPIXEL: Final = 150_000_000  # bytes for each beyond the first of an image: one of 16 took 2.3 GB more


def fit_estimate(encoder: MapsEncoder, proposals: Proposals, levels: Sequence[int], data: DetectionData) -> Estimate:
    """Time one image, of those whose maps are missing where there are any, and return what all will take."""
    samples, kept = data.samples, encoder.cache is not None
    missing = [sample for sample in samples if not encoder.is_cached(sample.source)]
    sample = (missing or samples)[len(missing or samples) // 2]
    features = encoder.length(levels)
    weights = torch.zeros(1 + 4, features), torch.zeros(1 + 4)
    # The clock runs for another image than that which pays for compiling: each new size has a price of its own.
    both = iter(((missing or samples)[0], sample))
    map_seconds = timed(lambda: encoder.compute(next(both).source)) if missing else 0.0
    scene = scene_of(sample, encoder)
    scene.maps = encoder.compute(sample.source)  # before the clock starts, and not into the cache
    propose_seconds = timed(lambda: proposals.regions(scene))
    regions = scene.maps.unique(proposals.regions(scene))
    region_seconds = timed(lambda: scene.maps.score(regions, levels, *weights).cpu())
    # Measured on 12 to 205 images of four sets: told 0.9 to 1.2 times what it took. Each image is looked at twice, some
    # for the axes of rows too; a grid that is ranked learns by what; some are held out, when SVMs are solved again too.
    images, again = len(samples), min(len(samples), MOST_IMAGES)
    looks = 2 * images + min(images, AXES_IMAGES)
    ranked = min(images, MOST_RANKED) if isinstance(proposals, LearntProposals) else 0
    seconds = START + looks * (A_LOOK + 1.25 * (region_seconds + propose_seconds))
    seconds += ranked * 4 * (region_seconds + propose_seconds) + again * (9 * region_seconds + 7 * propose_seconds)
    seconds += (len(missing) if kept else looks + ranked + again) * map_seconds
    # Rows are kept at about a third of their length, in half precision and, to be solved, in single.
    labels = np.concatenate([each.labels for each in data.samples])
    objects = np.minimum(np.bincount(labels, minlength=len(data.classes)), MOST_OBJECTS).sum()
    rows = int(objects) + min(images, FULL_SHARES) * examples_per_image(len(data.classes))
    largest = max(images_in(each.size, max(encoder.scales)) for each in data.samples)
    memory = BASE_MEMORY + rows * features * 2 + int((largest - 1) * A_MEGAPIXEL)
    model = 4 * len(data.classes) * (features + 4 * encoder.split()[0].length(levels))  # a head's weights
    return Estimate(images, len(missing), seconds, memory, model)
