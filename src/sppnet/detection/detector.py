"""Images of any size -> detections: learnt from a few labelled images, changed by every correction (paper, Sec. 4)."""

import threading
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.backbones import DEFAULT, Backbone, check_same_weights, choice_of, chosen_backbone, placed
from sppnet.data import DetectionData, as_detection_data
from sppnet.detection.cost import fit_estimate
from sppnet.detection.deep import DeepPlan, DeepReport, check_tunable, deepen
from sppnet.detection.detections import Detections, check_threshold
from sppnet.detection.examples import ImageLabels, labels_of, scene_of
from sppnet.detection.files import choices_from_description, describe_choices, describe_model, model_from_description
from sppnet.detection.head import RegionHead
from sppnet.detection.kept import KeptImage, known_as, name_of
from sppnet.detection.learner import Learner
from sppnet.detection.model import DetectorModel
from sppnet.detection.regions import Choice, FittingRegions, unlearnt_regions
from sppnet.detection.scale import as_scales, fitting_short_side, scales_for
from sppnet.detection.settings import Settings, chosen_settings
from sppnet.detection.validation import hold_out
from sppnet.errors import ArgumentError, DataError, NotFittedError, check_that, message
from sppnet.evaluation.matching import Judged
from sppnet.evaluation.precision import DetectionReport, detection_report
from sppnet.features.contributions import Contributions
from sppnet.features.encoder import MapsEncoder
from sppnet.features.files import encoder_of, encoder_with
from sppnet.features.maps import Maps
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, check_boxes
from sppnet.images import Source, as_source, is_one_image, read_size
from sppnet.learning.calibration import Calibration
from sppnet.learning.parameters import Parameters
from sppnet.progress import Estimate, Progress, silent
from sppnet.proposals.files import check_names, told_apart
from sppnet.proposals.protocol import Proposals
from sppnet.storage import TensorCache, check_model, read_tensors, write_tensors

VERSION: Final = 2
LEVELS: Final = (3, 2, 1)


