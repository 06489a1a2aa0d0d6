"""How often "find more of this" is right: of the first 20 places that one box finds, how many hold an object.

Of each set up to 200 images, one object of each of 12 images (evenly of all classes) as the example, the like of it
looked for in all others with nothing learnt, as the studio does.
"""

import json
import tempfile
import time
from heapq import nlargest
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import records
from sppnet.backbones import backbone
from sppnet.data import load_detection
from sppnet.detection.likeness import Example, likeness_layer
from sppnet.features.encoder import Encoder
from sppnet.geometry import iou, usual_short_side
from sppnet.storage import TensorCache
from sppnet.web.studio.alike import OF_AN_IMAGE

SETS = ("raccoon", "cards")
IMAGES, EXAMPLES, FIRST = 200, 12, 20
RIGHT_IOU = 0.4


def measure() -> None:
    """Look for the like of all examples and write how much is right."""
    figures = {name: _figures(name) for name in SETS}
    records.write("studio_alike", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _figures(name: str) -> dict[str, Any]:
    data = load_detection(records.data_folder(name), split="train")
    rng = np.random.default_rng(0)
    samples = [data.samples[place] for place in rng.permutation(len(data.samples))[:IMAGES]]
    boxed = [(image, row) for image, sample in enumerate(samples) for row in range(len(sample.boxes))]
    by_class = [
        [each for each in boxed if samples[each[0]].labels[each[1]] == label] for label in range(len(data.classes))
    ]
    examples = [each[place] for each in by_class for place in rng.permutation(len(each))[: EXAMPLES // len(by_class)]]
    network = backbone()
    with tempfile.TemporaryDirectory() as folder:
        side = usual_short_side([sample.size for sample in samples])
        encoder = Encoder(likeness_layer(network), side, cache=TensorCache(Path(folder)), backbone=network)
        for sample in samples:
            encoder(sample.path)
        objects, kinds, seconds = [], [], []
        for image, row in examples:
            start = time.process_time()
            example = Example.of(encoder(samples[image].path), samples[image].boxes[row])
            found = [
                (float(cosine), other, box)
                for other, sample in enumerate(samples)
                if other != image
                for box, cosine in zip(*example.find(encoder(sample.path), OF_AN_IMAGE), strict=True)
            ]
            seconds.append(time.process_time() - start)
            for _, other, box in nlargest(FIRST, found, key=lambda each: each[0]):
                overlap = iou(box[None], samples[other].boxes)[0]
                same = samples[other].labels == samples[image].labels[row]
                objects.append(overlap.max(initial=0.0) >= RIGHT_IOU)
                kinds.append((overlap * same).max(initial=0.0) >= RIGHT_IOU)
    return {
        "images": len(samples),
        "examples": len(examples),
        "first": FIRST,
        "share_that_is_an_object": round(float(np.mean(objects)), 3),
        "share_of_the_same_class": round(float(np.mean(kinds)), 3),
        "processor_seconds_median": round(float(np.median(seconds)), 2),
    }
