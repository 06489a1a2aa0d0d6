"""Networks that turn pictures into feature maps; each knows the stride and the offset of its cells."""

from sppnet.backbones.efficientnet_lite import EfficientNetLite0

__all__ = ["EfficientNetLite0"]
