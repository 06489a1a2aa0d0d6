"""Proposal methods out of what a model file tells of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sppnet.errors import ArgumentError, message
from sppnet.proposals.files import FileProposals
from sppnet.proposals.grid import GridProposals
from sppnet.proposals.opencv import EdgeBoxes, SelectiveSearch
from sppnet.proposals.protocol import Proposals


def from_description(description: Mapping[str, Any]) -> Proposals:
    """Make the proposal method that ``describe`` told of.

    Raises:
        ArgumentError: an unknown method.
    """
    match description:
        case {"method": "grid", "shapes": shapes, "short_side": short_side, "step": step}:
            pairs = tuple((float(height), float(width)) for height, width in shapes)
            return GridProposals(pairs, int(short_side), float(step))
        case {"method": "selective-search", "quality": quality, "limit": limit}:
            return SelectiveSearch(bool(quality), int(limit))
        case {"method": "edge-boxes", "limit": limit}:
            return EdgeBoxes(int(limit))
        case {"method": "file", "path": path}:
            return FileProposals(Path(path))
    raise ArgumentError(
        message(
            "from_description",
            "method",
            "grid, selective-search, edge-boxes or file",
            dict(description),
            "Name one of these",
        )
    )
