"""Proposal methods out of what a model file tells of them: the one registry of methods."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from sppnet.errors import ArgumentError, message
from sppnet.proposals.files import FileProposals
from sppnet.proposals.grid import GridProposals
from sppnet.proposals.learnt import LearntProposals
from sppnet.proposals.opencv import EdgeBoxes, SelectiveSearch
from sppnet.proposals.protocol import Proposals

Told = Mapping[str, Any]
Tensors = Mapping[str, Tensor]


def _grid(told: Told) -> GridProposals:
    shapes = tuple((float(height), float(width)) for height, width in told["shapes"])
    return GridProposals(shapes, int(told["short_side"]), float(told["step"]))


METHODS: Final[dict[str, Callable[[Told, Tensors], Proposals]]] = {
    "grid": lambda told, tensors: _grid(told),  # noqa: ARG005
    "learnt": lambda told, tensors: LearntProposals.from_description(told, tensors, _grid(told["grid"])),
    "selective-search": lambda told, tensors: SelectiveSearch(bool(told["quality"]), int(told["limit"])),  # noqa: ARG005
    "edge-boxes": lambda told, tensors: EdgeBoxes(int(told["limit"])),  # noqa: ARG005
    "file": lambda told, tensors: FileProposals(Path(told["path"])),  # noqa: ARG005
}


def proposals_from_description(description: Told, tensors: Tensors) -> Proposals:
    """Make the proposal method that ``describe`` and ``tensors`` told of.

    Raises:
        ArgumentError: an unknown method. CorruptFileError: learnt ones without their weights.
    """
    method = description.get("method")
    if method not in METHODS:
        expected, advice = f"one of {', '.join(METHODS)}", "Name one of these"
        raise ArgumentError(message("proposals_from_description", "method", expected, repr(method), advice))
    return METHODS[method](description, tensors)
