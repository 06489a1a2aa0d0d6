"""A program: ``torchrun tiny_tuning.py DATA`` tunes a small detector, and the first process tells what came of it."""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see sppnet.cli

from sppnet import Detector, load_detection
from sppnet.detection.deep import DeepPlan, tune
from sppnet.learning.processes import joined_processes, rank

if __name__ == "__main__":
    data = load_detection(sys.argv[1], split="train")
    few, judged = data.subset(range(5)), data.subset([6, 7])  # an odd number: the last batch is half one
    with joined_processes():
        model = Detector(short_side=128, layers=("stride16",), levels=(2, 1)).fit(few).model_
        network, curve = tune(model, few, judged, DeepPlan(epochs=1, batch=2))
        if rank() == 0:
            print(network.fingerprint, *curve)
