"""Images of any size -> classes: the whole image at its own aspect through the pyramid (paper, Sec. 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones import (
    DEFAULT,
    Backbone,
    EfficientNetLite0,
    check_same_weights,
    choice_of,
    chosen_backbone,
    placed,
)
from sppnet.classification.prediction import NONE, Prediction
from sppnet.classification.views import Views, named_views
from sppnet.data import FolderData, as_labelled_images
from sppnet.errors import DataError, NotFittedError
from sppnet.evaluation.classes import confusion, mean_class_accuracy
from sppnet.features.contributions import Contributions, image_contributions, join_contributions, turned
from sppnet.features.encoder import Encoder, check_finite
from sppnet.features.whole_image import ImageEncoder, sum_of
from sppnet.geometry import Boxes, check_boxes
from sppnet.images import Source, as_source, image_digest
from sppnet.learning.calibration import least_known, sharpness
from sppnet.learning.parameters import Parameters
from sppnet.learning.ridge import ridge_held_out
from sppnet.learning.svm import one_vs_rest, train_svm
from sppnet.ops import pool_windows
from sppnet.progress import BASE_MEMORY, Estimate, Progress, silent, timed
from sppnet.storage import TensorCache, check_model, read_tensors, write_tensors

VERSION: Final = 4
LEVELS: Final = (3, 2, 1)
SHORT_SIDE: Final = 224
PUBLISHED_SIDE: Final = 256  # of the published head: 88.8 % of 500 images kept back, 87.2 % at 224
MULTIPLE: Final = 32  # of the longer side: no worse, and twice as fast where every image has its own shape
PENALTY: Final = 0.1  # of the least squares, on vectors of length 1; by cross-validation inside Caltech-101's training
# Least squares are solved exactly, in memory that grows with the square of this; past it, by a squared SVM's descent.
MOST_SOLVED: Final = 10_000
COST: Final = 3.0  # of the squared losses; the paper has 1, and does not square


@dataclass(frozen=True)
class ClassificationReport:
    """How well a classifier names the images of a data set.

    Args:
        classes: names.
        accuracy: share of right answers, the mean over classes (paper, Sec. 3.3), 0..1; NaN without images.
        confusion: (K, K) int64, images of class (row) whose best class is (column).
        none: (K, 2) int64, of each class the images that ``predict`` names "none of these", and those of them whose
            best class is right.
    """

    classes: tuple[str, ...]
    accuracy: float
    confusion: NDArray[np.int64]
    none: NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: the accuracy, and each class's share of right answers (None: no images).

        "predicted" has the shares of images that ``predict`` names rightly, and "none of these".
        """
        totals, best = self.confusion.sum(axis=1), self.confusion.diagonal()
        shares = [_share(right, total) for right, total in zip(best, totals, strict=True)]
        answers = np.stack([best - self.none[:, 1], self.none[:, 0]], axis=1)
        keys = ("right", "none_of_these")
        each = [
            dict(zip(keys, (_share(number, total) for number in row), strict=True))
            for row, total in zip(answers, totals, strict=True)
        ]
        whole = dict(zip(keys, (_share(number, totals.sum()) for number in answers.sum(axis=0)), strict=True))
        predicted = {**whole, "classes": dict(zip(self.classes, each, strict=True))}
        classes = dict(zip(self.classes, shares, strict=True))
        return {"accuracy": self.accuracy, "classes": classes, "predicted": predicted}


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


