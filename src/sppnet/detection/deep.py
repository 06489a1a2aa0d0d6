"""The convolutions learn too: end to end through the pooling, from the linear detector on.

The paper leaves them as they are; Fast R-CNN (Girshick 2015) showed what that costs. Here a fold of the images is held
back. The network is tuned on the others by the scores' logistic loss and the boxes' smooth L1, with mirrored and
rescaled images and averaged weights; then the linear detector is learnt again on the tuned maps. It is kept if it is
better in the fold, at a loose overlap and at a tight one together and at neither worse; otherwise nothing has changed.
"""

import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sppnet.backbones import Backbone, placed
from sppnet.backbones.kinds import with_weights
from sppnet.data import DetectionData
from sppnet.detection.examples import scene_of
from sppnet.detection.head import RegionHead
from sppnet.detection.model import DetectorModel
from sppnet.detection.tuning_image import BOX_IOU, TuningImage
from sppnet.errors import check_that, counted
from sppnet.evaluation.precision import detection_report
from sppnet.features.encoder import MapsEncoder
from sppnet.features.files import encoder_with
from sppnet.geometry import Boxes, box_deltas
from sppnet.images import image_digest
from sppnet.learning.descent import optimiser_tensors, restore_optimiser
from sppnet.learning.processes import agreed, any_process, rank, summed, world
from sppnet.progress import Progress, silent
from sppnet.proposals.files import basis_of
from sppnet.proposals.learnt import METHOD
from sppnet.storage import cache_key, read_tensors, write_tensors

HELD_OUT: Final = 5  # one image in so many is held back
FEWEST: Final = 10  # images, from which on tuning is tried
JUDGED: Final = 16  # held-back images at most that each epoch's figure is of
MOST_EPOCHS: Final = 12
OVERLAPS: Final = (0.5, 0.7)  # IoU, that both count
WORSE: Final = 0.005  # of mean average precision at one overlap is chance, where the other gains more
RATE: Final = 2e-4  # of the convolutions, an image a step; at 1e-3 the start is lost
HEAD_RATE: Final = 2e-5
SHARPNESS: Final = 2.0  # logits a unit of the SVM's score: its margin is where the logistic loss is nearly flat
BOX_LOSS: Final = 1.0
BOX_BETA: Final = 0.1  # deltas from which the smooth L1 loss is linear
FINEST: Final = 4  # pixels: layers of finer cells stay: edges look the same everywhere, and they take longest
AVERAGED: Final = 0.99  # of the averaged weights are kept a step
STATE: Final = "deep.safetensors"
PROBE: Final = torch.zeros(1, 3, 64, 64)  # pixels that tell each layer's cells
TIMED: Final = 3  # steps that an estimate is made from


@dataclass(frozen=True)
class DeepPlan:
    """How the convolutions are tuned.

    Args:
        epochs: passes over the images; None makes as many as fit into ``minutes``. The same number gives, on a
            processor, the same bits.
        batch: images a step, of all processes that ``torchrun`` started; None: one in each.
        minutes: that tuning may take, without the linear detectors before and after it.
        folder: where the state is kept after each epoch, so that an interrupted run goes on; None keeps none.
    """

    epochs: int | None = None
    minutes: float = 15.0
    folder: Path | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        """Raise ArgumentError for what is no number of epochs or minutes."""
        fits = self.epochs is None or self.epochs >= 1
        check_that(fits, "DeepPlan", "epochs", "1 or more", self.epochs, advice="Leave it out to go by the clock")
        shared = self.batch is None or (self.batch >= 1 and self.batch % world() == 0)
        expected = f"a multiple of the {world()} processes"
        check_that(shared, "DeepPlan", "batch", expected, self.batch, advice="Leave it out for an image in each")
        check_that(self.minutes > 0, "DeepPlan", "minutes", "above 0", self.minutes, advice="Try 15")


