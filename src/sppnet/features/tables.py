"""Features of many regions in files that other programs read: told by the suffix."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.errors import ArgumentError, message
from sppnet.geometry import Boxes
from sppnet.pipeline.parts import Table
from sppnet.storage import spreadsheet_safe, write_file, write_tensors

PARQUET: Final = ".parquet"
FORMS: Final = (".safetensors", ".npz", ".npy", ".csv", PARQUET)
EDGES: Final = ("left", "top", "right", "bottom")
LEAST_BYTES: Final = {".csv": 2}  # of a number in a file, at least: a digit and a comma; 4 in all others


def check_form(file: Path) -> str:
    """Return the form that a file's suffix asks for, before the features are computed.

    Raises:
        ArgumentError: another suffix.
    """
    form = file.suffix.lower()
    if form not in FORMS:
        advice = "Name the file features.safetensors, for one"
        raise ArgumentError(message("features", "out", f"a file {', '.join(FORMS)}", file.name, advice))
    return form


def write_features(
    file: Path, images: Sequence[str], boxes: Sequence[Boxes], vectors: NDArray[np.float32], settings: Mapping[str, Any]
) -> None:
    """Write one row a region, in the order of the images.

    ``.safetensors`` and ``.npz`` hold "features" (R, D), "regions" (R, 4) and "image" (R,), the index of each region's
    image; the names of all images, those without a region too, are in the metadata, or under "images". ``.csv`` has
    the columns image, left, top, right, bottom, and the features. ``.npy`` holds the features alone. Parquet comes in
    parts: ``TABLE``.

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
    writers = {".npz": _npz, ".npy": _npy, ".csv": _csv}
    write_file(file, writers[kind](images, index, regions, vectors))


def _npz(images: Sequence[str], index: NDArray[np.intp], regions: Boxes, vectors: NDArray[np.float32]) -> bytes:
    out = io.BytesIO()
    np.savez(out, features=vectors, regions=regions, image=index, images=np.array(images, dtype=str))
    return out.getvalue()


def _npy(_: Sequence[str], __: NDArray[np.intp], ___: Boxes, vectors: NDArray[np.float32]) -> bytes:
    out = io.BytesIO()
    np.save(out, vectors)
    return out.getvalue()


def _csv(images: Sequence[str], index: NDArray[np.intp], regions: Boxes, vectors: NDArray[np.float32]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("image", *EDGES, *(f"f{column}" for column in range(vectors.shape[1]))))
    names = [spreadsheet_safe(name) for name in images]
    for place, box, vector in zip(index.tolist(), regions.tolist(), vectors, strict=True):
        writer.writerow((names[place], *box, *(f"{value:.9g}" for value in vector)))
    return out.getvalue().encode()


def _rows(name: str, answer: tuple[Boxes, NDArray[np.float32]]) -> list[tuple[Any, ...]]:
    boxes, vectors = answer
    return [(name, *box, vector) for box, vector in zip(boxes.tolist(), vectors, strict=True)]


TABLE: Final = Table({"image": "text", **dict.fromkeys(EDGES, "number"), "features": "vector"}, _rows)
