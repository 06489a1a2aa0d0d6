"""Training: sizes, rates, changes of images, batches; and that a run is the same, however it comes about."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.training.tiny_training import PLAN, run, tiny_network
from torch.optim.lr_scheduler import ReduceLROnPlateau

from sppnet import load_folders
from sppnet.errors import ArgumentError, DataError, ImageDecodeError
from sppnet.images import read_image, resize
from sppnet.progress import BASE_MEMORY
from sppnet.storage import read_tensors
from sppnet.training import Images, Plan, Trainer, start_from
from sppnet.training.augmentation import COLOUR_AXES, PLACES, UNCHANGED, Change, cut, draw_change, epoch_order
from sppnet.training.images import SampleRequest
from sppnet.training.log import Log
from sppnet.training.plan import Precision, rate_schedule, schedule_state

PROGRAM = Path(__file__).with_name("tiny_training.py")


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 12 images of each of two classes, told apart by their colour, in several shapes."""
    root = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    for name, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
        (root / name).mkdir()
        for index in range(12):
            height, width = rng.integers(40, 90, 2)
            noise = rng.integers(-40, 40, (height, width, 3))
            Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(root / name / f"{index}.jpg")
    return root


def images_of(root: Path, **options: object) -> Images:
    return Images(load_folders(root), **{"short_side": PLAN.short_side, "workers": 2, **options})  # type: ignore[arg-type]


# The plan


def test_epochs_take_the_sizes_in_turn() -> None:
    plan = Plan(sizes=(224, 180))
    assert [plan.size(epoch) for epoch in range(4)] == [224, 180, 224, 180]
    assert plan.crop == 224


def test_drawn_sizes_are_uniform_from_the_least_to_the_largest() -> None:
    plan = Plan(sizes=(224, 180), draw_sizes=True, seed=3)
    drawn = [plan.size(epoch) for epoch in range(4500)]
    counts = np.bincount(drawn)[180:]
    assert len(counts) == 45
    assert counts.min() > 60  # of 100 expected, four deviations of 10
    assert drawn[:50] == [plan.size(epoch) for epoch in range(50)]
    assert drawn[:50] != [dataclasses.replace(plan, seed=4).size(epoch) for epoch in range(50)]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "Plan: epochs must be 1 or more, got 0. Give a positive number."),
        ({"batch": -1}, "Plan: batch must be 1 or more, got -1. Give a positive number."),
        (
            {"sizes": (224, 300)},
            "Plan: sizes must be sides of 1 to 256 pixels, the images' short side, got (224, 300). "
            "Give smaller sizes, or scale images larger.",
        ),
        ({"sizes": ()}, "Plan: sizes must be sides of 1 to 256 pixels, the images' short side, got ()."),
        ({"rate": 0.0}, "Plan: rate must be above 0, got 0.0. 0.01 is the paper's."),
        ({"average": 1.0}, "Plan: average must be between 0 and 1, got 1.0. 0.9999 is usual, None is off."),
        ({"precision": "half"}, "Plan: precision must be float32 or bfloat16, got 'half'. Name one of these."),
    ],
)
def test_a_plan_that_cannot_be_is_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        Plan(**options)  # type: ignore[arg-type]
    assert str(refused.value).startswith(text)


def _scheduled(plan: Plan) -> tuple[torch.optim.SGD, Any]:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], plan.rate)
    return optimiser, rate_schedule(plan, optimiser)


def _after(optimiser: torch.optim.SGD, schedule: Any, error: float) -> float:
    """Return the rate once an epoch has ended with an error."""
    optimiser.step()
    schedule.step(*([error] if isinstance(schedule, ReduceLROnPlateau) else []))
    return float(optimiser.param_groups[0]["lr"])


def test_the_rate_is_divided_at_plateaus_twice() -> None:
    optimiser, schedule = _scheduled(Plan(rate=1.0, patience=2))
    errors = (0.9, 0.8, 0.8, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7)
    rates = [_after(optimiser, schedule, error) for error in errors]
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01])


