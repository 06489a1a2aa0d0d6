"""Tuned convolutions: better or as before, the same bits twice, in one process or two, whole in the model file."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sppnet import Detector, load_detection
from sppnet.backbones import backbone
from sppnet.data import DetectionData, Sample
from sppnet.detection import deep
from sppnet.detection.deep import DeepPlan, DeepReport
from sppnet.detection.fine_tuning import fresh_layers
from sppnet.detection.model import DetectorModel
from sppnet.detection.settings import PAPER
from sppnet.detection.tuning_image import TuningImage
from sppnet.errors import ArgumentError
from sppnet.features.encoder import Encoder
from sppnet.features.layers import LayeredEncoder
from sppnet.proposals.files import FileProposals

PROGRAM = Path(__file__).with_name("tiny_tuning.py")
SMALL = {"short_side": 128, "layers": ("stride16",), "levels": (2, 1)}


@pytest.fixture(scope="module")
def data(shapes: Path) -> DetectionData:
    """The eight images to learn from and the four to test on: few, so that all of them may be learnt from."""
    whole = load_detection(shapes, split="all")
    return whole.subset(range(len(whole)))


@pytest.fixture(scope="module")
def linear(data: DetectionData) -> Detector:
    return Detector(**SMALL).fit(data)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "FEWEST", 6)


def _better(monkeypatch: pytest.MonkeyPatch, *, by: float) -> None:
    """Have each later judgement differ from the one before, whatever is found; images are looked at all the same."""
    figures, look = iter(0.5 + by * number for number in range(100)), deep.quality

    def quality(*given: Any) -> tuple[float, float]:
        assert all(0 <= each <= 1 for each in look(*given))
        return (next(figures),) * 2

    monkeypatch.setattr(deep, "quality", quality)


@pytest.mark.slow
def test_tuned_weights_are_kept_where_they_are_better_and_lie_in_the_file(
    data: DetectionData, linear: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _better(monkeypatch, by=0.01)
    detector = Detector(**SMALL).fit(data, deep=DeepPlan(epochs=1))
    report = detector.deep_
    assert report is not None
    assert report.kept
    assert report.epochs == len(report.curve) == 1
    assert str(report).endswith("is 50.0% / 50.0% before, 52.0% / 52.0% after 1 epoch: kept.")
    assert report.as_dict()["before"] == {"0.5": 0.5, "0.7": 0.5}
    network = detector.model_.encoder.backbone
    assert network.fingerprint != linear.model_.encoder.backbone.fingerprint
    assert {value.dtype for value in network.tensors().values()} == {torch.float16}
    path = tmp_path / "tuned.safetensors"
    detector.save(path)
    again = Detector.load(path)
    for sample in data.samples[:2]:
        first, second = (each.detect(sample.path, threshold=0) for each in (detector, again))
        assert np.array_equal(first.boxes, second.boxes)
        assert np.array_equal(first.confidence, second.confidence)


@pytest.mark.slow
def test_what_is_not_better_changes_nothing(
    data: DetectionData, linear: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    _better(monkeypatch, by=-0.01)
    tuned = Detector(**SMALL).fit(data, deep=DeepPlan(minutes=1e-9))
    assert tuned.deep_ is not None
    assert not tuned.deep_.kept
    assert tuned.deep_.epochs == 1  # at least, however short the time
    assert "not better at both, so the network stays as it was" in str(tuned.deep_)
    torch.testing.assert_close(tuned.model_.head.weights, linear.model_.head.weights, atol=1e-5, rtol=1e-2)
    assert tuned.model_.encoder.backbone.fingerprint == linear.model_.encoder.backbone.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("handed_on", [False, True], ids=["by name", "as they were learnt"])
def test_regions_that_were_learnt_on_the_maps_are_learnt_anew_on_the_tuned_ones(
    data: DetectionData, handed_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _better(monkeypatch, by=0.01)
    ranked = Detector(**SMALL, proposals="learnt")
    if handed_on:
        ranked = Detector(**SMALL, proposals=ranked.fit(data).model_.proposals)
    tuned = ranked.fit(data, deep=DeepPlan(epochs=1))
    assert tuned.deep_ is not None
    assert tuned.deep_.kept
    assert len(tuned.detect(data.samples[0].path, threshold=0))


@pytest.mark.parametrize(
    ("after", "kept"),
    [((0.91, 0.71), True), ((0.896, 0.72), True), ((0.89, 0.8), False), ((1.0, 0.69), False), ((0.9, 0.7), False)],
)
def test_a_gain_at_one_overlap_does_not_pay_for_a_loss_at_the_other(after: tuple[float, float], kept: bool) -> None:
    assert deep._better((0.9, 0.7), after) == kept


def _tuned(detector: Detector, data: DetectionData, plan: DeepPlan, **more: Any) -> tuple[str, tuple[float, ...]]:
    network, curve = deep.tune(detector.model_, data, data.subset([0, 1]), plan, **more)
    return network.fingerprint, curve


class _StopError(Exception):
    pass


@pytest.mark.slow
def test_the_same_bits_twice_interrupted_or_not(data: DetectionData, linear: Detector, tmp_path: Path) -> None:
    detector, data = linear, data.subset(range(4))
    plan = DeepPlan(epochs=2)
    whole = _tuned(detector, data, plan)
    passes = []

    def stops(name: str, items: Sequence[Any], /) -> Iterable[Any]:
        passes.append(name)
        for number, item in enumerate(items):
            if name.startswith("Tuning, epoch 2") and number == 1:
                raise _StopError
            yield item

    stored = DeepPlan(epochs=2, folder=tmp_path)
    with pytest.raises(_StopError):
        _tuned(detector, data, stored, progress=stops)
    assert "in held-out images" in passes[-1]
    resumed = []

    def notes(name: str, items: Sequence[Any], /) -> Iterable[Any]:
        resumed.append(name)
        return items

    assert _tuned(detector, data, stored, progress=notes) == whole
    assert [name for name in resumed if name.startswith("Tuning, epoch 1")] == []


def test_a_run_of_other_labels_images_regions_or_settings_is_another_run(
    data: DetectionData, linear: Detector, tmp_path: Path
) -> None:
    model, judged = linear.model_, data.subset([4, 5])
    data = data.subset([0, 1])
    first, second = data.samples

    def of(model: DetectorModel, *samples: Sample, judged: DetectionData = judged) -> str:
        return deep._identity(model, dataclasses.replace(data, samples=samples), judged, 0, 1)

    runs = [
        of(model, first, second),
        of(model, second, first),
        of(model, dataclasses.replace(first, labels=first.labels[::-1]), second),
        of(model, dataclasses.replace(first, difficult=~first.difficult), second),
        of(model, dataclasses.replace(first, crowd=~first.crowd), second),
        of(model, dataclasses.replace(first, boxes=first.boxes + 1), second),
        of(model, dataclasses.replace(first, path=second.path), second),
        of(model, first, second, judged=data),
        of(dataclasses.replace(model, settings=PAPER), first, second),
        of(dataclasses.replace(model, head=dataclasses.replace(model.head, levels=(1,))), first, second),
    ]
    for name, right in (("regions.csv", 9), ("renamed.csv", 9), ("other.csv", 8)):
        (tmp_path / name).write_text(f"image,left,top,right,bottom\n{first.path.name},0,0,{right},9\n")
        listed = FileProposals(tmp_path / name)
        runs.append(of(dataclasses.replace(model, proposals=listed), first, second))
    assert runs[-2] == runs.pop(-3)  # a file is what it holds, not what it is called
    assert len(set(runs)) == len(runs)
    assert runs[0] == of(model, first, second)


def test_layers_on_the_maps_are_refused_before_the_work(data: DetectionData) -> None:
    below = Encoder("stride16", 96)
    layered = Detector(encoder=LayeredEncoder(below, fresh_layers(below.length((2, 1)), hidden=8)), levels=(2, 1))
    passes: list[str] = []

    def notes(name: str, items: Sequence[Any], /) -> Iterable[Any]:
        passes.append(name)
        return items

    expected = r"Detector\.fit: encoder must be maps without layers on top, got one with layers\. Leave the layers out"
    with pytest.raises(ArgumentError, match=expected):
        layered.fit(data, deep=True, progress=notes)
    assert passes == []


@pytest.mark.slow
def test_the_loss_falls_and_the_finest_layers_stay(data: DetectionData, linear: Detector) -> None:
    detector = linear
    tuning = deep._Tuning(detector.model_, 1, "")
    image = TuningImage.of(data.samples[0], detector.model_, data.classes)
    tuning.begin(20)
    losses = []
    score = tuning._score_loss

    def watched(*arguments: Any) -> torch.Tensor:
        losses.append(float(score(*arguments).detach()))
        return score(*arguments)

    before = {name: value.clone() for name, value in tuning._network.state_dict().items()}
    tuning._score_loss = watched  # type: ignore[method-assign]
    for number in range(20):
        tuning.step([(image, np.random.default_rng(number))])
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    after = tuning._network.state_dict()
    assert torch.equal(after["stem.conv.weight"], before["stem.conv.weight"])
    assert not torch.equal(after["blocks.9.project.conv.weight"], before["blocks.9.project.conv.weight"])


def test_of_blocks_whose_channels_come_last_all_but_the_finest_learn() -> None:
    network = backbone("convnext_tiny", weights="random").requires_grad_(True)  # its first cells measure 4 pixels
    deep._freeze_finest(network)
    assert all(each.requires_grad for each in network.parameters())


def test_of_an_image_in_tiles_a_part_with_an_object_is_seen(
    data: DetectionData, linear: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a large image with gradients would take tens of gigabytes."""
    image = TuningImage.of(data.samples[0], linear.model_, data.classes)
    whole = image.view((128,), np.random.default_rng(0))
    monkeypatch.setattr("sppnet.detection.tuning_image.MAX_WHOLE_PIXELS", 1000)
    monkeypatch.setattr("sppnet.detection.tuning_image.PART", 96)
    rules = linear.model_.settings.rule
    for seed in range(20):
        part = image.view((128,), np.random.default_rng(seed))
        assert part.pixels.size < whole.pixels.size
        assert max(part.pixels.shape[:2]) <= 96 * min(whole.pixels.shape[:2]) / 128 + 1
        assert len(part.chosen) > 0
        assert (part.regions >= 0).all()
        assert (part.regions <= (*part.pixels.shape[1::-1],) * 2).all()
        assert (image.overlaps[part.chosen] >= 0.5).any()  # an object is in it
        scaled = part.maps(linear.model_.encoder.backbone, ("stride16",), rules).scaled
        assert max(scaled) <= 96 * 1.3 + 2
    tuning = deep._Tuning(linear.model_, 1, "")
    tuning.begin(1)
    away = dataclasses.replace(image, regions=image.regions + 10_000, hard=image.hard[:0])
    tuning.step([(away, np.random.default_rng(0))])  # a part without any region teaches nothing
    assert all(torch.isfinite(value).all() for value in tuning._module.state_dict().values())