class Detector(Parameters):
    """Learns to find objects from a few labelled images, on a laptop, in minutes.

    The network is frozen; what is learnt is one linear SVM and one box regression a class over the pyramid
    features of regions. Maps are cached, so learning again after a label changed takes a second.

    Args:
        short_side: images are scaled to this shorter side; None chooses by the training images and objects, in
            ``update`` by the first image. Several: each region is taken from the scale that suits it (paper, Sec. 4.1).
        backbone: the network: a name that ``sppnet.backbones.backbone`` knows, or what that returns.
        layers: the backbone's feature maps that regions are pooled from, the finest first; None are its own choice.
        levels: bins per side of each level of the pyramid.
        proposals: where regions come from; None makes a dense grid of shapes that fit the labelled boxes and, where
            that is large, keeps of it the 3,000 regions of an image that look most like an object, see
            ``sppnet.proposals.learnt``; "learnt" does so from the first label on.
        settings: how it learns and answers: "ours", "paper", "released" or ``Settings`` of your own.
        encoder: what makes the maps instead of the network alone: layers on top, R-CNN's crops.
        cache: where feature maps are kept between runs; None keeps nothing.
        device: where maps are computed, pooled and scored: "cpu", "cuda", "mps" or "auto".
        seed: of the choice among training regions.

    What was learnt ends in an underscore. ``model_`` is what answers, and never changes: learning puts another in its
    place. ``deep_`` is what tuning the convolutions came to, None where it was not asked for. ``held_out_`` is what the
    last ``calibrate`` found in images, by their paths or keys, when it had not learnt from them.

    >>> Detector(levels=(2, 1))
    Detector(levels=(2, 1))
    """

    kind: Final[Literal["detector"]] = "detector"
    deep_: DeepReport | None

    def __init__(
        self,
        *,
        short_side: int | Sequence[int] | None = None,
        backbone: str | Backbone = DEFAULT,
        layers: Sequence[str] | None = None,
        levels: Sequence[int] = LEVELS,
        proposals: Choice = None,
        settings: str | Settings = "ours",
        encoder: MapsEncoder | None = None,
        cache: TensorCache | None = None,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.short_side, self.backbone, self.layers, self.levels = short_side, backbone, layers, levels
        self.proposals, self.settings, self.encoder, self.cache = proposals, settings, encoder, cache
        self.device, self.seed = device, seed
        self.deep_ = None
        self._learnt_from: tuple[str, ...] = ()
        self._model: DetectorModel | None = None
        self._learner: Learner | None = None
        self._encoders: dict[Hashable, MapsEncoder] = {}
        self._regions = FittingRegions()
        self._behind = False
        self.held_out_: dict[Hashable, Detections] = {}
        self._lock = threading.RLock()

    @property
    def model_(self) -> DetectorModel:
        """What answers now.

        Raises:
            NotFittedError: nothing was learnt or loaded.
        """
        if self._behind:
            self.learn()
            self.mine_again()
        if self._model is None:
            raise NotFittedError("Detector: must be trained, got one that is not. Call fit, or load a model file.")
        return self._model

    @property
    def classes_(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the scores' columns."""
        return self.model_.classes

    @property
    def thresholds_(self) -> NDArray[np.float64]:
        """The least confidence (K,) that a detection of each class is shown with."""
        return self.model_.calibration.thresholds

    @property
    def learnt_from_(self) -> tuple[str, ...]:
        """Digests of the images that it learnt from, see ``images.image_digest``."""
        return self._learnt_from

    @property
    def untrained_(self) -> tuple[str, ...]:
        """Classes that had no training object, and are never found."""
        trained = torch.isfinite(self.model_.head.bias).tolist()
        return tuple(name for name, known in zip(self.classes_, trained, strict=True) if not known)

    # Answering

    @overload
    def detect(self, images: Source, *, threshold: float | None = None, name: str = "") -> Detections: ...  # type: ignore[overload-overlap]

    @overload
    def detect(self, images: Iterable[Source], *, threshold: float | None = None) -> Iterator[Detections]: ...

    def detect(self, images: Any, *, threshold: float | None = None, name: str = "") -> Any:
        """Find the objects of one image of any size, or of many.

        Args:
            images: one image (a path, a file's bytes, a PIL image, (H, W, 3) uint8 RGB, a torch tensor (3, H, W)),
                or an iterable of them.
            threshold: the least confidence of what is returned, 0..1; None is each class's own, ``thresholds_``.
            name: the image's name, for proposals that come from a file; a path brings its own.
        Returns:
            Detections of one image, the most certain first; of many, one after the other, while the next is encoded.
        Raises:
            NotFittedError: neither trained nor loaded. ImageDecodeError: an image that cannot be read. ArgumentError:
            of many, one whose regions a file has under a name that may mean an earlier one too.
        """
        check_threshold("Detector.detect", threshold)
        model = self.model_
        if is_one_image(images):
            return model.detect(Scene(as_source(images), model.encoder, name=name), threshold=threshold)
        scenes = (Scene(as_source(image), model.encoder) for image in images)
        return model.each(told_apart(model.proposals, scenes), threshold=threshold)

    def to(self, device: str) -> "Detector":
        """Move the network to a device, as ``device`` has it; what was learnt stays, and so do answers, nearly."""
        placed(self.model_.encoder.backbone, device)
        self.device = device
        return self

    def encode_by(self, network: Backbone) -> "Detector":
        """Have another engine's network of the same weights make all maps until ``fit``; answers stay, nearly."""
        with self._lock:
            check_same_weights(self.model_.encoder.backbone, network)
            self._model = replace(self.model_, encoder=encoder_with(self.model_.encoder, network))
            if self._learner is not None:
                self._learner.encoder = self._model.encoder
            return self

    def encode(self, image: Source) -> Maps:
        """Compute the image's feature maps, once for any number of ``score`` calls."""
        source = as_source(image)
        return self._encoder(source)(source)

    def prepare_image(self, image: Source) -> None:
        """Compute and cache an image's feature maps, which is what takes long; from any thread, fitted or not."""
        source = as_source(image)
        encoder = self._encoder(source)
        if encoder.cache is not None and not encoder.is_cached(source):
            encoder(source)

    def propose(self, image: Source, *, name: str = "") -> Boxes:
        """Propose regions (R, 4) of an image, one for each window that proposals fall on."""
        return self.model_.propose(Scene(as_source(image), self.model_.encoder, name=name))

    def score(self, maps: Maps, regions: Boxes) -> NDArray[np.float32]:
        """Score regions of an encoded image for all classes.

        Args:
            maps: from ``encode``.
            regions: (R, 4) boxes in the image's pixels; what hangs out of the image is cut off.
        Returns:
            (R, K) float32, in the order of ``classes_``; minus infinity for a class without training objects.
        Raises:
            BoxError: naming the row of a region that is empty, inverted, NaN or wholly outside.
        """
        return self.model_.head.scores(maps, check_boxes("Detector.score", regions, maps.size))

    def features(self, image: Source, regions: Boxes) -> tuple[torch.Tensor, list[tuple[tuple[int, ...], int]]]:
        """Pool regions of an image as the scores see them.

        Args:
            regions: (R, 4) boxes in the image's pixels.
        Returns:
            (R, D) float32, and what a row is made of: levels and channels of each map, in its order.
        """
        maps, levels = self.model_.encoder(as_source(image)), self.model_.head.levels
        return maps.pool(check_boxes("Detector.features", regions, maps.size), levels).cpu(), maps.layout(levels)

    def explain(self, maps: Maps, detections: Detections) -> list[Contributions]:
        """Tell which bins of which window made each score of ``detect``: exactly, because the head is linear.

        Args:
            maps: of the image that the detections were found in.
        Returns:
            One for each detection; ``contributions.score`` is its score to float precision.
        Raises:
            ArgumentError: detections without regions, or maps with layers on top.
        """
        if detections.regions is None:
            advice = "Give what detect returns"
            raise ArgumentError(message("Detector.explain", "detections", "with regions", "some without", advice))
        head = self.model_.head
        weights, bias = head.weights[detections.labels], head.bias[detections.labels]
        return maps.explain(detections.regions, head.levels, weights, bias)

    # Learning

    def fit(
        self,
        data: DetectionData | Sequence[Any],
        targets: Sequence[Mapping[str, Any]] | None = None,
        *,
        classes: Sequence[str] | None = None,
        deep: bool | DeepPlan = False,
        progress: Progress = silent,
    ) -> "Detector":
        """Learn from labelled images, and how sure to be; what was learnt before is dropped.

        Args:
            data: from ``load_detection``; or images, with their ``targets`` as torchvision has them and the names of
                the ``classes``, see ``DetectionData.from_arrays``. Images without objects teach what is background.
            deep: have the network's convolutions learn too, see ``sppnet.detection.deep``; ``deep_`` tells what came of
                it. They stay as they are where images held back are no better found.
            progress: wraps each pass over the images, given its name.
        Returns:
            The detector itself. The same seed, data and machine give the same bits.
        Raises:
            DataError: no images, or no labelled object. ArgumentError: images and targets that do not fit together.
        """
        data = as_detection_data(data, targets, classes)
        with self._lock:
            learner = self._begin_anew(data)
            if deep:
                check_tunable(learner.encoder)  # before the work
            for sample in progress("Computing feature maps", data.samples):
                self.prepare_image(sample.source)
            self._learn_at_once(data.classes, progress)
            if deep:
                tuned, self.deep_ = deepen(self, data, DeepPlan() if deep is True else deep, progress=progress)
                if tuned is not None:
                    self._model, self._learner, self.held_out_ = tuned._model, tuned._learner, tuned.held_out_
            return self

    def _learn_at_once(self, classes: Sequence[str], progress: Progress) -> None:
        learner = self._told("Detector.fit")
        self.learn(classes, anew=True, progress=progress)
        if len(learner.images) > 1:
            self.calibrate(progress=progress)

    def unlearnt(self, **choices: Any) -> "Detector":
        """Return a detector of the same choices, but for those given, that has learnt nothing."""
        return Detector(**{**self.get_params(), **choices})

    def relearnt(self, *, without: Collection[Hashable] = (), progress: Progress = silent) -> "Detector":
        """Return a detector that learns at once, as ``fit`` does, what this one was told bit by bit.

        This one goes on as it is. From the same complete labels and at one scale, both ways give the same bits.

        Args:
            without: keys or paths of images to leave out, such as those that are gone.
            progress: wraps each pass over the images, given its name.
        """
        with self._lock:
            classes, learner = self.classes_, self._told("Detector.relearnt")
            gone = {known_as(each, learner.images) for each in without}
            images = [kept for kept in learner.images.values() if kept.key not in gone]
        fresh = self.unlearnt()
        fresh._learner = fresh._new_learner(learner.encoder)
        for kept in images:
            fresh._learner.update(kept.key, kept.image, kept.labels)
        fresh._learn_at_once(classes, progress)
        return fresh

    def prepare(self, data: DetectionData, *, progress: Progress = silent) -> tuple[MapsEncoder, Proposals]:
        """Return what ``fit`` would encode and propose with: as chosen, or fitted to the data, or learnt from it."""
        fresh = self.unlearnt()
        learner = fresh._begin_anew(data)
        return learner.encoder, fresh._proposals_for(learner, data.classes, anew=True, progress=progress)

    def _begin_anew(self, data: DetectionData) -> Learner:
        """Forget all, and take in what is known of a data set's images."""
        if not any(len(sample.boxes) for sample in data.samples):
            raise DataError("Detector.fit: data must hold labelled objects, got none. Label some first.")
        learner = self._new_learner(self._fresh_encoder(scales_for(data, self.short_side)))
        for sample in data.samples:
            learner.update(sample.path, sample.source, labels_of(sample, data.classes))
        self._learner, self._model, self._behind = learner, None, False
        self._learnt_from, self.held_out_, self.deep_ = (), {}, None
        return learner

    def update(self, image: Source, labels: ImageLabels | None, *, key: Hashable = None) -> "Detector":
        """Take in what is now known of one image; the next answer is learnt from it too.

        Args:
            image: what ``detect`` takes. labels: all that is known of it, in place of what was before; None forgets it.
            key: what stands for the image; a path stands for itself, however it is written.
        Returns:
            The detector itself. After ``load`` it begins anew: a file holds no examples.
        Raises:
            ImageDecodeError: an image that cannot be read. BoxError: naming the row of a box outside the image.
        """
        name = name_of(image, key)
        check_that(name is not None, "Detector.update", "key", "given for an image in memory", key, advice="Name it")
        with self._lock:
            name = known_as(name, self._learner.images if self._learner is not None else ())
            if labels is None:
                self._behind |= self._learner is not None and self._learner.forget(name)
            else:
                source = as_source(image)
                learner = self._learner or self._new_learner(self._encoder(source))
                learner.update(name, source, labels)
                self._learner, self._behind = learner, True
            return self

    def learn(
        self, classes: Sequence[str] | None = None, *, anew: bool = False, progress: Progress = silent
    ) -> DetectorModel:
        """Learn now from all that ``update`` told; ``detect`` does so by itself.

        Args:
            classes: names, in their order; None are those known before, then new ones in the order of their coming.
            anew: keep nothing of earlier learnings but the labels, as ``fit`` does.
            progress: wraps the passes over images, given their name.
        Returns:
            What answers from now on. Its confidence is that of the last ``calibrate``.
        Raises:
            DataError: no object of any of the classes. ArgumentError: a class named twice, or none.
        """
        with self._lock:
            learner = self._told("Detector.learn")
            names = tuple(classes) if classes is not None else self._known_names(learner)
            if not names or len(set(names)) < len(names):
                advice = "Name each class once"
                raise ArgumentError(message("Detector.learn", "classes", "different names", list(names), advice))
            proposals = self._proposals_for(learner, names, anew=anew, progress=progress)
            head = learner.learn(names, proposals, anew=anew, progress=progress)
            same = self._model is not None and self._model.classes == names
            calibration = self._model.calibration if self._model and same else Calibration.unknown(len(names))
            self._model = DetectorModel(learner.encoder, proposals, head, names, learner.settings, calibration)
            self._learnt_from, self._behind = tuple(kept.digest for kept in learner.images.values()), False
            return self._model

    def mine_again(self) -> None:
        """Look for hard negatives in some images that did not change, by what was learnt last.

        ``learn`` looks in those that changed alone, and takes in what is found here the next time. ``detect`` does both
        by itself; who answers a person does this after the answer.
        """
        with self._lock:
            self._told("Detector.mine_again").mine_again(self.model_.proposals)

    def calibrate(self, *, progress: Progress = silent) -> Judged:
        """Learn how sure to be, and each class's threshold of best F1, from images that are held out in turn.

        Returns:
            The detections in these images, judged: what to expect of images that were never seen.
        Raises:
            DataError: fewer than two labelled images.
        """
        with self._lock:
            model, learner = self.model_, self._told("Detector.calibrate")

            def answer(head: RegionHead, images: Sequence[KeptImage]) -> Iterator[Detections]:
                return replace(model, head=head).each((kept.scene(model.encoder) for kept in images), threshold=0)

            held = hold_out(learner, model.head, model.classes, answer, progress=progress)
            self._model = sure = replace(model, calibration=held.calibrated())
            self.held_out_ = {key: sure.sure_of(each) for key, each in held.found.items()}
            return held.sure_by(sure.calibration)

    def estimate(self, data: DetectionData) -> Estimate:
        """Tell what ``fit`` will cost on this machine, from the work on one image that it times."""
        learner = self.unlearnt()._begin_anew(data)
        return fit_estimate(learner.encoder, unlearnt_regions(self.proposals, learner, data.classes), self.levels, data)

    def evaluate(self, data: DetectionData, *, iou: float = 0.5, progress: Progress = silent) -> DetectionReport:
        """Detect in every image and compare with its labels: VOC average precision at ``iou``, F1 at the thresholds."""
        if data.classes != self.classes_:
            known, held = (", ".join(classes) for classes in (self.classes_, data.classes))
            advice = "Give data.only(detector.classes_)"
            raise DataError(f"{data.root}: must hold the classes {known}, got {held}. {advice}.")
        model = self.model_
        check_names(model.proposals, (scene_of(sample, model.encoder).name for sample in data.samples))
        scenes = (scene_of(sample, model.encoder) for sample in progress("Detecting", data.samples))
        found = list(model.each(scenes, threshold=0))
        return detection_report(found, data.samples, self.classes_, iou=iou, thresholds=self.thresholds_)

    # Files

    def save(self, path: Path | str) -> None:
        """Write the detector to one safetensors file, whole or not at all."""
        description, tensors = describe_model(self.model_)
        own = {"chosen": describe_choices(self.get_params()), "seed": self.seed, "learnt_from": list(self.learnt_from_)}
        metadata = {"kind": self.kind, "version": VERSION, **description, **own}
        write_tensors(Path(path), tensors, metadata=metadata)

    @classmethod
    def load(cls, path: Path | str, *, cache: TensorCache | None = None) -> "Detector":
        """Read a detector that ``save`` wrote; every choice reads as the file has it.

        Raises:
            CorruptFileError: a damaged file, or one that is no detector or was made with other weights.
        """
        tensors, metadata = read_tensors(Path(path))
        return cls.from_file(Path(path), tensors, metadata, cache=cache)

    @classmethod
    def from_file(
        cls,
        path: Path,
        tensors: Mapping[str, torch.Tensor],
        metadata: Mapping[str, Any],
        *,
        cache: TensorCache | None = None,
    ) -> "Detector":
        """Make the detector of what a file holds; raises as ``load``."""
        check_model(path, metadata, kind=cls.kind, version=VERSION)
        model = model_from_description(metadata, tensors, cache=cache)
        detector = cls(**choices_from_description(metadata["chosen"], model), cache=cache, seed=metadata["seed"])
        if detector.encoder is None:
            detector.backbone = choice_of(model.encoder.backbone)
        detector._model, detector._learnt_from = model, tuple(metadata["learnt_from"])
        return detector

    # What is chosen

    def _encoder(self, image: Source) -> MapsEncoder:
        """Return what encodes images: the learner's, the model's, or a fresh one, of a scale for this image."""
        known = self._learner or self._model
        if known is not None:
            return known.encoder
        chosen = self.short_side
        return self._fresh_encoder(as_scales(fitting_short_side([read_size(image)]) if chosen is None else chosen))

    def _fresh_encoder(self, scales: tuple[int, ...]) -> MapsEncoder:
        """Return the user's encoder, or one of these scales, of which one is kept."""
        if self.encoder is not None:
            return self.encoder
        layers = None if self.layers is None else tuple(self.layers)
        wanted = self.backbone, layers, scales, chosen_settings(self.settings).rule, self.cache, self.device
        if wanted not in self._encoders:
            network = chosen_backbone(self.backbone, self.device)
            taken = network.detector_layers if layers is None else layers
            self._encoders = {wanted: encoder_of(taken, scales, cache=self.cache, rule=wanted[3], backbone=network)}
        return self._encoders[wanted]

    def _new_learner(self, encoder: MapsEncoder) -> Learner:
        return Learner(encoder, levels=self.levels, settings=chosen_settings(self.settings), seed=self.seed)

    def _told(self, function: str) -> Learner:
        if self._learner is None:
            raise NotFittedError(f"{function}: must know labelled images, got none. Call update or fit first.")
        return self._learner

    def _known_names(self, learner: Learner) -> tuple[str, ...]:
        before = self._model.classes if self._model is not None else ()
        coming = (name for kept in learner.images.values() for name in kept.labels.classes)
        return tuple(dict.fromkeys([*before, *coming]))

    def _proposals_for(self, learner: Learner, names: Sequence[str], *, anew: bool, progress: Progress) -> Proposals:
        return self._regions.chosen(self.proposals, learner, names, anew=anew, seed=self.seed, progress=progress)
