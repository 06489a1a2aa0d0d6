"""Features of any image, any region, at any size: spatial pyramid pooling (He et al. 2015), and what stands on it.

Importing this package does no work: each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the list below, for type checkers; a test compares both
    from sppnet.backbones import EfficientNetLite0 as EfficientNetLite0
    from sppnet.backbones import PublishedNet as PublishedNet
    from sppnet.backbones import backbone as backbone
    from sppnet.backbones import with_pyramid as with_pyramid
    from sppnet.classification.classifier import Classifier as Classifier
    from sppnet.classification.prediction import Prediction as Prediction
    from sppnet.classification.transfer import layer_features as layer_features
    from sppnet.classification.views import MANY_VIEWS as MANY_VIEWS
    from sppnet.classification.views import MIRRORED as MIRRORED
    from sppnet.classification.views import TEN_VIEWS as TEN_VIEWS
    from sppnet.classification.views import WHOLE as WHOLE
    from sppnet.classification.views import predict_views as predict_views
    from sppnet.classification.views import view_scores as view_scores
    from sppnet.data import load_detection as load_detection
    from sppnet.data import load_folders as load_folders
    from sppnet.data import write_coco as write_coco
    from sppnet.detection.deep import DeepPlan as DeepPlan
    from sppnet.detection.detections import Detections as Detections
    from sppnet.detection.detections import combine as combine
    from sppnet.detection.detector import Detector as Detector
    from sppnet.detection.examples import ImageLabels as ImageLabels
    from sppnet.detection.fine_tuning import fine_tuned as fine_tuned
    from sppnet.detection.output import write_results as write_results
    from sppnet.detection.settings import Fitting as Fitting
    from sppnet.detection.settings import Settings as Settings
    from sppnet.errors import SppnetError as SppnetError
    from sppnet.evaluation.intervals import interval as interval
    from sppnet.evaluation.intervals import mean_precision as mean_precision
    from sppnet.evaluation.intervals import resampled_precision as resampled_precision
    from sppnet.evaluation.matching import judge as judge
    from sppnet.evaluation.plotting import plot_precision_recall as plot_precision_recall
    from sppnet.evaluation.precision import detection_report as detection_report
    from sppnet.export.folder import export_classifier as export_classifier
    from sppnet.export.folder import export_detector as export_detector
    from sppnet.features.encoder import Encoder as Encoder
    from sppnet.features.files import published_encoder as published_encoder
    from sppnet.features.maps import FeatureMap as FeatureMap
    from sppnet.features.scene import Scene as Scene
    from sppnet.images import read_image as read_image
    from sppnet.images import value_range as value_range
    from sppnet.models import load as load
    from sppnet.ops import SpatialPyramidPool as SpatialPyramidPool
    from sppnet.ops import pool_image as pool_image
    from sppnet.ops import pool_windows as pool_windows
    from sppnet.proposals.files import FileProposals as FileProposals
    from sppnet.proposals.grid import GridProposals as GridProposals
    from sppnet.proposals.opencv import EdgeBoxes as EdgeBoxes
    from sppnet.proposals.opencv import SelectiveSearch as SelectiveSearch
    from sppnet.proposals.protocol import covered as covered
    from sppnet.storage import TensorCache as TensorCache
    from sppnet.training import Images as Images
    from sppnet.training import Plan as Plan
    from sppnet.training import Trainer as Trainer
    from sppnet.training import own_device as own_device

__version__ = "0.1.0"

# Every public name, and the module that it lives in.
_HOMES = {
    "Classifier": "classification.classifier",
    "DeepPlan": "detection.deep",
    "Detections": "detection.detections",
    "Detector": "detection.detector",
    "EdgeBoxes": "proposals.opencv",
    "EfficientNetLite0": "backbones",
    "Encoder": "features.encoder",
    "FeatureMap": "features.maps",
    "FileProposals": "proposals.files",
    "Fitting": "detection.settings",
    "GridProposals": "proposals.grid",
    "ImageLabels": "detection.examples",
    "Images": "training",
    "MANY_VIEWS": "classification.views",
    "MIRRORED": "classification.views",
    "Plan": "training",
    "Prediction": "classification.prediction",
    "PublishedNet": "backbones",
    "Scene": "features.scene",
    "SelectiveSearch": "proposals.opencv",
    "Settings": "detection.settings",
    "SpatialPyramidPool": "ops",
    "SppnetError": "errors",
    "TEN_VIEWS": "classification.views",
    "TensorCache": "storage",
    "Trainer": "training",
    "WHOLE": "classification.views",
    "backbone": "backbones",
    "combine": "detection.detections",
    "covered": "proposals.protocol",
    "detection_report": "evaluation.precision",
    "export_classifier": "export.folder",
    "export_detector": "export.folder",
    "fine_tuned": "detection.fine_tuning",
    "interval": "evaluation.intervals",
    "judge": "evaluation.matching",
    "layer_features": "classification.transfer",
    "load": "models",
    "load_detection": "data",
    "load_folders": "data",
    "mean_precision": "evaluation.intervals",
    "own_device": "training",
    "plot_precision_recall": "evaluation.plotting",
    "pool_image": "ops",
    "pool_windows": "ops",
    "predict_views": "classification.views",
    "published_encoder": "features.files",
    "read_image": "images",
    "resampled_precision": "evaluation.intervals",
    "value_range": "images",
    "view_scores": "classification.views",
    "with_pyramid": "backbones",
    "write_coco": "data",
    "write_results": "detection.output",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sppnet' has no attribute {name!r}")
    return getattr(import_module(f"sppnet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
