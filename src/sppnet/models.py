"""Model files of every kind, opened by what they say they are."""

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from sppnet.errors import CorruptFileError, SppnetError
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
    if not isinstance(kind, str) or kind not in KINDS:
        raise CorruptFileError(f"{path}: must hold a model, got {kind!r}. Train one: sppnet train --help.")
    module, name = KINDS[kind]
    model = getattr(import_module(module), name)
    try:
        return model.from_file(Path(path), tensors, metadata, cache=cache)
    except SppnetError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        # Its checksum is right: another program, or another version, wrote something else under this kind.
        what = f"holds no {kind} that this version reads: {type(error).__name__}: {error}"
        raise CorruptFileError(f"{path}: {what}. Train it again or update sppnet.") from error