def test_the_rate_is_divided_before_the_epochs_named() -> None:
    optimiser, schedule = _scheduled(Plan(rate=1.0, divide_at=(1, 3)))
    assert schedule.get_last_lr() == [1.0]
    assert [_after(optimiser, schedule, 0.5) for _ in range(3)] == pytest.approx([0.1, 0.1, 0.01])


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(0, 30), st.sampled_from([None, (2, 5)]))
def test_a_schedule_goes_on_where_its_state_was_taken(
    errors: list[float], cut_at: int, divide_at: tuple[int, ...] | None
) -> None:
    plan = Plan(patience=2, divide_at=divide_at)
    whole, first, second = _scheduled(plan), _scheduled(plan), _scheduled(plan)
    for error in errors[:cut_at]:
        assert _after(*whole, error) == _after(*first, error)
    second[1].load_state_dict(json.loads(json.dumps(schedule_state(first[1]), allow_nan=False)))
    second[0].param_groups[0]["lr"] = second[1].get_last_lr()[0]
    for error in errors[cut_at:]:
        assert _after(*whole, error) == _after(*second, error)
    assert second[1].get_last_lr() == whole[1].get_last_lr()


# Changes of images


def test_crops_lie_in_the_centre_and_the_corners_of_the_whole_image() -> None:
    image = np.arange(10 * 17 * 3, dtype=np.uint16).reshape(10, 17, 3)
    starts = set()
    for place in range(PLACES):
        square = cut(image, 8, Change(place, False, UNCHANGED.colour))  # type: ignore[arg-type]
        assert square.shape == (8, 8, 3)
        (row,), (column,) = np.nonzero((image == square[0, 0]).all(axis=2))
        assert np.array_equal(square, image[row : row + 8, column : column + 8])
        starts.add((int(row), int(column)))
    assert starts == {(1, 4), (0, 0), (0, 9), (2, 0), (2, 9)}


def test_places_that_coincide_are_still_places() -> None:
    image = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
    for place in range(PLACES):
        assert cut(image, 8, Change(place, False, UNCHANGED.colour)).shape == (8, 8, 3)


def test_a_mirrored_crop_is_that_crop_mirrored() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    plain = cut(image, 6, Change(2, False, UNCHANGED.colour))
    assert np.array_equal(cut(image, 6, Change(2, True, UNCHANGED.colour)), plain[:, ::-1])


def test_changes_are_drawn_as_published() -> None:
    changes = [draw_change(0, epoch, index) for epoch in range(20) for index in range(200)]
    counts = [sum(change.place == place for change in changes) for place in range(PLACES)]
    assert min(counts) > 700  # of 800, four deviations of 25
    assert 1870 < sum(change.mirrored for change in changes) < 2130
    colours = np.stack([change.colour for change in changes])
    deviations = (colours @ COLOUR_AXES / 255).std(axis=0)
    np.testing.assert_allclose(deviations, 0.1 * np.array([0.2175, 0.0188, 0.0045]), rtol=0.1)
    assert np.abs(colours.mean(axis=0)).max() < 0.25


def test_the_axes_of_colour_are_axes() -> None:
    np.testing.assert_allclose(COLOUR_AXES.T @ COLOUR_AXES, np.eye(3), atol=1e-3)


def test_draws_follow_from_seed_epoch_and_index_alone() -> None:
    base = draw_change(1, 2, 3)
    assert np.array_equal(base.colour, draw_change(1, 2, 3).colour)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 0)):
        assert not np.array_equal(base.colour, draw_change(*other).colour)
    assert sorted(epoch_order(0, 0, 50)) == list(range(50))
    assert not np.array_equal(epoch_order(0, 0, 50), epoch_order(0, 1, 50))


# Batches


def _request(indices: list[int], *, size: int = 32, draw: tuple[int, int] | None = (0, 0)) -> SampleRequest:
    return SampleRequest(np.array(indices), 32, size, draw)


def test_a_batch_does_not_depend_on_the_number_of_workers_or_on_what_is_kept(kinds: Path) -> None:
    requests = [_request([3, 20, 7]), _request([1, 3, 5], size=24), _request([3, 20, 7])]
    few = list(images_of(kinds, workers=1, memory=0).batches(requests))
    many = list(images_of(kinds, workers=5).batches(requests))
    for one, other in zip(few, many, strict=True):
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))
    assert few[0].labels.tolist() == [0, 1, 0]
    assert few[1].pixels.shape == (3, 24, 24, 3)