class Classifier(Parameters):
    """Learns to tell images apart from a few dozen examples a class.

    The network is frozen; what is learnt is one linear plane a class over the pyramid's features of the whole
    image, by least squares (the paper has SVMs, which were 0.4 % worse). The features are cached, so learning again
    after a label changed takes seconds.

    Args:
        short_side: images are scaled to this shorter side, at their own aspect.
        backbone: the network: a name that ``sppnet.backbones.backbone`` knows, or what that returns.
        layer: its feature map that is pooled; None is its own choice.
        levels: bins per side of each level of the pyramid.
        views: "whole", or "mirrored": the image and its mirror image, whose scores are averaged before they become
            probabilities, for twice the time of the network.
        cache: where features are kept between runs; None keeps nothing.
    What was learnt ends in an underscore. ``threshold_`` is the probability below which an image shows none of the
    classes. ``learnt_from_`` are digests of the images that it learnt from
    (``images.image_digest``).

    >>> Classifier.imagenet().predict(np.zeros((60, 90, 3), np.uint8)).scores.shape
    (1000,)
    """

    kind: Final[Literal["classifier"]] = "classifier"

    def __init__(
        self,
        *,
        short_side: int = SHORT_SIDE,
        backbone: str | Backbone = DEFAULT,
        layer: str | None = None,
        levels: Sequence[int] = LEVELS,
        views: Views = "whole",
        cache: TensorCache | None = None,
        device: str = "cpu",
    ) -> None:
        self.short_side, self.backbone, self.layer = short_side, backbone, layer
        self.levels, self.views, self.cache, self.device = levels, views, cache, device
        self._encoder: ImageEncoder | None = None
        self._learnt: Planes | None = None
        self.learnt_from_: tuple[str, ...] = ()

    @property
    def encoder_(self) -> ImageEncoder:
        """What makes a vector of an image: by the arguments, until something is loaded."""
        if self._encoder is None:
            mirrored = named_views(self.views).mirrored
            network = chosen_backbone(self.backbone, self.device)
            layer = self.layer or network.classifier_layer
            encoder = Encoder(layer, self.short_side, cache=self.cache, backbone=network, multiple=MULTIPLE)
            self._encoder = ImageEncoder(encoder, tuple(self.levels), mirrored=mirrored)
        return self._encoder

    def to(self, device: str) -> "Classifier":
        """Move the network to a device, as ``device`` has it; what was learnt stays, and so do answers, nearly."""
        placed(self.encoder_.encoder.backbone, device)
        self.device = device
        return self

    def encode_by(self, network: Backbone) -> "Classifier":
        """Have a network of the same weights, as another engine runs it, make the maps; raises for other weights."""
        check_same_weights(self.encoder_.encoder.backbone, network)
        self.encoder_.encoder.backbone = network
        return self

    @classmethod
    def imagenet(
        cls, *, short_side: int = PUBLISHED_SIDE, views: Views = "whole", cache: TensorCache | None = None
    ) -> "Classifier":
        """Return the classifier that comes with the weights: the 1,000 classes of ImageNet, at any size.

        Its layers are the published ones (average of the whole map, then one linear layer); its scores are
        probabilities. ``views`` as of a classifier that learns.
        """
        from torchvision.models import EfficientNet_B0_Weights  # slow to import, and only its names are needed

        classifier = cls(short_side=short_side, layer="head", levels=(1,), views=views, cache=cache)
        network = EfficientNetLite0()
        encoder = Encoder("head", short_side, cache=cache, backbone=network, multiple=MULTIPLE)
        layer = network.classifier
        names = tuple(EfficientNet_B0_Weights.DEFAULT.meta["categories"])
        mirrored = named_views(views).mirrored
        classifier._encoder = ImageEncoder(encoder, (1,), mode="average", normalised=False, mirrored=mirrored)
        classifier._learnt = Planes(names, layer.weight.detach(), layer.bias.detach(), threshold=0.0)
        return classifier

    @property
    def classes_(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the scores."""
        return self._fitted().classes

    @property
    def planes_(self) -> tuple[Tensor, Tensor]:
        """Weights (K, D) and biases (K,) of the logits; minus infinity for a class without training images."""
        learnt = self._fitted()
        return learnt.weights, learnt.bias

    @property
    def threshold_(self) -> float:
        """The probability, 0..1, below which an image is said to show none of the classes."""
        return self._fitted().threshold

    @property
    def untrained_(self) -> tuple[str, ...]:
        """Classes that had no training image, and are never named."""
        known = torch.isfinite(self._fitted().bias).tolist()
        return tuple(name for name, trained in zip(self.classes_, known, strict=True) if not trained)

    # Answering

    def predict(self, image: Source) -> Prediction:
        """Name what one image of any size shows.

        Args:
            image: a path, a file's bytes, a PIL image, (H, W, 3) uint8 RGB, or a torch tensor (3, H, W).
        Raises:
            NotFittedError: neither trained nor loaded. ImageDecodeError: an image that cannot be read.
        """
        learnt = self._fitted()
        scores = learnt.scores(self.encoder_(as_source(image))[None])[0]
        return Prediction(learnt.classes, scores.numpy(), learnt.threshold)

    def explain(self, image: Source, *, count: int = 1) -> tuple[Prediction, list[Contributions]]:
        """Name what one image shows, and tell which bins made the scores of the best ``count`` classes.

        Exact, because the classifier is linear in the image's vector, square roots and scaling included:
        ``contributions.score`` is the logit. The bins of a mirror image follow the image's, where they lie on it.
        """
        learnt = self._fitted()
        maps = self.encoder_.maps(as_source(image))
        shares = self.encoder_.shares(maps)
        scores = learnt.scores(sum_of(shares)[None])[0]
        prediction = Prediction(learnt.classes, scores.numpy(), learnt.threshold)
        best = [learnt.classes.index(name) for name, _ in prediction.top(count)]
        asked = self.encoder_.levels, learnt.weights[best], learnt.bias[best]
        views = [image_contributions(each, share, *asked) for each, share in zip(maps, shares, strict=True)]
        views[1:] = [[turned(each, maps[0].size[1]) for each in view] for view in views[1:]]
        return prediction, [join_contributions(parts) for parts in zip(*views, strict=True)]

    def features(self, image: Source, regions: Boxes) -> tuple[Tensor, list[tuple[tuple[int, ...], int]]]:
        """Pool regions of an image as the whole image is pooled; its mirror image is not looked at.

        Args:
            regions: (R, 4) boxes in the image's pixels.
        Returns:
            (R, D) float32, bin by bin, and what a row is made of: levels and channels.
        """
        levels, maps = tuple(self.encoder_.levels), self.encoder_.encoder(image)
        windows = torch.from_numpy(maps.windows(check_boxes("Classifier.features", regions, maps.size)))
        pooled = pool_windows(maps.values.float(), windows, levels=levels, mode=self.encoder_.mode)
        return pooled.transpose(1, 2).flatten(1), maps.layout(levels)

    def evaluate(self, data: FolderData, *, progress: Progress = silent) -> ClassificationReport:
        """Name every image and compare with the folder that it lies in.

        Raises:
            DataError: the data's classes are not the classifier's.
        """
        learnt = self._fitted()
        if tuple(data.classes) != learnt.classes:
            raise DataError(
                f"{data.root}: must hold the classes that the model knows, got {len(data.classes)} other ones. "
                "Give data.only(classifier.classes_)."
            )
        features = [self.encoder_(path) for path in progress("Computing features", data.paths)]
        count = len(learnt.classes)
        scores = learnt.scores(torch.stack(features)).numpy() if features else np.zeros((0, count), dtype=np.float32)
        answers = [Prediction(learnt.classes, row, learnt.threshold) for row in scores]
        predicted, none = scores.argmax(axis=1), np.array([each.label == NONE for each in answers], dtype=np.bool_)
        nones = [np.bincount(data.labels[kept], minlength=count) for kept in (none, none & (predicted == data.labels))]
        return ClassificationReport(
            learnt.classes,
            mean_class_accuracy(predicted, data.labels, classes=count),
            confusion(predicted, data.labels, classes=count),
            np.stack(nones, axis=1),
        )

    # Learning

    def estimate(self, data: FolderData) -> Estimate:
        """Tell what ``fit`` will cost on this machine, from the work on one image that it times."""
        encoder = Classifier(**self.get_params()).encoder_  # of the arguments as they are now
        missing = [path for path in data.paths if not encoder.is_cached(path)]
        sample = missing[len(missing) // 2 :][:1]
        seconds = sum(timed(lambda: encoder.compute(path)) for path in sample)  # noqa: B023
        features = 4 * len(data.paths) * len(encoder)
        model = 4 * len(data.classes) * len(encoder)
        return Estimate(len(data.paths), len(missing), seconds * len(missing), BASE_MEMORY + 2 * features, model)

    def fit(
        self,
        data: FolderData | Sequence[Any],
        labels: Sequence[int | str] | None = None,
        *,
        classes: Sequence[str] | None = None,
        progress: Progress = silent,
    ) -> "Classifier":
        """Learn from labelled images; what was learnt before is dropped.

        Args:
            data: from ``load_folders``; or images, as ``predict`` takes them, with their ``labels``.
            labels: of images, (N,) indices into ``classes`` or names.
            classes: names of the classes; None: those that are used, sorted.
            progress: wraps the pass over the images, given its name.
        Returns:
            The classifier itself. The same data and machine give the same bits.
        Raises:
            DataError: fewer than two classes with images. ArgumentError: another number of labels than of images.
        """
        images, targets, names = as_labelled_images(data, labels, classes)
        if len(np.unique(targets)) < 2:
            raise DataError("Classifier.fit: must be given images of two classes at least. Add a folder of images.")
        self._encoder, self._learnt = None, None
        features = torch.stack([self.encoder_(image) for image in progress("Computing features", images)])
        check_finite(features.numpy(), self.encoder_.encoder.backbone)
        self._learnt = learn_planes(features.numpy(), targets, tuple(names))
        self.learnt_from_ = tuple(map(image_digest, images))
        return self

    # Files

    def save(self, path: Path | str) -> None:
        """Write the classifier to one safetensors file, whole or not at all."""
        learnt = self._fitted()
        metadata = {
            "kind": self.kind,
            "version": VERSION,
            "classes": list(learnt.classes),
            "encoder": self.encoder_.describe(),
            "threshold": learnt.threshold,
            "chosen": {"layer": self.layer},
            "learnt_from": list(self.learnt_from_),
        }
        own = self.encoder_.tensors()
        write_tensors(Path(path), {"weights": learnt.weights, "bias": learnt.bias} | own, metadata=metadata)

    @classmethod
    def load(cls, path: Path | str, *, cache: TensorCache | None = None) -> "Classifier":
        """Read a classifier that ``save`` wrote.

        Raises:
            CorruptFileError: a damaged file, or one that is no classifier or was made with other weights.
        """
        tensors, metadata = read_tensors(Path(path))
        return cls.from_file(Path(path), tensors, metadata, cache=cache)

    @classmethod
    def from_file(
        cls, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, cache: TensorCache | None = None
    ) -> "Classifier":
        """Make the classifier of what a file holds; raises as ``load``."""
        check_model(path, metadata, kind=cls.kind, version=VERSION)
        encoder = ImageEncoder.from_description(metadata["encoder"], tensors, cache=cache)
        below = encoder.encoder
        classifier = cls(
            short_side=below.short_side,
            backbone=choice_of(below.backbone),
            layer=metadata["chosen"]["layer"],
            levels=encoder.levels,
            views="mirrored" if encoder.mirrored else "whole",
            cache=cache,
        )
        classes = tuple(metadata["classes"])
        classifier._encoder = encoder
        classifier.learnt_from_ = tuple(metadata["learnt_from"])
        classifier._learnt = Planes(classes, tensors["weights"], tensors["bias"], float(metadata["threshold"]))
        return classifier

    def _fitted(self) -> "Planes":
        if self._learnt is None:
            raise NotFittedError("Classifier: must be trained, got one that is not. Call fit, or load a model file.")
        return self._learnt


def learn_planes(features: NDArray[np.float32], labels: NDArray[np.int64], names: tuple[str, ...]) -> "Planes":
    """Learn a plane a class, how sharp their softmax must be to be a probability, and which is too low to be known."""
    targets = one_vs_rest(labels, len(names))
    solve = _solved if len(features) <= MOST_SOLVED else _descended
    weights, bias, margins, rows = solve(features, targets)
    known = (targets == 1).any(axis=0)
    bias, margins = np.where(known, bias, -np.inf).astype(np.float32), np.where(known, margins, -np.inf)
    alone = np.bincount(labels)[labels[rows]] == 1  # of a class's only image the others say nothing
    rows, margins = rows[~alone], margins[~alone]
    factor = sharpness(margins, labels[rows])
    sure = torch.from_numpy(factor * margins).softmax(dim=1).numpy()
    threshold = least_known(sure.max(axis=1, initial=0.0), sure.argmax(axis=1) == labels[rows]) if len(rows) else 0.0
    return Planes(names, torch.from_numpy(factor * weights), torch.from_numpy(factor * bias), threshold)


# Planes, and what planes that were learnt from other images say: weights (K, D), biases (K,), margins (R, K) and the
# rows (R,) that have them.
Learnt = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]


def _solved(features: NDArray[np.float32], targets: NDArray[np.int8]) -> Learnt:
    weights, bias, margins = ridge_held_out(features, targets.astype(np.float64), penalty=PENALTY)
    return weights, bias, margins, np.arange(len(features))


def _descended(features: NDArray[np.float32], targets: NDArray[np.int8]) -> Learnt:
    """Of very many images a tenth is held out."""
    rows = np.arange(0, len(features), 10)
    others = np.setdiff1d(np.arange(len(features)), rows)
    svm, held = (
        train_svm(features[learnt], targets[learnt], cost=COST, squared=True)
        for learnt in (np.arange(len(features)), others)
    )
    margins = features[rows] @ held.weights.numpy().T + held.bias.numpy()
    return svm.weights.numpy(), svm.bias.numpy(), margins.astype(np.float64), rows


@dataclass(frozen=True)
class Planes:
    """What a classifier has learnt.

    Args:
        classes: K names. weights: (K, D) float32. bias: (K,) float32, minus infinity for a class without images; of
            logits. threshold: the probability of the best class below which an image shows none of them.
    """

    classes: tuple[str, ...]
    weights: Tensor
    bias: Tensor
    threshold: float

    def scores(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, K) probabilities."""
        return torch.addmm(self.bias, features, self.weights.T).softmax(dim=1)
