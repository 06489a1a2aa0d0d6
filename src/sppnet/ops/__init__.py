"""Spatial pyramid pooling: a vector of fixed length from a feature map, or any window of it, of any size.

One custom operator (``definition``) with a readable specification (``reference``), a kernel for the processor
(``cpu_numba``) and one for a GPU (``gpu_triton``). Bin edges come from ``geometry`` as whole numbers, so that
kernels cannot disagree.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sppnet.errors import check_shape, check_that
from sppnet.ops import cpu_numba
from sppnet.ops.contract import Backend, Mode, bins, check_features, check_options, check_out, check_windows, paired
from sppnet.ops.definition import pool, pool_into

__all__ = ["Mode", "SpatialPyramidPool", "bins", "pool_chunks", "pool_image", "pool_windows"]


def pool_windows(
    features: Tensor | Sequence[Tensor],
    windows: Tensor | Sequence[Tensor],
    *,
    levels: Sequence[int] = (6, 3, 2, 1),
    mode: Mode = "max",
    backend: Backend | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Pool every window of feature maps into a vector of fixed length.

    Args:
        features: (C, H, W) floating point, the map of one image; or (N, C, H, W), maps of one size; or a
            sequence of N (C, H, W), maps of any sizes. Channels last in memory is read without a copy.
        windows: (R, 4) int64 ``[left, top, right, bottom]`` in cells, ends excluded, each at least one cell;
            or, with (N, C, H, W), (R, 5) int64 with the index of the map first; or, with a sequence, one
            (R, 4) for each map, whose results follow each other.
        levels: bins per side of each level of the pyramid, in output order.
        mode: "max", as in the paper, or "average".
        backend: "reference" (the specification, on any device), "numba" (processor) or "triton" (GPU); by default
            the fastest for the device.
        out: (R, B, C) of the features' type to write to and return a view of; no gradient reaches ``features``
            then. For a loop over images: taking 100 MB of fresh memory costs more than the pooling.
    Returns:
        (R, C, B) of the features' type, B the sum of n * n over levels; bins row by row, level by level.
        Gradients reach ``features``; of equal maxima, the first cell in row order has it.
    Raises:
        ShapeError, ArgumentError: naming the argument, the expected and the actual shape or value. Windows that lie
            on a GPU are checked there, without waiting for it: one that is not inside its map is pooled to NaN.

    Bins overlap where a level does not divide the window, and a window smaller than the pyramid repeats
    cells: none is empty and nothing is padded. A bin that holds NaN is NaN.

    Source: He et al. 2015, Sec. 4.1; bin limits Appendix A. Differs: nothing for "max".

    >>> cells = torch.arange(12.0).reshape(1, 3, 4)
    >>> pool_windows(cells, torch.tensor([[0, 0, 4, 3], [1, 1, 2, 2]]), levels=(2, 1))
    tensor([[[ 5.,  7.,  9., 11., 11.]],
    <BLANKLINE>
            [[ 5.,  5.,  5.,  5.,  5.]]])
    """
    check_options("pool_windows", levels, mode, backend)
    if not isinstance(features, Tensor) or not isinstance(windows, Tensor):
        pairs = paired(features, windows)
        ends = np.cumsum([len(rows) for _, rows in pairs])
        places = [None] * len(pairs) if out is None else torch.tensor_split(out, ends[:-1].tolist())
        parts = [
            pool_windows(cells, rows, levels=levels, mode=mode, backend=backend, out=place)
            for (cells, rows), place in zip(pairs, places, strict=True)
        ]
        return torch.cat(parts) if out is None else out.transpose(1, 2)
    check_features("pool_windows", features)
    single = features.ndim == 3
    advice = "Make windows with geometry.windows_from_regions" + ("" if single else ", the map's index before them")
    check_shape("pool_windows", "windows", windows.shape, ("R", 4 if single else 5), advice=advice)
    check_that(
        windows.dtype == torch.int64,
        "pool_windows",
        "windows",
        "int64",
        windows.dtype,
        advice="Give whole cells",
    )
    if single:
        features, windows = features[None], torch.nn.functional.pad(windows, (1, 0))
    near = windows if windows.device.type == "cpu" else windows.to(features.device)
    options = (features, near, list(levels), mode, backend or "")
    if out is None:
        pooled: Tensor = pool(*options)
        return pooled.transpose(1, 2)
    check_out(out, features, (len(windows), bins(levels), features.shape[1]))
    pool_into(out, *options)
    return out.transpose(1, 2)