def test_the_smaller_input_is_the_same_crop_scaled(kinds: Path) -> None:
    (large,), (small,) = (list(images_of(kinds).batches([_request([4], size=size)])) for size in (32, 24))
    assert np.array_equal(resize(large.pixels[0].numpy(), (24, 24)), small.pixels[0].numpy())


def test_without_draws_the_centre_is_taken_as_it_is(kinds: Path) -> None:
    images = images_of(kinds)
    (batch,) = images.batches([_request([2], draw=None)])
    image = read_image(images.data.paths[2])
    height, width = image.shape[:2]
    scale = 36 / min(height, width)
    scaled = resize(image, (round(height * scale), round(width * scale)))
    expected = cut(scaled, 32, Change(0, False, UNCHANGED.colour))
    assert np.array_equal(batch.pixels[0].numpy(), expected)
    assert not batch.colours.any()


def test_pixels_are_normalised_with_their_change_of_colour(kinds: Path) -> None:
    (batch,) = images_of(kinds).batches([_request([0, 23])])
    values = batch.normalised(torch.device("cpu"), mean=128.0, std=64.0)
    expected = (batch.pixels.double() + batch.colours[:, None, None, :] - 128) / 64
    torch.testing.assert_close(values.double(), expected.permute(0, 3, 1, 2), atol=1e-6, rtol=1e-6)
    assert values.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def damaged(kinds: Path, tmp_path: Path) -> Path:
    """Return the images with one of them cut short and one that is none."""
    for folder in ("blue", "red"):
        (tmp_path / folder).mkdir()
        for path in (kinds / folder).iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    first = tmp_path / "blue" / "0.jpg"
    first.write_bytes(first.read_bytes()[:200])
    (tmp_path / "red" / "9.jpg").write_bytes(b"no image")
    return tmp_path


def test_a_bad_image_stops_the_run_by_name(damaged: Path) -> None:
    with pytest.raises(ImageDecodeError, match=r"blue.0\.jpg: the image cannot be read"):
        list(images_of(damaged).batches([_request([0, 1])]))


def test_a_skipped_image_is_named_and_the_next_takes_its_place(damaged: Path) -> None:
    images = images_of(damaged, on_bad="skip")
    (batch,) = images.batches([_request([23, 0, 5], draw=None)])
    (expected,) = images_of(damaged, on_bad="skip").batches([_request([1], draw=None)])
    assert torch.equal(batch.pixels[1], expected.pixels[0])
    assert torch.equal(batch.pixels[0], expected.pixels[0])  # the last of all, and so the first good one follows
    assert batch.labels.tolist() == [0, 0, 0]
    assert [problem.path.name for problem in images.problems] == ["0.jpg", "9.jpg"]
    assert "the next image takes its place" in str(images.problems[1])


def test_no_image_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_bytes(b"none")
    with pytest.raises(DataError, match=r"none of 1 images can be read. Name other data"):
        list(images_of(tmp_path, on_bad="skip").batches([_request([0])]))


def test_a_image_too_long_to_scale_is_named(tmp_path: Path) -> None:
    (tmp_path / "long").mkdir()
    Image.new("RGB", (40_000, 1)).save(tmp_path / "long" / "a.png")
    with pytest.raises(ImageDecodeError, match=r"a\.png: the image cannot be read: scaled it has"):
        list(images_of(tmp_path).batches([_request([0])]))


def test_wrong_options_are_refused(kinds: Path) -> None:
    with pytest.raises(ArgumentError, match=r"Images: workers must be 1 or more, got 0. Leave it out"):
        images_of(kinds, workers=0)
    with pytest.raises(ArgumentError, match="on_bad must be fail or skip, got 'ask'"):
        images_of(kinds, on_bad="ask")


def test_decoding_ends_with_the_loop_that_asked(kinds: Path) -> None:
    batches = images_of(kinds).batches([_request([0, 1, 2])] * 50)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sppnet-images")]


# Runs


def _weights(folder: Path) -> bytes:
    return (folder / "network.safetensors").read_bytes()


def _run(kinds: Path, folder: Path, plan: Plan = PLAN, **options: object) -> Trainer:
    return Trainer(tiny_network(), images_of(kinds), plan, folder=folder, **options)  # type: ignore[arg-type]


