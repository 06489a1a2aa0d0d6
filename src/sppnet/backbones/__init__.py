"""Networks that turn images into feature maps; each knows the stride and the offset of its cells."""

from sppnet.backbones.adapters import PyramidNet, with_pyramid
from sppnet.backbones.efficientnet_lite import EfficientNetLite0
from sppnet.backbones.published import NETWORKS, PublishedNet

__all__ = ["NETWORKS", "EfficientNetLite0", "PublishedNet", "PyramidNet", "with_pyramid"]
