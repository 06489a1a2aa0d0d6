"""The exportable pooling: the same bits, in PyTorch, exported, and in onnxruntime."""

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sppnet.ops import SpatialPyramidPool, pool_image
from sppnet.ops.export import ExportableSpatialPyramidPool

SIZES = [(13, 13), (10, 10), (1, 1), (2, 7), (38, 50), (6, 6), (5, 31), (64, 3), (17, 19), (75, 100)]
LEVELS = (6, 3, 2, 1)
FREE = ({0: "batch", 2: "height", 3: "width"},)


def _features(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.randn(1 + height % 3, 4, height, width, generator=generator)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("levels", [LEVELS, (1,), (4, 3), (7, 5, 2)])
def test_it_has_the_bits_of_the_layer(size: tuple[int, int], levels: tuple[int, ...]) -> None:
    features = _features(*size)
    assert torch.equal(ExportableSpatialPyramidPool(levels)(features), SpatialPyramidPool(levels)(features))


def test_what_is_not_finite_goes_the_same_way() -> None:
    features = _features(9, 8)
    features[:, 0, 4, 4], features[:, 1], features[:, 2, 0, 0] = torch.nan, -torch.inf, torch.inf
    found, expected = ExportableSpatialPyramidPool(LEVELS)(features), pool_image(features, levels=LEVELS).flatten(1)
    torch.testing.assert_close(found, expected, atol=0, rtol=0, equal_nan=True)


def test_it_is_exported_with_free_sizes() -> None:
    axes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(ExportableSpatialPyramidPool(LEVELS), (_features(13, 11),), dynamic_shapes=(axes,))
    module = program.module()
    for size in SIZES[3:]:
        features = _features(*size)
        assert torch.equal(module(features), SpatialPyramidPool(LEVELS)(features))


@pytest.mark.slow
def test_onnxruntime_gives_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "pool.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            ExportableSpatialPyramidPool(LEVELS),
            (_features(14, 11),),
            path,
            input_names=["features"],
            output_names=["pooled"],
            dynamic_shapes=FREE,
            dynamo=True,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in SIZES:
        features = _features(*size)
        (pooled,) = session.run(None, {"features": features.numpy()})
        np.testing.assert_array_equal(pooled, SpatialPyramidPool(LEVELS)(features).numpy())
