"""Training networks (paper, Sec. 3.1): one loop for one size, several and fine-tuning, on one machine or many."""

from sppnet.learning.processes import own_device
from sppnet.training.images import Batch, Images, SampleRequest
from sppnet.training.plan import Plan
from sppnet.training.runs import run_folder, train_to_file
from sppnet.training.trainer import Epoch, Trainer, start_from

__all__ = [
    "Batch",
    "Epoch",
    "Images",
    "Plan",
    "SampleRequest",
    "Trainer",
    "own_device",
    "run_folder",
    "start_from",
    "train_to_file",
]