def _same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_learns(kinds: Path, tmp_path: Path, precision: Precision) -> None:
    plan = dataclasses.replace(PLAN, epochs=8, divide_at=(6,), precision=precision)
    trainer = _run(kinds, tmp_path, plan, validation=images_of(kinds))
    epochs = trainer.fit()
    assert [epoch.size for epoch in epochs] == [32, 24] * 4
    assert [epoch.rate for epoch in epochs] == pytest.approx([0.05] * 6 + [0.005] * 2)
    assert epochs[-1].loss < 0.3 < epochs[0].loss
    assert epochs[-1].validation_error == 0
    assert epochs[-1].validation_top5_error == 0
    assert trainer.result is not trainer.network


def test_the_same_run_gives_the_same_bits_with_any_number_of_workers(kinds: Path, tmp_path: Path) -> None:
    runs = [
        Trainer(tiny_network(), images_of(kinds, workers=count), PLAN, folder=tmp_path / str(count)) for count in (1, 4)
    ]
    for trainer in runs:
        trainer.fit()
    assert _same(runs[0].network, runs[1].network)
    other = dataclasses.replace(PLAN, seed=1)
    changed = _run(kinds, tmp_path / "other", other)
    changed.fit()
    assert not _same(changed.network, runs[0].network)


@settings(max_examples=4, deadline=None)
@given(st.sets(st.integers(1, 11), min_size=1, max_size=4))
@pytest.mark.slow
def test_interrupted_anywhere_it_ends_with_the_same_bits(
    kinds: Path, tmp_path_factory: pytest.TempPathFactory, stops: set[int]
) -> None:
    whole = _run(kinds, tmp_path_factory.mktemp("whole"))
    whole.fit()
    folder = tmp_path_factory.mktemp("parts")

    def interrupting(name, items):  # type: ignore[no-untyped-def]
        for item in items:
            if item in stops:
                stops.discard(item)
                signal.raise_signal(signal.SIGINT)  # ends this step, and then the run
            yield item

    while stops:
        with pytest.raises(KeyboardInterrupt):
            _run(kinds, folder).fit(progress=interrupting)
    last = _run(kinds, folder)
    last.fit()
    assert last.step == whole.step == 12
    assert _same(last.network, whole.network)
    assert _same(last.result, whole.result)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_killed_at_random_it_ends_with_the_same_bits(kinds: Path, tmp_path: Path) -> None:
    run(kinds, tmp_path / "whole", dropout=0.5)
    chance, first_steps = random.Random(0), []
    for _ in range(2):
        process = _program(kinds, tmp_path / "killed")
        assert process.stdout is not None
        first_steps += [int(process.stdout.readline()) for _ in range(chance.randint(2, 5))][:1]
        time.sleep(chance.uniform(0.0, 0.02))
        process.kill()
        process.communicate()
    rest, _ = _program(kinds, tmp_path / "killed").communicate()
    first_steps.append(int(rest.splitlines()[0]))
    assert first_steps[0] == 0 < first_steps[1] < first_steps[2]
    assert _weights(tmp_path / "killed") == _weights(tmp_path / "whole")
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert steps == [3, 6, 9, 12]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_as_one_with_the_doubled_batch(kinds: Path, tmp_path: Path) -> None:
    """Without dropout, whose masks differ, and up to the rounding of sums in another order."""
    run(kinds, tmp_path / "one", dropout=0.0)
    two = _program(kinds, tmp_path / "two", dropout=0.0, processes=2)
    two.communicate()
    assert two.returncode == 0
    one, other = (read_tensors(tmp_path / name / "network.safetensors")[0] for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=1e-5, rtol=0)
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    for mine, theirs in zip(*(map(json.loads, lines) for lines in logs), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], abs=1e-5)
        assert theirs["validation_error"] == mine["validation_error"]


