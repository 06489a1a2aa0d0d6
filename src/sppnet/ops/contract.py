"""What the pooling asks of its arguments, the same for every kernel."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sppnet.errors import ShapeError, check_shape, check_that, message

Mode = Literal["max", "average"]
Backend = Literal["reference", "numba", "triton"]


def bins(levels: Sequence[int]) -> int:
    """Return how many bins a pyramid has.

    >>> bins((6, 3, 2, 1))
    50
    """
    return sum(level * level for level in levels)


def check_options(function: str, levels: Sequence[int], mode: str, backend: str | None) -> None:
    """Raise ArgumentError unless levels, mode and backend are what ``pool_windows`` says."""
    whole = isinstance(levels, Sequence) and all(type(level) is int and level >= 1 for level in levels)
    sound = whole and len(levels) > 0
    check_that(sound, function, "levels", "whole numbers from 1, at least one", levels, advice="Try (6, 3, 2, 1)")
    check_that(mode in ("max", "average"), function, "mode", "max or average", repr(mode), advice="Name one of these")
    known = backend in (None, "reference", "numba", "triton")
    expected = "None, reference, numba or triton"
    check_that(known, function, "backend", expected, repr(backend), advice="Leave it out for the fastest")


def check_features(function: str, features: Tensor) -> None:
    """Raise unless features are (C, H, W) or (N, C, H, W) floating point with at least one cell."""
    expected = ("C", "H", "W") if features.ndim == 3 else ("N", "C", "H", "W")
    advice = "Give the map of one image, or a batch"
    check_shape(function, "features", features.shape, expected, advice=advice)
    floating = features.is_floating_point()
    check_that(floating, function, "features", "floating point", features.dtype, advice="Convert with .float()")
    cells = tuple(features.shape[-2:])
    check_that(min(cells) > 0, function, "features", "of at least one cell", f"{cells} cells", advice=advice)


def paired(features: Tensor | Sequence[Tensor], windows: Tensor | Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return each map with its windows; raise ArgumentError unless both are sequences, as long, and not empty."""
    listed = isinstance(features, Sequence) and isinstance(windows, Sequence)
    kinds = f"{type(features).__name__} and {type(windows).__name__}"
    expected, advice = "two tensors, or a list of maps and one of windows", "Make tensors: torch.as_tensor(windows)"
    check_that(listed, "pool_windows", "features and windows", expected, kinds, advice=advice)
    sound = len(features) == len(windows) > 0
    actual = f"{len(features)} maps and {len(windows)} lists of windows"
    advice = "Give a list of maps and a list of windows for each"
    check_that(sound, "pool_windows", "windows", "one tensor for each map", actual, advice=advice)
    return list(zip(features, windows, strict=True))


def check_out(out: Tensor, features: Tensor, shape: tuple[int, int, int]) -> None:
    """Raise unless ``out`` can take what is pooled from ``features``: of ``shape``, its type, contiguous."""
    advice = "Make it with torch.empty(windows, bins, channels)"
    check_shape("pool_windows", "out", out.shape, shape, advice=advice)
    fits = out.dtype == features.dtype and out.device == features.device and out.is_contiguous()
    expected = f"contiguous {features.dtype} on {features.device}"
    actual = f"{'' if out.is_contiguous() else 'not contiguous '}{out.dtype} on {out.device}"
    check_that(fits, "pool_windows", "out", expected, actual, advice=advice)
    asked = out.requires_grad or (features.requires_grad and torch.is_grad_enabled())
    check_that(not asked, "pool_windows", "out", "left out where gradients are asked for", "one", advice=advice)


def check_windows(windows: Tensor, shape: torch.Size) -> None:
    """Raise ShapeError unless every window (R, 5) holds a cell and lies inside its map of ``shape`` (N, C, H, W)."""
    count, _, height, width = shape
    index, left, top, right, bottom = windows.unbind(1)
    fits = (index >= 0) & (index < count) & (left >= 0) & (left < right) & (right <= width)
    fits = fits & (top >= 0) & (top < bottom) & (bottom <= height)
    if bool(fits.all()):
        return
    row = int((~fits).nonzero()[0])
    expected = f"at least one cell inside {count} map(s) of {height} x {width} cells"
    actual = windows[row].tolist()
    raise ShapeError(message("pool_windows", f"windows[{row}]", expected, actual, "Clip regions to the image first"))
