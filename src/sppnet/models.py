"""Model files of every kind, opened by what they say they are."""

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from sppnet.errors import CorruptFileError
from sppnet.storage import TensorCache, read_tensors

KINDS: Final = {
    "detector": ("sppnet.detection.detector", "Detector"),
    "classifier": ("sppnet.classification.classifier", "Classifier"),
    "network": ("sppnet.backbones.published", "PublishedNet"),
}


def load(path: Path | str, *, cache: TensorCache | None = None) -> Any:
    """Open any model file: a ``Detector``, a ``Classifier`` or a ``PublishedNet``.

    Args:
        path: of a file that ``save`` wrote. cache: where feature maps are kept between runs; None keeps nothing.
    Raises:
        CorruptFileError: a damaged file, one that holds no model, or one made with other weights. DataError: one that
        cannot be opened.
    """
    tensors, metadata = read_tensors(Path(path))
    kind = metadata.get("kind")
    if kind not in KINDS:
        raise CorruptFileError(f"{path}: must hold a model, got {kind!r}. Train one: sppnet train --help.")
    module, name = KINDS[kind]
    model = getattr(import_module(module), name)
    return model.from_file(Path(path), tensors, metadata, cache=cache)
