"""A detector or a classifier that answers by ONNX Runtime: the same questions, the same answers, in less time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from sppnet.classification.classifier import Classifier, Prediction
from sppnet.detection.detections import Detections
from sppnet.detection.detector import Detector
from sppnet.export.classifier import classifier_graph
from sppnet.export.detector import detector_graph
from sppnet.geometry import shorter_side_size
from sppnet.images import Source, read_image, resize


class OnnxDetector:
    """Finds what a detector finds, by its graph in ONNX Runtime.

    Args:
        detector: that was trained or loaded.
        threshold: the least confidence of what is found, 0..1; None is each class's own.
        threads: of one image; 0 are as many as there are cores.
    Raises:
        ArgumentError: a detector that has no graph, see ``detector_graph``.
    """

    def __init__(self, detector: Detector, *, threshold: float | None = None, threads: int = 0) -> None:
        model = detector.model_
        thresholds = None if threshold is None else np.full(len(model.classes), threshold)
        self.classes, self._short_side = model.classes, model.encoder.scales[0]
        self._session = _session(detector_graph(model, scaled=True, thresholds=thresholds), threads)

    def detect(self, image: Source) -> Detections:
        """Find the objects of one image of any size.

        Args:
            image: a path, a file's bytes, or (H, W, 3) uint8 RGB.
        Returns:
            Detections, the most certain first, without scores and regions.
        Raises:
            ImageDecodeError: an image that cannot be read, or is too large once scaled.
        """
        pixels, scaled = _scaled(image, self._short_side, 1)
        given: dict[str, NDArray[Any]] = {"image": scaled, "size": np.array(pixels.shape[:2], dtype=np.int64)}
        boxes, labels, confidence = _run(self._session, ["boxes", "labels", "confidence"], given)
        return Detections(boxes.astype(np.float64), labels, confidence.astype(np.float64), self.classes)


class OnnxClassifier:
    """Names what a classifier names, by its graph in ONNX Runtime; arguments and errors as of ``OnnxDetector``."""

    def __init__(self, classifier: Classifier, *, threads: int = 0) -> None:
        encoder = classifier.encoder_.encoder
        self.classes, self._shape = classifier.classes_, (encoder.short_side, encoder.multiple)
        self._session = _session(classifier_graph(classifier, scaled=True), threads)

    def predict(self, image: Source) -> Prediction:
        """Name what one image of any size shows."""
        _, scaled = _scaled(image, *self._shape)
        (scores,) = _run(self._session, ["scores"], {"image": scaled})
        return Prediction(self.classes, scores)


def _scaled(image: Source, short_side: int, multiple: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an image's pixels, and the same scaled."""
    pixels = read_image(image)
    return pixels, resize(pixels, shorter_side_size((pixels.shape[0], pixels.shape[1]), short_side, multiple=multiple))


def _session(graph: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside another program it costs both
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(
    session: onnxruntime.InferenceSession, names: Sequence[str], given: Mapping[str, NDArray[Any]]
) -> Sequence[NDArray[Any]]:
    made: Sequence[NDArray[Any]] = session.run(names, given)
    return made
