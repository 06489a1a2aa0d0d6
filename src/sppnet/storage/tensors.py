"""Model files: safetensors with one checksum over all of a file, never pickle.

A file starts with the length of its header and ``{"__metadata__":{"sppnet":"{\\"checksum\\":\\"`` followed by
64 digits: the SHA-256 of the whole file as it is with zeros in their place. So not one bit can change unseen,
be it in a tensor, in its name, shape or type, in the metadata, in padding, or past the end. Any program that
reads safetensors reads these files too.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError

from sppnet.errors import ArgumentError, CorruptFileError, DataError, check_that, message
from sppnet.storage.files import read_file, write_file

if TYPE_CHECKING:
    from torch import Tensor

METADATA_KEY: Final = "sppnet"  # the only one: safetensors writes several in random order
CHECKSUM: Final = "checksum"  # sorts before "metadata", so that its digits always stand at the same place
BLANK: Final = b"0" * 64
HEADER_START: Final = rb'{"__metadata__":{"sppnet":"{\"checksum\":\"'
DIGITS: Final = slice(8 + len(HEADER_START), 8 + len(HEADER_START) + len(BLANK))
MAX_HEADER: Final = 16 << 20  # bytes
ALIGNMENT: Final = 64  # bytes, of tensors in memory: as torch allocates


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", *, metadata: Mapping[str, Any]) -> None:
    """Write one file, whole or not at all (``files.write_file``); the same content gives the same bytes.

    Args:
        path: of the file to write or to replace.
        tensors: by name, of any shape and device, and any dtype that safetensors holds.
        metadata: JSON; tuples come back as lists.
    Raises:
        ArgumentError: metadata that JSON cannot hold, a reserved name, or a header of more than 16 MiB.
        WriteError: a full or read-only disk.
    """
    write_file(path, packed(tensors, metadata))


def read_tensors(path: Path | str) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read what ``write_tensors`` wrote: tensors in memory of their own, and the metadata.

    Raises:
        CorruptFileError: a file whose bytes are not what was written. DataError: one that cannot be opened.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Give a file that sppnet wrote.") from error
    if content[8 : DIGITS.start] != HEADER_START:
        what = "does not begin as one" if content else "is empty"
        raise CorruptFileError(f"{path}: is no file of sppnet: it {what}. Give one that sppnet wrote, or a copy of it.")
    try:
        return _unpacked(content)
    except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise CorruptFileError(f"{path}: the file is damaged: {error}. Train it again or restore a copy.") from error


def check_model(path: Path, metadata: Mapping[str, Any], *, kind: str, version: int) -> None:
    """Raise CorruptFileError unless the metadata are those of a model of this kind, in this version of its layout."""
    if metadata.get("kind") != kind:
        raise CorruptFileError(
            f"{path}: must hold a {kind}, got {metadata.get('kind')!r}. Open it with sppnet.load, or train one."
        )
    if metadata.get("version") != version:
        found = metadata.get("version")
        raise CorruptFileError(f"{path}: must hold a {kind} of layout {version}, got layout {found}. Train it again.")


def packed(tensors: "Mapping[str, Tensor]", metadata: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file; the same content gives the same."""
    check_that(
        "__metadata__" not in tensors,
        "write_tensors",
        "tensors",
        "named other than __metadata__",
        sorted(tensors),
        advice="Choose another name",
    )
    import torch  # files of other kinds do without
    from safetensors.torch import save

    # Copied, because safetensors refuses strides and tensors that share memory; without a name, as maps are large.
    blank = save(
        {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()},
        {METADATA_KEY: _json(metadata)},
    )
    length = _header_length(blank)
    expected = f"names and metadata of at most {MAX_HEADER} bytes"
    check_that(length <= MAX_HEADER, "write_tensors", "tensors", expected, length, advice="Store less metadata")
    return sealed(blank)


def sealed(content: bytes) -> bytes:
    """Return a file's bytes with the checksum that fits them."""
    return b"".join([content[: DIGITS.start], _checksum(content), content[DIGITS.stop :]])


def _unpacked(content: bytes) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    from safetensors.torch import load

    length = _header_length(content)
    if length > MAX_HEADER:
        raise ValueError(f"its header claims {length} bytes")
    if content[DIGITS] != _checksum(content):
        raise ValueError("its bytes do not fit its checksum")
    header = json.loads(content[8 : 8 + length])
    tensors = {name: _aligned(tensor) for name, tensor in load(content).items()}
    return tensors, json.loads(header["__metadata__"][METADATA_KEY])["metadata"]


def _aligned(tensor: "Tensor") -> "Tensor":
    """Return the tensor where torch would put it: products of matrices elsewhere may differ in the last bit."""
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _json(metadata: Mapping[str, Any]) -> str:
    try:
        content = {CHECKSUM: BLANK.decode(), "metadata": metadata}
        return json.dumps(content, allow_nan=False, separators=(",", ":"), sort_keys=True)
    except (TypeError, ValueError) as error:
        advice = "Store numbers, texts, lists and dicts with texts as keys"
        raise ArgumentError(message("write_tensors", "metadata", "JSON", error, advice)) from error


def _header_length(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


def _checksum(content: bytes) -> bytes:
    view = memoryview(content)
    digest = hashlib.sha256(view[: DIGITS.start])
    digest.update(BLANK)
    digest.update(view[DIGITS.stop :])
    return digest.hexdigest().encode()