@dataclass(frozen=True)
class DeepReport:
    """What came of tuning.

    Args:
        kept: whether the tuned network is in use. held_out: images that decided.
        before, after: mean average precision in them at IoU 0.5 and 0.7: of the linear detector on the network as it
            was, and on the tuned one; empty where nothing was tried.
        epochs: that were run. curve: the mean of both after each, of some held-back images, before the linear part is
            learnt.
    """

    kept: bool
    held_out: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    epochs: int
    curve: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: figures by their IoU, null where nothing was tried."""
        own = {"kept": self.kept, "held_out": self.held_out, "epochs": self.epochs, "curve": list(self.curve)}
        both = {"before": self.before, "after": self.after}
        return own | {name: dict(zip(map(str, OVERLAPS), found, strict=False)) or None for name, found in both.items()}

    def __str__(self) -> str:
        """Tell it in a sentence."""
        if not self.held_out:
            needed = f"{FEWEST} with objects are needed, some of them among every fifth, which are held back"
            return f"The convolutions stay as they are: these images are too few to tell ({needed})."
        verdict = "kept" if self.kept else "not better at both, so the network stays as it was"
        epochs = counted(self.epochs, "epoch")
        before, after = (" / ".join(f"{each:.1%}" for each in found) for found in (self.before, self.after))
        figures = f"mAP at IoU {' / '.join(map(str, OVERLAPS))} is {before} before, {after} after {epochs}"
        return f"Tuned convolutions in {self.held_out} images held back: {figures}: {verdict}."


class Learnable(Protocol):
    """A detector, as far as it is needed here."""

    seed: int
    encoder: MapsEncoder | None

    @property
    def model_(self) -> DetectorModel:
        """What answers."""

    def get_params(self) -> dict[str, Any]:
        """Return what it was made with."""

    def fit(self, data: DetectionData, /, *, progress: Progress) -> Any:
        """Learn from images."""


Kind = TypeVar("Kind", bound=Learnable)


def deepen(
    detector: Kind, data: DetectionData, plan: DeepPlan, *, progress: Progress = silent
) -> tuple[Kind | None, DeepReport]:
    """Tune the convolutions of a detector, and tell whether it is better for it.

    Args:
        detector: is not changed; others of its kind are made of its parameters.
        data: all images.
        progress: wraps each pass; the name of a pass over the images has the last held-out figure.
    Returns:
        A detector on the tuned network that has learnt from all images, None where it is no better; what was measured.
    Raises:
        ArgumentError: layers stand on the maps, see ``check_tunable``. KeyboardInterrupt: the next call with the same
        folder goes on.
    """

    chosen = detector.get_params()
    given = chosen["proposals"]
    if given not in (None, METHOD) and given.describe()["method"] == METHOD:
        chosen["proposals"] = METHOD  # learnt on the maps as they were: anew on others

    def fit(encoder: MapsEncoder | None, part: DetectionData) -> Kind:
        made = type(detector)(**chosen | {"encoder": encoder or detector.encoder})
        made.fit(part, progress=progress)
        return made

    parts = held_back(data)
    if parts is None:
        return None, DeepReport(False, 0, (), (), 0, ())
    train, judged = parts
    linear = fit(None, train).model_
    before = quality(linear, judged)
    backbone, curve = tune(linear, train, judged, plan, seed=detector.seed, progress=progress)
    encoder = encoder_with(linear.encoder, backbone)
    after = quality(fit(encoder, train).model_, judged)
    report = DeepReport(_better(before, after), len(judged), before, after, len(curve), curve)
    return (fit(encoder, data) if report.kept else None), report


def held_back(data: DetectionData) -> tuple[DetectionData, DetectionData] | None:
    """Return the images to tune on and those that decide; None where they are too few to tell."""
    held = [index for index in range(len(data)) if index % HELD_OUT == HELD_OUT // 2]
    train = data.subset([index for index in range(len(data)) if index not in set(held)])
    judged = data.subset(held)
    objects = [sum(len(sample.boxes) > 0 for sample in part) for part in (train, judged)]
    return None if sum(objects) < FEWEST or min(objects) < 1 else (train, judged)


def quality(model: DetectorModel, data: DetectionData, regions: Sequence[Boxes] | None = None) -> tuple[float, ...]:
    """Return the mean average precision of a model in labelled images at each overlap, in every process the first's.

    Args:
        regions: (R, 4) of each image; None has the model propose them.
    """
    scenes = (scene_of(sample, model.encoder) for sample in data)
    if regions is None:
        found = list(model.each(scenes, threshold=0))
    else:
        pairs = zip(scenes, regions, strict=True)
        found = [model.detect_among(among, scene.maps, threshold=0) for scene, among in pairs]
    return tuple(agreed(detection_report(found, data.samples, data.classes, iou=at).mean) for at in OVERLAPS)


def _better(before: Sequence[float], after: Sequence[float]) -> bool:
    gains = np.subtract(after, before)
    return bool(gains.mean() > 0 and gains.min() >= -WORSE)


def tune(
    model: DetectorModel,
    train: DetectionData,
    judged: DetectionData,
    plan: DeepPlan,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Backbone, tuple[float, ...]]:
    """Tune a model's network on labelled images.

    Returns:
        The network with averaged weights, rounded to half precision as files hold them; the figure of each epoch.
    Raises:
        ArgumentError: layers stand on the maps.
    """
    batch = plan.batch or world()
    check_tunable(model.encoder)
    tuning = _Tuning(model, batch, _identity(model, train, judged, seed, batch))
    images = [TuningImage.of(sample, model, train.classes) for sample in progress("Looking at regions", train.samples)]
    steps = math.ceil(len(images) / batch)  # an epoch
    epochs = plan.epochs or tuning.begun(plan.folder, steps) or tuning.epochs_within(60 * plan.minutes, images)
    tuning.begin(epochs * steps)
    curve = tuning.resume(plan.folder)
    some = judged.subset(np.linspace(0, len(judged) - 1, min(JUDGED, len(judged))).round().astype(int).tolist())
    # Proposals may be learnt on the network's maps as they were, so that the tuned one cannot make them.
    regions = [model.propose(scene_of(sample, model.encoder)) for sample in some]
    for epoch in range(len(curve), epochs):
        told = f", {curve[-1]:.1%} in held-out images" if curve else ""
        order = np.random.default_rng((seed, epoch)).permutation(len(images))
        for first in progress(f"Tuning, epoch {epoch + 1} of {epochs}{told}", range(0, len(order), batch)):
            own = order[first : first + batch][rank() :: world()].tolist()
            tuning.step([(images[place], np.random.default_rng((seed, epoch, place))) for place in own])
        curve = (*curve, float(np.mean(quality(tuning.model(), some, regions))))
        tuning.save(plan.folder, curve)
    return tuning.backbone(), curve


def check_tunable(encoder: MapsEncoder) -> None:
    """Raise ArgumentError where layers stand on an encoder's maps."""
    expected, advice = "maps without layers on top", "Leave the layers out, or use fine_tuned for them"
    pooled = encoder.split()[1] is None
    check_that(pooled, "Detector.fit", "encoder", expected, "one with layers", advice=advice)


