"""Pictures of any size -> classes: the whole picture at its own aspect through the pyramid (paper, Sec. 3)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models import EfficientNet_B0_Weights

from sppnet.data import FolderData
from sppnet.encoding import Encoder, Picture
from sppnet.errors import DataError, ImageDecodeError, NotFittedError, check_that
from sppnet.metrics import mean_class_accuracy
from sppnet.storage import TensorCache, read_tensors, write_tensors
from sppnet.svm import one_vs_rest, train_svm

Progress = Callable[[str, Sequence[Any]], Iterable[Any]]

FORMAT: Final = "sppnet classifier 1"
LEVELS: Final = (3, 2, 1)
SHORT_SIDE: Final = 224
COST: Final = (
    1.0  # of the linear SVM on l2-normalised features (paper, Sec. 3.2; the value is in its first version)
)
