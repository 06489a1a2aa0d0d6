"""A larger network against the default one on four kinds of images: learnt from all labels, tested on val; its price.

``SPPNET_SETS`` (``raccoon,bccd``) takes a part of the sets and adds to what is in ``results/backbones.json``.
"""

import json
import os
import tempfile
import time
from dataclasses import replace
from statistics import median
from typing import Any, Final

from benchmarks import records
from benchmarks.sets import SETS
from sppnet import Detector, TensorCache, load_detection
from sppnet.data import DetectionData
from sppnet.features.files import encoder_with
from sppnet.features.scene import Scene

NETWORKS: Final = ("efficientnet_lite0", "efficientnet_lite2")
IOUS: Final = (0.5, 0.7)
TIMED: Final = 8  # images of each set, that both networks take turns with


def measure() -> None:
    """Write average precision by network, and the processor seconds of an image from its file to boxes."""
    known = records.read("backbones") if "SPPNET_SETS" in os.environ else None
    figures: dict[str, Any] = dict(known["figures"]) if known else {}
    for name in os.environ.get("SPPNET_SETS", ",".join(SETS)).split(","):
        root = records.data_folder(name)
        train = load_detection(root, split="train", on_bad="skip")
        val = load_detection(root, split="val", on_bad="skip", classes=train.classes)
        with tempfile.TemporaryDirectory() as folder:
            cache = TensorCache(os.environ.get("SPPNET_CACHE", folder))
            learnt = {network: Detector(backbone=network, cache=cache).fit(train) for network in NETWORKS}
            rows: dict[str, Any] = {network: _precision(each, val) for network, each in learnt.items()}
        for network, seconds in _seconds(learnt, val).items():
            rows[network]["processor_seconds_an_image"] = round(seconds, 3)
        figures[name] = rows
        print(json.dumps({name: rows}), flush=True)
        records.write("backbones", seed=0, figures={each: figures[each] for each in SETS if each in figures})


def _precision(detector: Detector, val: DetectionData) -> dict[str, float]:
    return {str(iou): round(detector.evaluate(val, iou=iou).mean, 4) for iou in IOUS}


def _seconds(learnt: dict[str, Detector], val: DetectionData) -> dict[str, float]:
    """Return the median processor seconds of an image, nothing of it cached, the networks in turn."""
    models = {network: detector.model_ for network, detector in learnt.items()}
    bare = {
        network: replace(model, encoder=encoder_with(model.encoder, model.encoder.backbone, cached=False))
        for network, model in models.items()
    }
    spent: dict[str, list[float]] = {network: [] for network in bare}
    for sample in val.samples[:TIMED]:
        for network, model in bare.items():
            start = time.process_time()
            model.detect(Scene(sample.path, model.encoder))
            spent[network].append(time.process_time() - start)
    return {network: median(each) for network, each in spent.items()}