def _identity(model: DetectorModel, train: DetectionData, judged: DetectionData, seed: int, batch: int) -> str:
    """Return what stands for all that tuning depends on: an interrupted run of anything else is not gone on with."""
    told = {"levels": model.head.levels, "settings": model.settings.describe(), "regions": basis_of(model.proposals)}
    parts: list[str | int | bytes] = [model.encoder.fingerprint, seed, batch, json.dumps(told, sort_keys=True)]
    for data in (train, judged):
        parts += [len(data), *data.classes]
        for each in data.samples:
            known = each.boxes, each.labels, each.difficult, each.crowd
            parts += [image_digest(each.source), *(values.tobytes() for values in known)]
    return cache_key(*parts)


class _Tuning:
    """The network and the head as they learn, and their averages."""

    def __init__(self, model: DetectorModel, batch: int, identity: str) -> None:
        self._model, self._batch, self._identity, encoder = model, batch, identity, model.encoder
        self._network = cast(nn.Module, copy.deepcopy(encoder.backbone)).requires_grad_(True)
        _freeze_finest(self._network)
        head = model.head
        self._known = torch.isfinite(head.bias)  # a class without objects has nothing to learn from
        tensors = (head.weights, head.bias.masked_fill(~self._known, 0.0), head.delta_weights, head.delta_bias)
        device = encoder.backbone.device
        self._head = nn.ParameterList(nn.Parameter(tensor.clone().to(device)) for tensor in tensors)
        self._module = nn.ModuleDict({"network": self._network, "head": self._head})

    def begin(self, steps: int) -> None:
        """Make ready for so many steps."""
        self._steps = steps
        faster = math.sqrt(self._batch)  # fewer steps, each surer
        rates = {"network": RATE * faster, "head": HEAD_RATE * faster}
        groups = [
            {"params": [each for each in self._module[name].parameters() if each.requires_grad], "lr": rate}
            for name, rate in rates.items()
        ]
        self._optimiser = torch.optim.AdamW(groups, foreach=True)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, steps)
        average = get_ema_multi_avg_fn(AVERAGED)  # type: ignore[no-untyped-call]
        self._averaged = AveragedModel(self._module, multi_avg_fn=average)

    def epochs_within(self, seconds: float, images: Sequence[TuningImage]) -> int:
        """Return how many epochs fit into a time, by that of a few steps on a copy; one at least."""
        trial = copy.deepcopy(self)
        trial.begin(TIMED + 1)
        start = time.perf_counter()
        for place in np.linspace(0, len(images) - 1, TIMED + 1).round().astype(int).tolist():
            trial.step([(images[place], np.random.default_rng(0))])
            if place == 0:
                start = time.perf_counter()  # the first step pays for compiling
        image = (time.perf_counter() - start) / TIMED
        return int(agreed(np.clip(seconds // (image * len(images) / world()), 1, MOST_EPOCHS)))

    def step(self, own: Sequence[tuple[TuningImage, np.random.Generator]]) -> None:
        """Learn from this process's images of a batch, and what the others learn from theirs."""
        self._optimiser.zero_grad(set_to_none=True)
        for image, rng in own:
            torch.autograd.backward(self._loss(image, rng) / self._batch)
        self._add_up()
        self._optimiser.step()
        self._schedule.step()
        self._averaged.update_parameters(self._module)

    def _add_up(self) -> None:
        """Add up the gradients of all processes; what none of them used stays as it is."""
        parameters = [each for group in self._optimiser.param_groups for each in group["params"]]
        used = any_process(*(each.grad is not None for each in parameters), device=parameters[0].device)
        for parameter in (each for each, moved in zip(parameters, used, strict=True) if moved):
            parameter.grad = summed(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)

    def _loss(self, image: TuningImage, rng: np.random.Generator) -> Tensor:
        """Return the loss in what is seen of one image."""
        seen = image.view(self._model.encoder.scales, rng)
        maps = seen.maps(cast(Any, self._network), self._model.encoder.layers, self._model.settings.rule)
        rows, chosen = maps.pool(seen.regions, self._model.head.levels), seen.chosen
        targets = torch.from_numpy(image.targets[chosen])[:, self._known]
        loss = self._score_loss(rows, targets)
        moved = np.flatnonzero(image.overlaps[chosen] >= BOX_IOU)
        if len(moved):
            owners = image.owners[chosen[moved]]
            deltas = box_deltas(maps.align_to_cells(seen.regions[moved]), seen.objects[owners])
            names = image.labels.indices(self._model.classes)[image.labels.counted]
            loss = loss + BOX_LOSS * self._box_loss(rows[moved], names[owners], deltas)
        return loss

    def _score_loss(self, rows: Tensor, targets: Tensor) -> Tensor:
        known, targets = self._known.to(rows.device), targets.to(rows.device)
        weights, bias = self._head[0][known], self._head[1][known]
        logits = SHARPNESS * torch.addmm(bias, rows, weights.T)
        counted = targets != 0
        losses = F.binary_cross_entropy_with_logits(logits, (targets > 0).float(), reduction="none")
        return losses[counted].sum() / max(len(rows), 1)

    def _box_loss(self, rows: Tensor, labels: NDArray[np.int64], deltas: NDArray[np.float64]) -> Tensor:
        of, wanted = torch.from_numpy(labels).to(rows.device), torch.from_numpy(deltas).float().to(rows.device)
        every = torch.einsum("nd,kcd->nkc", rows, self._head[2]) + self._head[3]
        found = every[torch.arange(len(of), device=of.device), of]
        return F.smooth_l1_loss(found, wanted, beta=BOX_BETA, reduction="sum") / len(of)

    # What has been learnt

    def backbone(self) -> Backbone:
        """Return the network with averaged weights, rounded to half precision."""
        averaged = cast(Any, self._averaged.module)["network"]
        state = {
            name: value.half() if value.is_floating_point() else value
            for name, value in averaged.trainable().state_dict().items()
        }
        before = self._model.encoder.backbone
        return placed(with_weights(before, state), str(before.device))

    def model(self) -> DetectorModel:
        """Return a model of the averaged network and head, to be judged."""
        weights, bias, moves, offsets = (each.detach().cpu() for each in cast(Any, self._averaged.module)["head"])
        head = RegionHead(self._model.head.levels, weights, bias.masked_fill(~self._known, -math.inf), moves, offsets)
        encoder = encoder_with(self._model.encoder, self.backbone(), cached=False)
        return replace(self._model, encoder=encoder, head=head)

    # State

    def save(self, folder: Path | None, curve: Sequence[float]) -> None:
        """Write all that goes on after this epoch, whole or not at all."""
        if folder is None or rank() > 0:
            return
        tensors = {f"module.{name}": value for name, value in self._module.state_dict().items()}
        tensors |= {f"averaged.{name}": value for name, value in self._averaged.state_dict().items()}
        tensors |= {f"optimiser.{name}": value for name, value in optimiser_tensors(self._optimiser).items()}
        rates = [group["lr"] for group in self._optimiser.param_groups]
        done = {"identity": self._identity, "steps": self._steps, "curve": list(curve), "rates": rates}
        write_tensors(folder / STATE, tensors, metadata=done | {"step": self._schedule.last_epoch})

    def begun(self, folder: Path | None, steps: int) -> int:
        """Return how many epochs an interrupted run that depends on the same was to have; 0: there is none."""
        if folder is None or not (folder / STATE).exists():
            return 0
        _, done = read_tensors(folder / STATE)
        return int(done["steps"]) // steps if done["identity"] == self._identity else 0

    def resume(self, folder: Path | None) -> tuple[float, ...]:
        """Go on from a state of the same identity and number of steps; return the figures so far."""
        if folder is None or not (folder / STATE).exists():
            return ()
        tensors, done = read_tensors(folder / STATE)
        if (done["identity"], done["steps"]) != (self._identity, self._steps):
            return ()
        self._module.load_state_dict(_below("module.", tensors))
        self._averaged.load_state_dict(_below("averaged.", tensors))
        restore_optimiser(self._optimiser, _below("optimiser.", tensors))
        for group, rate in zip(self._optimiser.param_groups, done["rates"], strict=True):
            group["lr"] = rate
        self._schedule.last_epoch = done["step"]
        return tuple(done["curve"])


def _freeze_finest(network: nn.Module) -> None:
    """Leave as they are the weights of layers whose cells are finer than ``FINEST`` pixels (as Girshick 2015 does)."""

    def freeze(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001
        # Axis 2 is a side of the map whether channels come before (most networks) or last (within ConvNeXt's blocks).
        if isinstance(output, Tensor) and output.ndim == PROBE.ndim and output.shape[2] * FINEST > PROBE.shape[2]:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)

    hooks = [module.register_forward_hook(freeze) for module in network.modules()]
    with torch.no_grad():
        backbone = cast(Backbone, network)
        backbone.activations(PROBE.to(backbone.device), backbone.channels)
    for hook in hooks:
        hook.remove()


def remove_state(folder: Path) -> None:
    """Remove the state of a run that has ended, and its folder if nothing else lies in it."""
    (folder / STATE).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
