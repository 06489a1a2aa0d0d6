"""The loop: steps of SGD over epochs, from the start or from where it was interrupted."""

import copy
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sppnet.errors import DataError, check_that
from sppnet.evaluation.classes import top_k_error
from sppnet.learning.descent import optimiser_tensors, restore_optimiser
from sppnet.learning.processes import any_process, rank, summed, world
from sppnet.progress import BASE_MEMORY, Estimate, Progress, silent, timed
from sppnet.storage import read_tensors, write_tensors
from sppnet.training.augmentation import epoch_order
from sppnet.training.images import Batch, Images, SampleRequest
from sppnet.training.log import Log
from sppnet.training.plan import Plan, generator, rate_schedule, schedule_state

FORMAT: Final = "sppnet training 2"
STATE: Final = "state.safetensors"
SAVE_EVERY: Final = 600.0  # seconds between states within an epoch
AGREE_EVERY: Final = 20  # steps between questions of several processes whether one was told to stop
LOG_EVERY: Final = 100  # steps between lines of the log within an epoch
TOP: Final = 5
TRIED: Final = 16  # images that an estimate is made from


@dataclass(frozen=True)
class Epoch:
    """What came of one epoch.

    Args:
        epoch: from 1. size: side of its inputs in pixels. rate: of learning.
        loss: mean over its steps, with dropout and changed images. error: share of them named wrong.
        validation_error, validation_top5_error: of the centres of the validation images; None without any.
        images_per_second: that were learnt from, in all processes.
    """

    epoch: int
    size: int
    rate: float
    loss: float
    error: float
    validation_error: float | None
    validation_top5_error: float | None
    images_per_second: float


