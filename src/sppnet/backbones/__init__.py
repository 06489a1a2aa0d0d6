"""Networks that turn images into feature maps; each knows the stride and the offset of its cells."""

from sppnet.backbones.adapters import PyramidNet, with_pyramid
from sppnet.backbones.efficientnet_lite import EfficientNetLite, EfficientNetLite0
from sppnet.backbones.named import DEFAULT, backbone, check_same_weights, choice_of, chosen_backbone, placed
from sppnet.backbones.protocol import Backbone
from sppnet.backbones.published import NETWORKS, PublishedNet

__all__ = [
    "DEFAULT",
    "NETWORKS",
    "Backbone",
    "EfficientNetLite",
    "EfficientNetLite0",
    "PublishedNet",
    "PyramidNet",
    "backbone",
    "check_same_weights",
    "choice_of",
    "chosen_backbone",
    "placed",
    "with_pyramid",
]