def _told(*command: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    start = [sys.executable, *(several if processes > 1 else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*start, *command], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.mark.slow
def test_two_processes_tune_as_one_with_the_joint_batch(shapes: Path) -> None:
    one, two = (_told(str(PROGRAM), str(shapes), processes=number).stdout for number in (1, 2))
    assert len(one.split()) == 2
    assert one == two


@pytest.mark.slow
def test_the_first_of_several_processes_tells_and_writes(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.safetensors"
    options = ["--split", "all", "--short-side", "128", "--deep", "--epochs", "1", "--out", str(out)]
    ended = _told("-m", "sppnet.cli", "train", "detector", str(shapes), *options, processes=2)
    assert ended.stdout.count("trained in") == 1
    assert ended.stderr.count("Tuned convolutions in 2 images held back") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tuned.safetensors"]
    assert Detector.load(out).classes_ == ("disc", "square")


def test_few_images_and_messages(data: DetectionData) -> None:
    few = Detector(**SMALL).fit(data.subset([0, 1]), deep=True)
    assert few.deep_ is not None
    assert "too few to tell" in str(few.deep_)
    with pytest.raises(ArgumentError, match="DeepPlan: epochs must be 1 or more, got 0"):
        DeepPlan(epochs=0)
    with pytest.raises(ArgumentError, match="DeepPlan: minutes must be above 0, got -1"):
        DeepPlan(minutes=-1)
    with pytest.raises(ArgumentError, match="DeepPlan: batch must be a multiple of the 1 processes, got 0"):
        DeepPlan(batch=0)
    assert DeepReport(True, 3, (0.5, 0.3), (0.6, 0.4), 2, ()).kept
