"""The networks that recipes test: from files, or random and narrow where a run is quick."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from sppnet.backbones import PublishedNet
from sppnet.backbones.published import Name
from sppnet.data import FolderData, load_folders, splits
from sppnet.errors import DataError
from sppnet.recipes import RecipeRequest, need

QUICK_WIDTH: Final = 0.03
QUICK_IMAGES: Final = 5  # a class
QUICK_TRAIN: Final = 3  # of them to learn from, where the protocol has 30


Wanted = tuple[str, Name, bool]
"""What a network is, its name, and whether it has a pyramid."""


def networks_of(request: RecipeRequest, wanted: Sequence[Wanted], *, classes: int = 1000) -> list[PublishedNet]:
    """Return networks, in ``eval`` mode, in the order in which a recipe asks for them.

    Args:
        request: its ``weights`` are read; quick and without any, the networks are random.
        wanted: the networks, in the recipe's order.
        classes: of random ones.
    Raises:
        DataError: another number of files, or a file of another network than is wanted at its place.
    """
    if request.quick and not request.weights:
        torch.manual_seed(request.seed)
        pyramids = [None if not pyramid else (6, 3, 2, 1) for _, _, pyramid in wanted]
        return [
            PublishedNet(name, levels=levels, classes=classes, width=QUICK_WIDTH).eval()
            for (_, name, _), levels in zip(wanted, pyramids, strict=True)
        ]
    paths = need(request.weights, len(wanted), ", ".join(what for what, _, _ in wanted))
    networks = [PublishedNet.load(path) for path in paths]
    for path, network, (what, name, pyramid) in zip(paths, networks, wanted, strict=True):
        if (network.name, network.levels is not None) != (name, pyramid):
            actual = f"{network.name} with{'' if network.levels else 'out'} a pyramid"
            raise DataError(f"{path}: must hold {what} ({name}), got {actual}. Give --weights in the recipe's order.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return [network.to(device) for network in networks]


def validation_images(request: RecipeRequest, network: PublishedNet | None) -> FolderData:
    """Return labelled images to test on, in the order of a network's classes: the split "val" where there is one."""
    split = "val" if "val" in splits(request.data) else None
    data = load_folders(request.data, split=split, classes=network.notes.get("classes") if network else None)
    if network is not None and network.classes != len(data.classes):
        raise DataError(
            f"{request.data}: must hold the {network.classes} classes that the network was trained on, got "
            f"{len(data.classes)}. Name the data set of its training."
        )
    return some_of(data, each=1) if request.quick else data


def some_of(data: FolderData, *, each: int = QUICK_IMAGES) -> FolderData:
    """Return a few images of each class."""
    rows = [row for label in np.unique(data.labels) for row in np.flatnonzero(data.labels == label)[:each]]
    return replace(data, paths=tuple(data.paths[row] for row in rows), labels=data.labels[rows])
