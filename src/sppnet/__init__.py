"""Features of any image, any region, at any size: spatial pyramid pooling (He et al. 2015), and what stands on it.

Importing this package does no work: each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sppnet.backbones import EfficientNetLite0
    from sppnet.classification.classifier import Classifier, Prediction
    from sppnet.data import load_detection, load_folders
    from sppnet.detection.detections import Detections
    from sppnet.detection.detector import Detector
    from sppnet.detection.examples import ImageLabels
    from sppnet.errors import SppnetError
    from sppnet.features.encoder import Encoder
    from sppnet.features.maps import FeatureMap
    from sppnet.images import read_image
    from sppnet.models import load
    from sppnet.ops import SpatialPyramidPool, pool_image, pool_windows
    from sppnet.proposals.grid import GridProposals
    from sppnet.proposals.opencv import SelectiveSearch
    from sppnet.storage import TensorCache

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "classification.classifier",
    "Detections": "detection.detections",
    "Detector": "detection.detector",
    "EfficientNetLite0": "backbones",
    "Encoder": "features.encoder",
    "FeatureMap": "features.maps",
    "GridProposals": "proposals.grid",
    "ImageLabels": "detection.examples",
    "Prediction": "classification.classifier",
    "SelectiveSearch": "proposals.opencv",
    "SpatialPyramidPool": "ops",
    "SppnetError": "errors",
    "TensorCache": "storage",
    "load": "models",
    "load_detection": "data",
    "load_folders": "data",
    "pool_image": "ops",
    "pool_windows": "ops",
    "read_image": "images",
}

__all__ = [
    "Classifier",
    "Detections",
    "Detector",
    "EfficientNetLite0",
    "Encoder",
    "FeatureMap",
    "GridProposals",
    "ImageLabels",
    "Prediction",
    "SelectiveSearch",
    "SpatialPyramidPool",
    "SppnetError",
    "TensorCache",
    "load",
    "load_detection",
    "load_folders",
    "pool_image",
    "pool_windows",
    "read_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sppnet' has no attribute {name!r}")
    return getattr(import_module(f"sppnet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
