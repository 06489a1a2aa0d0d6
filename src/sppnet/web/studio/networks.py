"""The network of a folder: as it came with its package, or tuned on the folder's labels and kept in a file."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sppnet.errors import SppnetError
from sppnet.storage import check_model, read_tensors, write_tensors
from sppnet.web.studio.store import Store

if TYPE_CHECKING:
    from sppnet.backbones import Backbone

SETTING: Final = "network"  # of the store: name and report of the tuned one that is in use, None for none
KIND: Final = "network"
VERSION: Final = 1
PREFIX: Final = "network-"
FILES: Final = f"{PREFIX}*.safetensors"
MAPS: Final = "features"
DIGITS: Final = 16  # of the fingerprint, in a file's name


def write_network(folder: Path, network: "Backbone") -> str:
    """Write a network's weights whole or not at all, in half precision as they are; return the file's name.

    Raises:
        WriteError: a full or read-only disk.
    """
    from sppnet.backbones.kinds import describe_backbone

    description, tensors = describe_backbone(network)
    name = _file_of(network)
    write_tensors(folder / name, tensors, metadata={"kind": KIND, "version": VERSION, "backbone": description})
    return name


def read_network(folder: Path, name: str | None) -> "Backbone":
    """Return the network that a file holds; None is the one that came with its package.

    Raises:
        DataError: no such file. CorruptFileError: a damaged one.
    """
    from sppnet.backbones import backbone
    from sppnet.backbones.kinds import backbone_from_description

    if name is None:
        return backbone()
    tensors, metadata = read_tensors(folder / name)
    check_model(folder / name, metadata, kind=KIND, version=VERSION)
    return backbone_from_description(metadata["backbone"], tensors)


def in_use(store: Store) -> dict[str, Any] | None:
    """Return the "file" and the "report" of the tuned network that is in use; None for the one that came."""
    found: dict[str, Any] | None = store.setting(SETTING, None)
    return found


def network_in_use(folder: Path, store: Store) -> "tuple[Backbone, str]":
    """Return the network in use, and "".

    Where its file cannot be read, the network as it came is in use from now on; the text says why.
    """
    tuned = in_use(store)
    try:
        return read_network(folder, None if tuned is None else tuned["file"]), ""
    except SppnetError as error:
        store.keep(SETTING, None)
        reason = f"The tuned network cannot be read, so the network as it came is used: {error}"
        return read_network(
            folder, None
        ), f"{reason} Your labels are whole; press 'Tune the network' to have one again."


def maps_of(folder: Path, network: "Backbone", *sides: int, layers: Sequence[str] = ()) -> Path:
    """Return where the feature maps of one kind are kept: those of another kind lie in another folder, and go with it.

    Args:
        network: makes them. sides: that images' shorter sides are scaled to.
        layers: of the network; none are those that detectors pool unless others are named.
    """
    return folder / MAPS / _name_of(network.fingerprint[:DIGITS], layers or network.detector_layers, *sides)


def remove_unneeded_maps(folder: Path, side: int, *, ends: Callable[[], bool]) -> None:
    """Remove the maps that nobody needs where images are scaled to ``side``; what is left as it ``ends``, another time.

    Needed are those of the network as it came, which is gone back to, and of tuned ones for as long as there is their
    file.
    """
    from sppnet.backbones import DEFAULT
    from sppnet.backbones.efficientnet_lite import VARIANTS, EfficientNetLite

    known = list((folder / MAPS).glob(f"{'[0-9a-f]' * DIGITS}-*"))  # before the files, which are written first
    tuned = (file.stem.removeprefix(PREFIX) for file in folder.glob(FILES))
    layers = EfficientNetLite.detector_layers
    needed = {_name_of(digits, layers, side) for digits in (VARIANTS[DEFAULT].sha256[:DIGITS], *tuned)}
    for maps in known:
        for part in (*maps.iterdir(), maps) if maps.name not in needed else ():
            if ends():
                return
            shutil.rmtree(part, ignore_errors=True)


def remove_networks(folder: Path, *keep: str) -> None:
    """Remove the files of all tuned networks but those named."""
    for file in folder.glob(FILES):
        if file.name not in keep:
            file.unlink(missing_ok=True)


def _name_of(digits: str, layers: Sequence[str], *sides: int) -> str:
    return "-".join([digits, *layers, *map(str, sides)])


def _file_of(network: "Backbone") -> str:
    return FILES.replace("*", network.fingerprint[:DIGITS])