def pool_chunks(
    features: Tensor, windows: Tensor, *, levels: Sequence[int] = (6, 3, 2, 1), size: int = 512
) -> Iterator[Tensor]:
    """Pool many windows of one map by their maxima, a chunk at a time, into one buffer: for scoring as they come.

    What windows share is computed once for all chunks, and no memory is taken anew.

    Args:
        features: (C, H, W) on the processor; no gradient reaches it.
        windows: (R, 4) int64, levels: as in ``pool_windows``.
        size: windows a chunk; 512 of 14 bins and 240 channels stay in the processor's cache.
    Yields:
        (size, B, C), the last one shorter; overwritten by the next.
    """
    check_options("pool_chunks", levels, "max", None)
    check_features("pool_chunks", features)
    windows = torch.nn.functional.pad(windows, (1, 0))
    check_windows(windows, features[None].shape)
    yield from cpu_numba.chunks(features[None], windows, levels, size=size)


def pool_image(
    features: Tensor,
    *,
    levels: Sequence[int] = (6, 3, 2, 1),
    mode: Mode = "max",
    backend: Backend | None = None,
) -> Tensor:
    """Pool whole feature maps of any size into vectors of one length.

    Args:
        features: (C, H, W) or (N, C, H, W) floating point.
        levels, mode, backend: as in ``pool_windows``.
    Returns:
        (C, B) or (N, C, B), in the layout of ``pool_windows``.
    Raises:
        ShapeError, ArgumentError: naming the argument, the expected and the actual shape or value.

    Source: He et al. 2015, Sec. 2.2, with the bins of Appendix A: the sliding windows of Sec. 2.3 (size
    ceil(a / n), stride floor(a / n)) give the same bins where they give n of them (13 x 13), and too many
    elsewhere (9 bins a side instead of 6 on 10 x 10).

    >>> pool_image(torch.arange(12.0).reshape(1, 3, 4), levels=(2, 1))
    tensor([[ 5.,  7.,  9., 11., 11.]])
    """
    check_options("pool_image", levels, mode, backend)
    check_features("pool_image", features)
    if features.ndim == 3:
        return pool_image(features[None], levels=levels, mode=mode, backend=backend)[0]
    count, _, height, width = features.shape
    index = torch.arange(count, device=features.device)
    first = torch.zeros_like(index)
    whole = torch.stack(
        [index, first, first, first + width, first + height], dim=1
    )  # made there: a GPU is not waited for
    return pool_windows(features, whole, levels=levels, mode=mode, backend=backend)


class SpatialPyramidPool(nn.Module):
    """The layer that takes the place of a network's last pooling: any size in, a fixed length out.

    Args:
        levels: bins per side of each level of the pyramid.
        mode: "max" or "average".

    >>> layer = SpatialPyramidPool((3, 2, 1))
    >>> layer(torch.rand(2, 16, 13, 13)).shape == layer(torch.rand(2, 16, 7, 20)).shape
    True
    """

    def __init__(self, levels: Sequence[int] = (6, 3, 2, 1), mode: Mode = "max") -> None:
        super().__init__()
        check_options("SpatialPyramidPool", levels, mode, None)
        self.levels, self.mode = tuple(levels), mode

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * B), channel by channel, in each the bins of all levels."""
        return pool_image(features, levels=self.levels, mode=self.mode).flatten(-2)

    def extra_repr(self) -> str:
        """Return what printing the module shows."""
        return f"levels={self.levels}, mode={self.mode!r}"
