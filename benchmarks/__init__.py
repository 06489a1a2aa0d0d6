"""Measurements through the public interface; each writes one JSON file to ``results/``."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see sppnet.cli