class Trainer:
    """Trains a network on labelled images; interrupted at any moment, it goes on from its last state.

    What a run becomes follows from network, data, plan and number of processes alone: on the processor, with the same
    number of threads, the same ones give the same bits, interrupted or not. torch's generators are set anew at
    every step. Parameters that want no gradient are left as they are.

    Args:
        network: (N, 3, S, S) pixels -> (N, K) logits, on the device to train on. Pixels are RGB,
            ``(value - mean) / std``, by its attributes ``mean`` and ``std``.
        images: to learn from.
        plan: epochs, sizes, rates.
        folder: of the run: ``state.safetensors``, ``log.jsonl``, and events for TensorBoard if that is installed.
        validation: images whose error ends an epoch and tells plateaus; without them the training error does.
    Raises:
        DataError: fewer images than a batch, or a state in ``folder`` of another plan, network or data.
        CorruptFileError: a damaged state.
    """

    def __init__(
        self, network: nn.Module, images: Images, plan: Plan, *, folder: Path, validation: Images | None = None
    ) -> None:
        self.network, self.images, self.plan, self.validation = network, images, plan, validation
        self.folder = Path(folder)
        self.step = 0
        """How many steps are done."""
        self.save_every, self.log_every = SAVE_EVERY, LOG_EVERY
        self._agree_every = 1 if world() == 1 else AGREE_EVERY
        self._device = next(network.parameters()).device
        self._check()
        learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.SGD(learnt, plan.rate, plan.momentum, weight_decay=plan.decay)
        self._schedule = rate_schedule(plan, self._optimiser)
        self._averaged = None if plan.average is None else _averaged(network, plan.average)
        self._sums = torch.zeros(3, dtype=torch.float64, device=self._device)  # of the epoch: losses, errors, images
        self._resume()
        self._wrapped = DistributedDataParallel(network) if world() > 1 else network

    @property
    def steps_per_epoch(self) -> int:
        """The whole batches that the images give; the few left over differ from epoch to epoch."""
        return len(self.images) // self.plan.batch

    @property
    def result(self) -> nn.Module:
        """The network to use: with averaged weights where the plan asks for them."""
        return self.network if self._averaged is None else self._averaged.module

    def estimate(self) -> Estimate:
        """Tell what is left to do on this device, from the work on a few blank images that it times.

        Decoding goes on beside it and is not counted, nor is validation.
        """
        count = min(self.plan.batch, TRIED)
        network = copy.deepcopy(self.network).train()
        side = self.plan.crop
        batch = Batch(
            torch.zeros(count, side, side, 3, dtype=torch.uint8), torch.zeros(count, 3), torch.zeros(count).long()
        )
        held = 0

        def hold(tensor: Tensor) -> Tensor:
            nonlocal held
            held += tensor.nbytes
            return tensor

        def work() -> None:
            nonlocal held
            held = 0
            with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
                loss = F.cross_entropy(self._logits(network, batch), batch.labels.to(self._device))
            torch.autograd.backward(loss)
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)

        seconds = timed(work) / count
        left = (self.plan.epochs * self.steps_per_epoch - self.step) * self.plan.batch
        areas = [self.plan.size(epoch) ** 2 for epoch in range(self.plan.epochs)]
        share = sum(areas) / len(areas) / side**2 / world()
        weights = sum(value.nbytes for value in network.state_dict().values())
        copies = 3 if self._averaged is None else 4  # weights, gradients, momenta, averages
        memory = BASE_MEMORY + copies * weights + held * self.plan.batch // world() // count
        return Estimate(len(self.images), len(self.images), seconds * left * share, memory, weights)

    def fit(self, *, progress: Progress = silent) -> list[Epoch]:
        """Train to the end, and return what came of each epoch that was left."""
        return list(self.epochs(progress=progress))

    def epochs(self, *, progress: Progress = silent) -> Iterator[Epoch]:
        """Train to the end, epoch by epoch.

        Args:
            progress: wraps the pass over all the steps that are left, given its name.
        Yields:
            What came of each epoch, when its state is on the disk.
        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM, when the step is done and its state is on the disk.
            ArgumentError: the loss is not finite at the end of an epoch.
            ImageDecodeError: an image that cannot be read, if bad ones are not skipped.
        """
        steps = range(self.step, self.plan.epochs * self.steps_per_epoch)
        requests = map(self._request, steps)
        with (
            _stopping() as stop,
            closing(Log(self.folder, self.step, active=rank() == 0)) as log,
            closing(self.images.batches(requests)) as batches,
        ):
            clock = _Stopwatch(self.step)
            for _, batch in zip(progress("Training", steps), batches, strict=True):
                self._advance(batch)
                if self.step % self.steps_per_epoch == 0:
                    epoch = self._finish(clock.speed(self.step) * self.plan.batch)
                    log.write(self.step, asdict(epoch))  # before the state: a line too many is taken back
                    self.save()
                    yield epoch
                    clock = _Stopwatch(self.step)
                elif self.step % self.log_every == 0:
                    loss, error = _shares(self._sums)
                    log.write(self.step, {"loss_so_far": loss, "error_so_far": error, "rate": self._rate})
                if self.step % self._agree_every == 0:
                    stopped, due = any_process(stop.is_set(), clock.seconds() >= self.save_every, device=self._device)
                    if stopped or due:
                        self.save()
                        clock.saved()
                    if stopped:
                        raise KeyboardInterrupt

    # One step

    def _request(self, step: int) -> SampleRequest:
        """Return what this process learns from in a step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = epoch_order(self.plan.seed, epoch, len(self.images))
        share = self.plan.batch // world()
        first = place * self.plan.batch + rank() * share
        indices = order[first : first + share]
        return SampleRequest(indices, self.plan.crop, self.plan.size(epoch), (self.plan.seed, epoch))

    def _advance(self, batch: Batch) -> None:
        self._wrapped.train()
        torch.manual_seed(int(generator("step", self.plan.seed, self.step, rank()).integers(2**63)))
        labels = batch.labels.to(self._device, non_blocking=True)
        logits = self._logits(self._wrapped, batch)
        loss = F.cross_entropy(logits, labels)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimiser.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self.network)
        self.step += 1
        wrong = (logits.detach().argmax(dim=1) != labels).sum()
        self._sums += torch.stack([loss.detach() * len(labels), wrong, torch.full_like(wrong, len(labels))])

    def _logits(self, network: nn.Module, batch: Batch) -> Tensor:
        pixels = batch.normalised(self._device, mean=self._attribute("mean"), std=self._attribute("std"))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.plan.precision == "bfloat16"):
            logits: Tensor = network(pixels)
        return logits.float()

    def _attribute(self, name: str) -> float:
        return float(getattr(self.network, name))

    # One epoch

    @property
    def _rate(self) -> float:
        return float(self._optimiser.param_groups[0]["lr"])

    def _finish(self, speed: float) -> Epoch:
        epoch = self.step // self.steps_per_epoch
        rate = self._rate
        loss, error = _shares(summed(self._sums))
        self._sums.zero_()
        advice = f"Remove {self.folder} and begin again with a lower one"
        check_that(math.isfinite(loss), "Trainer", "plan.rate", "low enough for a finite loss", rate, advice=advice)
        top1, top5 = self._validated()
        if isinstance(self._schedule, ReduceLROnPlateau):
            self._schedule.step(error if top1 is None else top1)
        else:
            self._schedule.step()
        return Epoch(epoch, self.plan.size(epoch - 1), rate, loss, error, top1, top5, round(speed, 1))

    @torch.inference_mode()
    def _validated(self) -> tuple[float | None, float | None]:
        """Return the errors of the best and of the best five classes on the centres of the validation images."""
        if self.validation is None:
            return None, None
        network = self.result.eval()
        own = np.arange(len(self.validation))[rank() :: world()]
        parts = [own[first : first + self.plan.batch] for first in range(0, len(own), self.plan.batch)]
        requests = [SampleRequest(part, self.plan.crop, self.plan.crop, None) for part in parts]
        wrong = torch.zeros(3, dtype=torch.float64, device=self._device)
        for batch in self.validation.batches(requests):
            scores, labels = self._logits(network, batch).cpu().numpy(), batch.labels.numpy()
            errors = [top_k_error(scores, labels, k=min(k, scores.shape[1])) for k in (1, TOP)]
            wrong += torch.tensor([*errors, 1.0], device=self._device) * len(labels)
        top1, top5 = _shares(summed(wrong))
        return top1, top5

    # State

    def save(self) -> None:
        """Write the state to the run's folder, whole or not at all; all processes call it, the first one writes."""
        sums = summed(self._sums.clone())
        if rank() != 0:
            return
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        if self._averaged is not None:
            tensors |= {f"average.{name}": value for name, value in self._averaged.state_dict().items()}
        tensors |= {f"optimiser.{name}": value for name, value in optimiser_tensors(self._optimiser).items()}
        tensors["sums"] = sums
        metadata = self._identity() | {"step": self.step, "schedule": schedule_state(self._schedule)}
        write_tensors(self.folder / STATE, tensors, metadata=metadata)

    def _identity(self) -> dict[str, Any]:
        shapes = {name: list(value.shape) for name, value in self.network.state_dict().items()}
        return {
            "format": FORMAT,
            "plan": self.plan.as_dict(),
            "data": self.images.fingerprint(),
            "network": shapes,
        }

    def _resume(self) -> None:
        path = self.folder / STATE
        if not path.exists():
            return
        tensors, metadata = read_tensors(path)
        for name, own in self._identity().items():
            _check_same(path, name, metadata.get(name), own)
        self.network.load_state_dict(_below("network.", tensors))
        if self._averaged is not None:
            self._averaged.load_state_dict(_below("average.", tensors))
        restore_optimiser(self._optimiser, _below("optimiser.", tensors))
        if rank() == 0:  # of all processes
            self._sums.copy_(tensors["sums"])
        self._schedule.load_state_dict(metadata["schedule"])
        self._optimiser.param_groups[0]["lr"] = self._schedule.get_last_lr()[0]
        self.step = metadata["step"]

    def _check(self) -> None:
        fits = self.plan.batch % world() == 0
        expected = f"a multiple of the {world()} processes"
        check_that(fits, "Trainer", "plan.batch", expected, self.plan.batch, advice="Give each an equal share")
        if len(self.images) < self.plan.batch:
            raise DataError(
                f"{self.images.data.root}: must hold the images of one batch, {self.plan.batch}, got "
                f"{len(self.images)}. Add images, or train with smaller batches."
            )
        for images in filter(None, (self.images, self.validation)):
            same = images.short_side == self.plan.short_side
            advice = "Make them with Images(data, short_side=plan.short_side)"
            expected = f"of the plan's short side, {self.plan.short_side}"
            check_that(same, "Trainer", "images", expected, images.short_side, advice=advice)


