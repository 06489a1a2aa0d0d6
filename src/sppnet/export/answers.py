"""A graph beside the model that it was written of: do both answer alike, from the image to the end?"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from sppnet.classification.classifier import Classifier
from sppnet.detection.detections import Detections
from sppnet.detection.model import DetectorModel
from sppnet.detection.scale import untiled_short_side
from sppnet.errors import check_that
from sppnet.export.run import inputs
from sppnet.features.files import encoder_of
from sppnet.features.scene import Scene
from sppnet.geometry import iou
from sppnet.proposals.grid import GridProposals
from sppnet.proposals.learnt import LearntProposals

# (height, width) of the images that both are asked about; scaled, the longer side is a whole number of cells at few
# scales.
SIZES: Final = ((97, 131), (137, 90))
APART: Final = 0.05  # of probabilities, and of features as a share of the largest: rounding moves them by less
SAME_BOX: Final = 0.5  # IoU
LOST: Final = 0.1  # of all confidence: of two boxes that are as good as each other, rounding may keep the other one

Told = Mapping[str, Any]


def check_scores(classifier: Classifier, graph: onnx.ModelProto, told: Told) -> None:
    """Compare what a graph makes of images with ``Classifier.predict``.

    Args:
        graph: of ``classifier_graph``. told: what ``labels.json`` tells of it.
    Raises:
        ArgumentError: they differ, or the graph gives what is no number.
    """
    run = _runner(graph)
    for image in _images():
        (scores,) = run(inputs(told, image))
        _check(np.allclose(scores, classifier.predict(image).scores, rtol=0, atol=APART), "scores", image)


def untiled(model: DetectorModel) -> DetectorModel:
    """Return a detector to compare its graph by: itself, or the same at scales of which it takes no tiles.

    A graph computes all of an image at once, and so answers otherwise than tiles, in several times their memory.
    """
    encoder, proposals = model.encoder, model.proposals
    most = untiled_short_side(SIZES)
    if max(encoder.scales) <= most:
        return model
    scales = [max(1, side * most // max(encoder.scales)) for side in encoder.scales]
    rule = encoder.describe()["rule"]
    smaller = encoder_of(encoder.layers, scales, rule=rule, backbone=encoder.backbone)
    if isinstance(proposals, LearntProposals):
        proposals = replace(proposals, encoder=smaller.fingerprint, grid=_smaller(proposals.grid, most))
    elif isinstance(proposals, GridProposals):
        proposals = _smaller(proposals, most)
    return replace(model, encoder=smaller, proposals=proposals)


def _smaller(grid: GridProposals, most: int) -> GridProposals:
    """Return a grid of the same shapes for smaller images, where it was for large ones: of fewer regions."""
    return replace(grid, short_side=min(grid.short_side, most))


def check_detections(model: DetectorModel, graph: onnx.ModelProto, told: Told) -> None:
    """Compare with ``DetectorModel.detect``, as ``check_scores`` does.

    Args:
        graph: of ``detector_graph`` with thresholds of 0, since images of noise show nothing that is certain.
    """
    run = _runner(graph)
    for image in _images():
        boxes, labels, confidence = run(inputs(told, image))
        found = Detections(boxes.astype(np.float64), labels, confidence.astype(np.float64), model.classes)
        expected = model.detect(Scene(image, model.encoder), threshold=0.0)
        _check(_unpaired(found, expected) <= LOST, "detections", image)


def check_features(model: DetectorModel, graph: onnx.ModelProto, told: Told) -> None:
    """Compare the graph of ``boxes_graph`` with what is pooled, as ``check_scores`` does."""
    run = _runner(graph)
    for image in _images():
        height, width = image.shape[:2]
        boxes = np.array([[0, 0, width, height], [width / 3, height / 4, width / 2, height]])
        features, confidence = run({**inputs(told, image), "boxes": boxes.astype(np.float32)})
        expected = model.encoder(image).pool(boxes, model.head.levels).cpu().numpy()
        alike = features.shape == expected.shape and np.isfinite(confidence).all()
        _check(
            alike and np.allclose(features, expected, rtol=0, atol=APART * np.abs(expected).max()), "features", image
        )


def _runner(graph: onnx.ModelProto) -> Any:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def _images() -> Iterator[NDArray[np.uint8]]:
    for size in SIZES:
        yield np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)


def _check(alike: bool, what: str, image: NDArray[np.uint8]) -> None:
    actual = f"other {what} of {image.shape[0]} x {image.shape[1]} pixels"
    advice = "Take a model on EfficientNet-Lite, and report this one as a bug"
    check_that(bool(alike), "export", "model", f"one whose graph gives its {what}", actual, advice=advice)


def _unpaired(found: Detections, expected: Detections) -> float:
    """Return the share of all confidence that detections have which are in one of both only."""
    same = (iou(found.boxes, expected.boxes) >= SAME_BOX) & (found.labels[:, None] == expected.labels)
    same &= np.abs(found.confidence[:, None] - expected.confidence) <= APART
    alone = found.confidence[~same.any(axis=1)].sum() + expected.confidence[~same.any(axis=0)].sum()
    return float(alone / max(found.confidence.sum() + expected.confidence.sum(), 1e-9))
