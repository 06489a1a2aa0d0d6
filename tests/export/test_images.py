"""An image scaled inside the graph has the bits of one that is scaled before it."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.export.graph import Graph
from sppnet.export.images import image_inputs
from sppnet.geometry import shorter_side_size
from sppnet.images import resize


@pytest.fixture(scope="module")
def sessions() -> dict[tuple[int, int], onnxruntime.InferenceSession]:
    """Return what scales to a shorter side, the other one to a multiple of pixels."""
    made = {}
    for short_side, multiple in ((96, 1), (7, 1), (64, 32)):
        graph = Graph()
        (scaled,), _ = image_inputs(graph, [short_side], scaled=False, multiple=multiple)
        graph.output("scaled", scaled, ["h", "w", 3])
        content = graph.model().SerializeToString()
        made[short_side, multiple] = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return made


def _assert_same_bits(sessions: dict[tuple[int, int], onnxruntime.InferenceSession], image: np.ndarray) -> None:
    for (short_side, multiple), session in sessions.items():
        (found,) = session.run(None, {"image": image})
        expected = resize(image, shorter_side_size(image.shape[:2], short_side, multiple=multiple))
        np.testing.assert_array_equal(found, expected, err_msg=f"{image.shape} to {short_side}")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
def test_noise_of_any_size(
    sessions: dict[tuple[int, int], onnxruntime.InferenceSession], height: int, width: int, seed: int
) -> None:
    _assert_same_bits(sessions, np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (96, 200), (900, 200), (1500, 2000)])
def test_the_sharpest_edges(
    sessions: dict[tuple[int, int], onnxruntime.InferenceSession], size: tuple[int, int]
) -> None:
    edges = np.random.default_rng(0).integers(0, 2, (*size, 3)).astype(np.uint8) * 255
    _assert_same_bits(sessions, edges)