def start_from(network: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Begin with another network's weights, to fine-tune it; return the names of the layers that begin anew.

    Args:
        network: changed in place.
        weights: a ``state_dict``. What has another shape here, such as the last layer for other classes, or is
            missing, keeps its random start.
    Raises:
        DataError: nothing fits.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise DataError("start_from: weights must be those of a similar network, got none that fit. Name another file.")
    network.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]


class _Stopwatch:
    """Steps a second since it was made, and seconds since the last state."""

    def __init__(self, step: int) -> None:
        self._step, self._begun = step, time.perf_counter()
        self.saved()

    def speed(self, step: int) -> float:
        return (step - self._step) / (time.perf_counter() - self._begun)

    def seconds(self) -> float:
        return time.perf_counter() - self._saved

    def saved(self) -> None:
        self._saved = time.perf_counter()


@contextmanager
def _stopping() -> Iterator[Event]:
    """Have the first Ctrl-C or SIGTERM set an event instead of ending a step halfway; the second one acts as always."""
    told = Event()
    if current_thread() is not main_thread():  # signals reach the main thread alone
        yield told
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def tell(*_: object) -> None:
        told.set()
        restore()

    for number in before:
        signal.signal(number, tell)
    try:
        yield told
    finally:
        restore()


def _averaged(network: nn.Module, kept: float) -> AveragedModel:
    """Return a copy that follows a network: an exponential mean of weights and buffers, ``kept`` of it a step."""
    average = get_ema_multi_avg_fn(kept)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    averaged.requires_grad_(False)
    return averaged


def _shares(sums: Tensor) -> tuple[float, float]:
    """Return the first two sums over the third, which counts images; NaN without any."""
    first, second = (sums[:2] / sums[2]).tolist()
    return first, second


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_same(path: Path, name: str, theirs: object, own: object) -> None:
    if theirs != own:
        raise DataError(
            f"{path}: the run was begun with another {name}, {_difference(theirs, own)}. "
            "Go on as it was begun, or remove the file to begin anew."
        )


def _difference(theirs: object, own: object) -> str:
    if isinstance(theirs, dict) and isinstance(own, dict):
        names = [name for name in {**theirs, **own} if theirs.get(name) != own.get(name)]
        return ", ".join(f"{name} {theirs.get(name)} instead of {own.get(name)}" for name in names[:3])
    return f"{theirs} instead of {own}"
