"""A whole run: from a network with its first weights to the file of the trained one."""

from collections.abc import Iterator
from pathlib import Path

from sppnet.backbones import PublishedNet
from sppnet.errors import DataError
from sppnet.learning.processes import rank
from sppnet.progress import Progress, silent
from sppnet.storage import run_folder
from sppnet.training.trainer import STATE, Epoch, Trainer

__all__ = ["run_folder", "train_to_file"]


def train_to_file(trainer: Trainer, out: Path, *, progress: Progress = silent) -> Iterator[Epoch]:
    """Train a published network to the end and write it; then its state, no longer needed, is removed.

    Args:
        trainer: of a ``PublishedNet``, its folder being ``run_folder(out)`` by custom.
        out: the file to write, whole or not at all; its notes hold the classes and the plan.
        progress: see ``Trainer.epochs``.
    Yields:
        What came of each epoch.
    Raises:
        DataError: a network that is no ``PublishedNet``.
    """
    network = trainer.result
    if not isinstance(network, PublishedNet):
        raise DataError(f"{out}: must be of a PublishedNet, got {type(network).__name__}. Use Trainer by itself.")
    yield from trainer.epochs(progress=progress)
    if rank() == 0:
        notes = {"classes": list(trainer.images.data.classes), "plan": trainer.plan.as_dict()}
        network.eval().save(out, notes=notes)
        (trainer.folder / STATE).unlink(missing_ok=True)