def _program(kinds: Path, folder: Path, *, dropout: float = 0.5, processes: int = 1) -> "subprocess.Popen[str]":
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    start = [sys.executable, *(several if processes > 1 else [])]
    return subprocess.Popen(
        [*start, str(PROGRAM), str(kinds), str(folder), str(dropout)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_run_begun_otherwise_is_not_gone_on_with(kinds: Path, tmp_path: Path) -> None:
    _run(kinds, tmp_path).save()
    other = dataclasses.replace(PLAN, epochs=5)
    with pytest.raises(DataError, match=r"the run was begun with another plan, epochs 4 instead of 5. Go on as it was"):
        _run(kinds, tmp_path, other)
    with pytest.raises(DataError, match=r"another network, head.2.bias \[2\] instead of \[3\], head.2.weight"):
        Trainer(tiny_network(3), images_of(kinds), PLAN, folder=tmp_path)
    (kinds / "blue" / "0.jpg").rename(kinds / "blue" / "zero.jpg")
    try:
        with pytest.raises(DataError, match="another data, "):
            _run(kinds, tmp_path)
    finally:
        (kinds / "blue" / "zero.jpg").rename(kinds / "blue" / "0.jpg")


def test_fewer_images_than_a_batch_are_refused(kinds: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold the images of one batch, 100, got 24. Add images, or train"):
        _run(kinds, tmp_path, dataclasses.replace(PLAN, batch=100))


def test_a_loss_that_is_not_finite_ends_the_run(kinds: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"plan\.rate must be low enough for a finite loss, got 1e\+20\. Remove"):
        _run(kinds, tmp_path, dataclasses.replace(PLAN, rate=1e20)).fit()
    assert not (tmp_path / "state.safetensors").exists()


def test_an_estimate_tells_time_and_memory(kinds: Path, tmp_path: Path) -> None:
    network = tiny_network()
    trainer = Trainer(network, images_of(kinds), PLAN, folder=tmp_path)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cost = trainer.estimate()
    assert cost.images == 24
    assert 0 < cost.seconds < 60
    activations = 8 * 4 * (14 * 14 * 8 + 6 * 6 * 16)  # a batch of the two maps, float32
    assert activations < cost.memory - BASE_MEMORY < 10 * activations
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_images_of_another_short_side_are_refused(kinds: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="images must be of the plan's short side, 36, got 40"):
        Trainer(tiny_network(), images_of(kinds, short_side=40), PLAN, folder=tmp_path)


def test_frozen_layers_stay_and_others_begin_from_given_weights(kinds: Path, tmp_path: Path) -> None:
    before = tiny_network(5, seed=1)
    network = tiny_network(2, seed=2)
    assert start_from(network, before.state_dict()) == ["head.2.weight", "head.2.bias"]
    network.map.requires_grad_(False)
    head = network.head[2].weight.detach().clone()
    Trainer(network, images_of(kinds), PLAN, folder=tmp_path).fit()
    assert _same(network.map, before.map)
    assert not torch.equal(network.head[2].weight, head)


def test_weights_that_fit_nowhere_are_refused() -> None:
    with pytest.raises(DataError, match="start_from: weights must be those of a similar network, got none that fit"):
        start_from(tiny_network(), {"other": torch.zeros(3)})


def test_averaged_weights_follow_the_trained_ones(kinds: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, epochs=1, average=0.75)
    trainer = _run(kinds, tmp_path, plan)
    steps: list[dict[str, torch.Tensor]] = []

    def remember(*_: object) -> None:
        steps.append({name: value.clone().double() for name, value in trainer.network.state_dict().items()})

    trainer._optimiser.register_step_post_hook(remember)
    trainer.fit()
    expected = steps[0]
    for after in steps[1:]:
        expected = {name: 0.75 * value + 0.25 * after[name] for name, value in expected.items()}
    assert len(steps) == 3
    for name, value in trainer.result.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], atol=1e-6, rtol=1e-5)


# The log


def test_the_log_of_a_run(kinds: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = _run(kinds, tmp_path, dataclasses.replace(PLAN, epochs=2), validation=images_of(kinds))
    trainer.log_every = 2
    epochs = trainer.fit()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6]
    assert lines[1] == {"step": 3, **dataclasses.asdict(epochs[0])}
    assert lines[0].keys() == {"step", "loss_so_far", "error_so_far", "rate"}
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (line["step"], pytest.approx(line["loss"])) for line in (lines[1], lines[3])
    ]


def test_lines_past_the_last_state_are_taken_back(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for step in (1, 2, 3):
        log.write(step, {"loss": 0.5})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    Log(tmp_path, 2).close()
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.5}\n'
