"""Networks of timm and torchvision by name: the last map of each stride, whatever the network.

Convolutional networks give layers ``stride4`` to ``stride32``; vision transformers their patch tokens as a map, named
by the patches' side (``stride14``, ``stride16``): position embeddings follow the image's size, class and register
tokens are left out.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppnet.backbones.cells import CellMap, cell_maps, merge, merged_cells, meta_copy
from sppnet.backbones.weights import state_fingerprint, stored_state
from sppnet.errors import ArgumentError, check_shape, check_that, message
from sppnet.geometry import CellGrid

STRIDES: Final = range(4, 33)
PROBES: Final = ((384, 512), (512, 640))  # (height, width) in pixels: a layer's map follows both
ODD_SIZES: Final = ((33, 47), (75, 101), (161, 230))  # (height, width) that some networks refuse
# Pixels a side at least, and what sides are filled up to a multiple of, with the mean: the first that a network takes.
FILLINGS: Final = ((32, 1), (64, 1), (96, 1), (32, 32), (64, 32), (128, 32))
CELLS_LOST: Final = 4  # at the borders of a map, by convolutions without padding

Triple = tuple[float, float, float]


class PlacedMaps(Protocol):
    """The maps of a network of another library, by places that only this object knows: layers, or nodes of a graph."""

    model: nn.Module

    def places(self) -> Sequence[Any]:
        """Return all places where maps may lie, the deepest last."""

    def maps(self, pixels: Tensor, places: Sequence[Any]) -> dict[Any, Tensor]:
        """(N, 3, H, W) -> place -> (N, C, H', W')."""


class ZooBackbone(nn.Module):
    """A network of timm or torchvision as a backbone, frozen, in ``eval`` mode.

    Args:
        name: with the library's before it, as ``timm/resnet18``.
        trunk: the network, and how to take maps out of it.
        mean, std: of its pixels, three of values 0..255 each.
    Raises:
        ArgumentError: a network without maps whose size follows the image's.
    """

    def __init__(self, name: str, trunk: nn.Module, *, mean: Triple, std: Triple) -> None:
        super().__init__()
        self.name, self.trunk = name, trunk.eval().requires_grad_(False)
        self.mean, self.std = mean, std
        self._empty = (meta_copy(trunk),)  # in a tuple, so that it is no part of this module
        try:
            self._places, self._merged, self.channels = self._found_layers()
            self._filling = next(filling for filling in FILLINGS if self._takes(filling))
        except Exception as error:  # a network refuses a size in its own way
            expected = "a network that takes images of any size and has maps of strides 4 to 32"
            advice = "Name a convolutional network, or a vision transformer of timm"
            raise ArgumentError(message("backbone", "name", expected, repr(name), advice)) from error
        self._fingerprint = state_fingerprint(f"{name} {self.mean} {self.std}", self.trunk.state_dict())
        self._cells = lru_cache(maxsize=256)(self._traced)

    @property
    def detector_layers(self) -> tuple[str, ...]:
        """Strides 8 and 16 where there are both, otherwise the finest there is of 8 or more."""
        both = [layer for layer in ("stride8", "stride16") if layer in self.channels]
        coarse = (name for name in self.channels if int(name.removeprefix("stride")) >= 8)
        return tuple(both) or (next(coarse, self.classifier_layer),)

    @property
    def classifier_layer(self) -> str:
        """The coarsest map."""
        return list(self.channels)[-1]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and of what pixels are scaled by."""
        return self._fingerprint

    def activations(self, pixels: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Return the named layers, and compute as little past the deepest of them as the library can.

        Args:
            pixels: (N, 3, H, W) float RGB, ``(value - mean) / std`` of 0..255; any H and W.
            names: from ``channels``.
        Returns:
            name -> (N, C, H', W').
        Raises:
            ArgumentError: an unknown name. ShapeError: pixels of another shape.
        """
        check_shape("activations", "pixels", pixels.shape, ("N", 3, "H", "W"), advice="Use images.to_tensor")
        wanted = [self._checked(name) for name in dict.fromkeys(names)]
        height, width = self._filled((pixels.shape[2], pixels.shape[3]))
        missing = (0, width - pixels.shape[3], 0, height - pixels.shape[2])
        filled = F.pad(pixels, missing) if any(missing) else pixels
        found = cast(PlacedMaps, self.trunk).maps(filled, [self._places[layer] for layer in wanted])
        return {layer: found[self._places[layer]] for layer in wanted}

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return all layers of pixels (N, 3, H, W), as ``activations`` does."""
        return self.activations(pixels, self.channels)

    def grid(self, layer: str, size: tuple[int, int]) -> CellGrid:
        """Return where the cells of a layer lie on pixels of ``size``: derived from what the network runs on it."""
        place = self._places[self._checked(layer)]
        return merge(self._cells(size)[place].grid, self._merged[place])

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``backbones.kinds`` makes the same network again, with ``tensors``."""
        library, name = self.name.split("/")
        return {"kind": library, "name": name, "mean": list(self.mean), "std": list(self.std)}

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def trainable(self) -> nn.Module:
        """Return what learns when the network is tuned."""
        return cast(PlacedMaps, self.trunk).model

    def tensors(self) -> dict[str, Tensor]:
        """Return the network's weights: no package holds them."""
        return stored_state(cast(PlacedMaps, self.trunk).model.state_dict())

    def _found_layers(self) -> tuple[dict[str, Any], dict[Any, int], dict[str, int]]:
        """Return of each stride the last place whose map has it on two sizes, its merged cells and its channels."""
        empty = cast(PlacedMaps, self._empty[0])
        places = empty.places()
        first, second = (cell_maps(lambda pixels: empty.maps(pixels, places), size) for size in PROBES)
        found: dict[int, Any] = {}
        for place in places:
            strides = [_stride_of(cells.get(place), size) for cells, size in zip((first, second), PROBES, strict=True)]
            if strides[0] in STRIDES and strides[0] == strides[1]:
                found[strides[0]] = place
        check_that(len(found) > 0, "backbone", "name", "of a network with maps", "none", advice="Name another")
        named = {f"stride{stride}": found[stride] for stride in sorted(found)}
        merged = {place: merged_cells(first[place], PROBES[0]) for place in named.values()}
        return named, merged, {layer: first[place].shape[0] for layer, place in named.items()}

    def _takes(self, filling: tuple[int, int]) -> bool:
        self._filling = filling
        try:
            return all(min(cells.shape) > 0 for size in ODD_SIZES for cells in self._traced(size).values())
        except RuntimeError:  # a kernel that does not fit, branches of different sizes
            return False

    def _filled(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that pixels of ``size`` are filled up to."""
        least, multiple = self._filling
        height, width = (-(-max(side, least) // multiple) * multiple for side in size)
        return height, width

    def _traced(self, size: tuple[int, int]) -> dict[Any, CellMap]:
        empty, places = cast(PlacedMaps, self._empty[0]), list(self._places.values())
        return cell_maps(lambda pixels: empty.maps(pixels, places), self._filled(size))

    def _checked(self, name: str) -> str:
        known = ", ".join(self.channels)
        check_that(name in self.channels, self.name, "layer", f"one of {known}", repr(name), advice="Name one of these")
        return name


def _stride_of(cells: CellMap | None, size: tuple[int, int]) -> int:
    """Return the stride of a map that follows the pixels' size in both directions; 0 of any other."""
    if cells is None or cells.grid.down.stride != cells.grid.across.stride:
        return 0
    stride = cells.grid.down.stride * merged_cells(cells, size)
    counts = zip(size, cells.shape[1:], strict=True)
    fits = all(-1 <= side / stride - count <= CELLS_LOST for side, count in counts)
    return int(stride) if fits and stride % 1 == 0 else 0


class TimmMaps(nn.Module):
    """Maps of a network of timm, by its own list of places (``feature_info``)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._tokens = hasattr(model, "num_prefix_tokens")

    def places(self) -> list[int]:
        """Return the numbers of all entries of ``feature_info``."""
        return list(range(len(self.model.feature_info)))  # type: ignore[arg-type]

    def maps(self, pixels: Tensor, places: Sequence[int]) -> dict[int, Tensor]:
        """Return maps by their numbers; those of a transformer's tokens after its last normalisation."""
        indices = sorted(places)
        options = {"norm": self._tokens, "stop_early": not self._tokens, "intermediates_only": True}
        found = self.model.forward_intermediates(pixels, indices=indices, output_fmt="NCHW", **options)  # type: ignore[operator]
        return dict(zip(indices, found, strict=True))


class TorchvisionMaps(nn.Module):
    """Maps of a network of torchvision, by the names of the nodes of its graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._extractors: dict[tuple[str, ...], tuple[nn.Module]] = {}

    def places(self) -> list[str]:
        """Return the names of all nodes but the input."""
        from torchvision.models.feature_extraction import get_graph_node_names

        return list(get_graph_node_names(self.model, suppress_diff_warning=True)[1][1:])

    def maps(self, pixels: Tensor, places: Sequence[str]) -> dict[str, Tensor]:
        """Return maps by the names of their nodes."""
        from torchvision.models.feature_extraction import create_feature_extractor

        wanted = tuple(places)
        if wanted not in self._extractors:
            extractor = create_feature_extractor(self.model, list(wanted), suppress_diff_warning=True)
            self._extractors[wanted] = (extractor.eval(),)  # in a tuple: its weights are the model's
        found = self._extractors[wanted][0](pixels)
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}
