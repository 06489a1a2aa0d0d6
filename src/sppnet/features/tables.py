"""Features of many regions in files that other programs read: told by the suffix."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.errors import ArgumentError, MissingExtraError, message
from sppnet.geometry import Boxes
from sppnet.storage import write_file, write_tensors

FORMS: Final = (".safetensors", ".npz", ".npy", ".csv", ".parquet")
EDGES: Final = ("left", "top", "right", "bottom")


def check_form(file: Path) -> None:
    """Raise what ``write_features`` would, before the features are computed.

    Raises:
        ArgumentError: another suffix. MissingExtraError: parquet without pyarrow.
    """
    if file.suffix.lower() not in FORMS:
        advice = "Name the file features.safetensors, for one"
        raise ArgumentError(message("features", "out", f"a file {', '.join(FORMS)}", file.name, advice))
    if file.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            advice = "Install it: pip install 'sppnet[parquet]'"
            raise MissingExtraError(f"features: .parquet needs pyarrow. {advice}.") from error


def write_features(
    file: Path, images: Sequence[str], boxes: Sequence[Boxes], vectors: NDArray[np.float32], settings: Mapping[str, Any]
) -> None:
    """Write one row a region, in the order of the images.

    ``.safetensors`` and ``.npz`` hold "features" (R, D), "regions" (R, 4) and "image" (R,), the index of each region's
    image; the images' names are in the metadata, or under "images". ``.csv`` and ``.parquet`` have the columns image,
    left, top, right, bottom, and the features. ``.npy`` holds the features alone.

    Args:
        file: whose suffix decides. images: names. boxes: (R_i, 4) of each. vectors: (R, D).
        settings: how the features were made, for the metadata.
    """
    index = np.repeat(np.arange(len(images)), [len(mine) for mine in boxes])
    regions = np.concatenate(list(boxes)) if boxes else np.zeros((0, 4))
    kind = file.suffix.lower()
    if kind == ".safetensors":
        arrays = {"features": vectors, "regions": regions, "image": index}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        write_tensors(file, tensors, metadata={"images": list(images), **settings})
        return
    writers = {".npz": _npz, ".npy": _npy, ".csv": _csv, ".parquet": _parquet}
    write_file(file, writers[kind]([images[place] for place in index.tolist()], regions, vectors))


def _npz(names: Sequence[str], regions: Boxes, vectors: NDArray[np.float32]) -> bytes:
    out = io.BytesIO()
    images, index = np.unique(np.array(names, dtype=str), return_inverse=True)
    np.savez(out, features=vectors, regions=regions, image=index, images=images)
    return out.getvalue()


def _npy(_: Sequence[str], __: Boxes, vectors: NDArray[np.float32]) -> bytes:
    out = io.BytesIO()
    np.save(out, vectors)
    return out.getvalue()


def _csv(names: Sequence[str], regions: Boxes, vectors: NDArray[np.float32]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("image", *EDGES, *(f"f{column}" for column in range(vectors.shape[1]))))
    for name, box, vector in zip(names, regions.tolist(), vectors, strict=True):
        writer.writerow((name, *box, *(f"{value:.9g}" for value in vector)))
    return out.getvalue().encode()


def _parquet(names: Sequence[str], regions: Boxes, vectors: NDArray[np.float32]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    columns: dict[str, Any] = {"image": list(names)}
    columns |= {name: regions[:, place] for place, name in enumerate(EDGES)}
    columns["features"] = pyarrow.array(list(vectors), pyarrow.list_(pyarrow.float32()))
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()
