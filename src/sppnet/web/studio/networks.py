"""The network of a folder: as it came with its package, or tuned on the folder's labels and kept in a file."""

import shutil
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
FILES: Final = "network-*.safetensors"
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


def maps_of(folder: Path, network: "Backbone") -> Path:
    """Return where a network's feature maps are kept.

    Those of a tuned one, which has a file, lie in a folder of its own and go with it; all others stay in one.
    """
    file = folder / _file_of(network)
    return folder / MAPS / file.stem if file.exists() else folder / MAPS


def remove_others(folder: Path, *keep: str) -> None:
    """Remove the files and the feature maps of all tuned networks but those named by their files."""
    for file in folder.glob(FILES):
        if file.name not in keep:
            file.unlink(missing_ok=True)
    for maps in (folder / MAPS).glob(Path(FILES).stem):
        if maps.name not in {Path(name).stem for name in keep}:
            shutil.rmtree(maps, ignore_errors=True)  # what cannot be removed is tried again after the next tuning


def _file_of(network: "Backbone") -> str:
    return FILES.replace("*", network.fingerprint[:DIGITS])
