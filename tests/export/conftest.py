"""Detectors whose weights nobody had to learn."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from sppnet.detection.detections import Detections
from sppnet.detection.head import RegionHead
from sppnet.detection.model import DetectorModel
from sppnet.detection.settings import OURS, Settings
from sppnet.export.images import input_names
from sppnet.features.files import encoder_of
from sppnet.features.multiscale import MultiscaleEncoder
from sppnet.geometry import shorter_side_size
from sppnet.images import resize
from sppnet.learning.calibration import Calibration
from sppnet.proposals.grid import GridProposals

CLASSES = ("cell", "disc", "nobody saw it")
LEVELS = (3, 2, 1)
SIZES = [(1, 1), (2, 3), (62, 90), (97, 101), (240, 130), (30, 400), (333, 500)]
VIEW_SIDE = 30.0
GRID = GridProposals(((40.0, 30.0), (24.0, 24.0), (20.0, 50.0)), 96, 0.4)


def image_of(height: int, width: int) -> np.ndarray:
    """Return coloured clouds: noise alone has the same features everywhere."""
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (max(1, height // 12), max(1, width // 12), 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def scaled_inputs(model: DetectorModel, image: np.ndarray) -> dict[str, np.ndarray]:
    size, scales = (image.shape[0], image.shape[1]), model.encoder.scales
    pixels = [resize(image, shorter_side_size(size, scale)) for scale in scales]
    return dict(zip(input_names(scales), pixels, strict=True)) | {"size": np.array(size, dtype=np.int64)}


def drawn_model(layers: Sequence[str], *, settings: Settings = OURS, scales: Sequence[int] = (96,)) -> DetectorModel:
    """Return a detector of drawn weights that finds a few dozen objects in noise; its last class is untrained."""
    generator = torch.Generator().manual_seed(3)
    encoder = encoder_of(layers, scales, rule=settings.rule)
    if isinstance(encoder, MultiscaleEncoder):  # what looks as large as these drawn shapes
        encoder = MultiscaleEncoder(encoder.encoders, rule=settings.rule, view_side=VIEW_SIDE)
    length, classes = encoder.length(LEVELS), len(CLASSES)

    def drawn(*shape: int, deviation: float) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * deviation

    bias = torch.tensor([-0.6, -0.9, -torch.inf])
    head = RegionHead(
        LEVELS,
        drawn(classes, length, deviation=0.012),
        bias,
        drawn(classes, 4, length, deviation=0.002),
        drawn(classes, 4, deviation=0.02),
    )
    curves = [(2.0, -1.0, -0.6, -0.5), (1.5, -2.0, -0.3, -0.3), (2.0, -0.5, 0.0, -0.5)]
    calibration = Calibration.of(curves, np.array([0.3, 0.5, 0.5]))
    return DetectorModel(encoder, GRID, head, CLASSES, settings, calibration)


def assert_same(
    boxes: np.ndarray, labels: np.ndarray, confidence: np.ndarray, expected: Detections, *, where: object = ""
) -> None:
    """Compare one to one, whatever the order of detections that are as certain as each other but for rounding."""
    assert len(boxes) == len(labels) == len(confidence) == len(expected), where
    assert (np.diff(confidence) <= 1e-6).all(), where
    left = list(range(len(labels)))
    for one in expected:
        near = [
            row
            for row in left
            if labels[row] == one.labels[0]
            and np.abs(boxes[row] - one.boxes[0]).max() <= 0.05
            and abs(confidence[row] - one.confidence[0]) <= 1e-3
        ]
        assert near, (where, one)
        left.remove(near[0])
