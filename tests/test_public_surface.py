"""The public names: frozen, importable, documented."""

import inspect

import pytest

import sppnet

NAMES = [
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


def test_the_public_names_are_these() -> None:
    assert sppnet.__all__ == NAMES
    assert set(NAMES) <= set(dir(sppnet))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name: str) -> None:
    documentation = inspect.getdoc(getattr(sppnet, name))
    assert documentation is not None
    assert len(documentation) > 40


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'sppnet' has no attribute 'Pooler'"):
        sppnet.Pooler  # noqa: B018
