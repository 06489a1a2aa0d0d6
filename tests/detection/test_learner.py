"""Learning change by change: as good as learning at once, exact in what it forgets, silent on what nobody said."""

import copy
import dataclasses
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sppnet.data import DetectionData, load_detection
from sppnet.detection import examples, kept
from sppnet.detection import learner as learner_module
from sppnet.detection.deep import DeepReport
from sppnet.detection.detector import Detector
from sppnet.detection.examples import ImageLabels, labels_of
from sppnet.detection.learner import Learner
from sppnet.detection.ordering import doubt_of, usefulness
from sppnet.detection.settings import OURS
from sppnet.errors import ArgumentError, BoxError, DataError, ImageDecodeError, NotFittedError
from sppnet.features.encoder import Encoder
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, iou
from sppnet.storage import TensorCache

SHORT_SIDE = 256


@pytest.fixture(scope="module")
def train(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="train")


@pytest.fixture(scope="module")
def val(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="val")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> TensorCache:
    return TensorCache(tmp_path_factory.mktemp("cache"))


def _labels(data: DetectionData, index: int, *, complete: bool = True) -> ImageLabels:
    return dataclasses.replace(labels_of(data.samples[index], data.classes), complete=complete)


def _updated(cache: TensorCache, data: DetectionData, count: int = 8) -> Detector:
    detector = Detector(cache=cache, short_side=SHORT_SIDE)
    for index in range(count):
        detector.update(data.samples[index].path, _labels(data, index))
    detector.learn(data.classes)
    return detector


def _saved(detector: Detector, path: Path) -> bytes:
    detector.save(path)
    return path.read_bytes()


@pytest.mark.slow
def test_learning_image_by_image_gives_the_bits_of_learning_at_once(
    cache: TensorCache, train: DetectionData, tmp_path: Path
) -> None:
    """From the same complete labels, what the studio saves is what ``sppnet train detector`` writes."""
    one = Detector(cache=cache, short_side=SHORT_SIDE).fit(train)
    other = Detector(cache=cache, short_side=SHORT_SIDE)
    for index, sample in enumerate(train.samples):
        other.update(sample.path, _labels(train, index)).learn()
    other.learn(train.classes)
    assert _saved(other.relearnt(), tmp_path / "other") == _saved(one, tmp_path / "one")


@pytest.mark.slow
def test_learning_image_by_image_finds_as_much(cache: TensorCache, train: DetectionData, val: DetectionData) -> None:
    detector = Detector(cache=cache, short_side=SHORT_SIDE)
    for index, sample in enumerate(train.samples):
        detector.update(sample.path, _labels(train, index)).learn(train.classes)
    fitted = Detector(cache=cache, short_side=SHORT_SIDE).fit(train)
    assert detector.evaluate(val).mean >= fitted.evaluate(val).mean - 0.02


def test_the_next_answer_is_learnt_from_what_was_told(cache: TensorCache, train: DetectionData) -> None:
    detector = Detector(cache=cache, short_side=SHORT_SIDE).update(train.samples[0].path, _labels(train, 0))
    assert set(detector.detect(train.samples[1].path, threshold=0).labels) == {0, 1}
    before = detector.model_
    assert detector.model_ is before
    detector.update(train.samples[2].path, _labels(train, 2))
    assert detector.model_ is not before


def test_the_same_calls_give_the_same_bits(cache: TensorCache, train: DetectionData, tmp_path: Path) -> None:
    def learnt() -> bytes:
        detector = _updated(cache, train, count=4)
        first = _labels(train, 0)
        fewer = ImageLabels(first.boxes[1:], first.classes[1:])
        detector.update(train.samples[0].path, fewer).learn(train.classes)
        detector.update(train.samples[1].path, None)
        return _saved(detector, tmp_path / "model")

    assert learnt() == learnt()


def test_what_was_forgotten_leaves_nothing_behind(cache: TensorCache, train: DetectionData) -> None:
    detector = _updated(cache, train, count=2)
    detector.update(train.samples[0].path, None).update(train.samples[1].path, None)
    with pytest.raises(DataError, match=r"no object of disc, square is boxed\. Draw a box first\."):
        detector.learn(train.classes)


def test_a_file_is_one_image_however_its_path_is_written(
    cache: TensorCache, train: DetectionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = train.samples[0].path, train.samples[1].path
    monkeypatch.chdir(path.parent)
    (entry,) = (each for each in os.scandir(path.parent) if each.name == path.name)
    detector = _updated(cache, train, count=2)
    both = detector.learnt_from_
    for image in (str(path), path.name, Path(path.name), entry):
        detector.update(image, _labels(train, 0))
    detector.learn(train.classes)
    assert sorted(detector.learnt_from_) == sorted(both)
    assert detector.relearnt(without=[path.name]).learnt_from_ == both[1:]
    detector.update(path.name, None).learn()
    assert detector.learnt_from_ == both[1:]
    detector.update(other.read_bytes(), _labels(train, 1), key=str(other)).learn()
    assert detector.learnt_from_ == both[1:]


def test_a_name_that_is_no_path_stays_as_it_was_given() -> None:
    pixels, labels = np.zeros((50, 60, 3), np.uint8), ImageLabels(np.array([[9.0, 9, 30, 30]]), ("a",))
    detector = Detector(short_side=64, layers=("stride16",), levels=(1,))
    detector.update(pixels, labels, key="one").update(pixels, labels, key=2).learn()
    detector.calibrate()
    assert list(detector.held_out_) == ["one", 2]


def test_maps_are_prepared_of_any_image_that_is_detected_in(tmp_path: Path) -> None:
    maps = TensorCache(tmp_path / "maps")
    detector = Detector(cache=maps, short_side=64, layers=("stride16",))
    image = Image.new("RGB", (60, 50), "red")
    image.save(tmp_path / "image.png")
    (entry,) = (each for each in os.scandir(tmp_path) if each.name == "image.png")
    for number, each in enumerate((image, entry), start=1):
        detector.prepare_image(each)  # type: ignore[arg-type]
        assert len(maps) == number


def test_a_rejected_suggestion_scores_lower(cache: TensorCache, train: DetectionData) -> None:
    detector = Detector(cache=cache, short_side=SHORT_SIDE)
    detector.update(train.samples[0].path, _labels(train, 0, complete=False)).learn(train.classes)
    path = train.samples[1].path
    found, maps = detector.detect(path, threshold=0), detector.encode(path)
    wrong, label = found.boxes[:1], found.labels[0]
    before = detector.score(maps, wrong)[0, label]
    labels = ImageLabels(np.zeros((0, 4)), (), rejected=wrong, rejected_classes=(found.classes[label],), complete=False)
    detector.update(path, labels).learn(train.classes)
    assert detector.score(maps, wrong)[0, label] < before - 0.5


def test_what_nobody_boxed_is_no_negative(cache: TensorCache, train: DetectionData) -> None:
    """Four images of which only the discs are boxed and one with all: squares must be found all the same."""
    detector = Detector(cache=cache, short_side=SHORT_SIDE).update(train.samples[0].path, _labels(train, 0))
    for index in range(1, 5):
        discs = dataclasses.replace(_labels(train, index).only(["disc"]), complete=False)
        detector.update(train.samples[index].path, discs)
    detector.learn(train.classes)
    for sample in train.samples[1:5]:
        square = sample.boxes[sample.labels == 1]
        assert detector.score(detector.encode(sample.path), square)[0, 1] > 0


@dataclasses.dataclass(frozen=True)
class _OnOneObject:
    """Proposes regions on one object and far from it, none of which is centred in it and placed badly."""

    box: tuple[float, float, float, float]

    def regions(self, scene: Scene) -> Boxes:
        left, top, right, bottom = self.box
        steps = np.stack(np.meshgrid(np.arange(0, 200, 12), np.arange(0, 200, 12)), axis=-1).reshape(-1, 2)
        size = np.array([right - left, bottom - top])
        far = np.concatenate([steps, steps + size], axis=1).astype(np.float64)
        on = np.array([[left, top, right, bottom], [left + 1, top + 1, right, bottom]])
        labels = ImageLabels(on[:1], ("disc",))
        return np.concatenate([on, far[~labels.shown(far)]])


def test_a_first_box_without_background_in_it_does_not_find_everything(
    cache: TensorCache, train: DetectionData
) -> None:
    image, other = train.samples[0], train.samples[1]
    proposals: Any = _OnOneObject(tuple(image.boxes[0].tolist()))
    learner = Learner(Encoder("stride16", SHORT_SIDE, cache=cache), levels=(2, 1), settings=OURS)
    learner.update(0, image.path, ImageLabels(image.boxes[:1], ("disc",), complete=False))
    head = learner.learn(["disc"], proposals)
    scene = Scene(other.path, learner.encoder)
    scores = head.scores(scene.maps, proposals.regions(scene))
    assert np.median(scores) < -0.5


def test_images_that_did_not_change_are_mined_again_in_turn(
    cache: TensorCache, train: DetectionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = _updated(cache, train, 4)
    mined = []
    mine = learner_module.Learner._mine

    def noted(learner: Any, kept: Any, *rest: Any) -> None:
        mined.append(kept.key)
        mine(learner, kept, *rest)

    monkeypatch.setattr(learner_module.Learner, "_mine", noted)
    paths = [sample.path for sample in train.samples[:4]]
    detector.mine_again()
    detector.mine_again()
    assert sorted(mined) == sorted(paths)
    mined.clear()
    detector.update(paths[1], _labels(train, 1, complete=False)).learn()
    assert mined == [paths[1]]  # alone: an answer waits for no other image
    detector.update(paths[2], _labels(train, 2, complete=False))
    detector.mine_again()
    assert paths[2] in mined  # first it is learnt from: nothing is answered by what is out of date


def test_heads_that_are_learnt_together_are_those_learnt_alone(cache: TensorCache, train: DetectionData) -> None:
    detector = _updated(cache, train, 6)
    learner, model = detector._learner, detector.model_
    assert learner is not None
    images = list(learner.images.values())
    folds = [images[:2], images[2:3], images[3:]]
    together = learner.without(model.head, model.classes, folds)
    for fold, head in zip(folds, together, strict=True):
        (alone,) = learner.without(model.head, model.classes, [fold])
        # Both are within the tolerance that the SVMs are solved to.
        assert torch.allclose(head.weights, alone.weights, atol=0.02 * float(alone.weights.abs().max()))
        assert torch.equal(head.delta_weights, alone.delta_weights)
    assert not torch.equal(together[0].weights, together[2].weights)


@pytest.mark.slow
def test_many_images_give_fewer_rows_each_and_are_found_as_well(
    cache: TensorCache, train: DetectionData, val: DetectionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past ``FULL_SHARES`` images and ``MOST_OBJECTS`` objects of a class, rows stay as many."""

    def rows(detector: Detector) -> int:
        learner = detector._learner
        assert learner is not None
        examples = sum(len(group.rows) for kept in learner.images.values() for group in kept.groups)
        return examples + sum(len(part.deltas) for kept in learner.images.values() for part in kept.moves.values())

    every = Detector(cache=cache, short_side=SHORT_SIDE).fit(train)
    monkeypatch.setattr(examples, "FULL_SHARES", 1)
    monkeypatch.setattr(examples, "MOST_OBJECTS", 4)
    some = Detector(cache=cache, short_side=SHORT_SIDE).fit(train)
    assert rows(some) <= 0.4 * rows(every)
    assert some.evaluate(val).mean >= every.evaluate(val).mean - 0.05


def test_the_first_head_learns_from_each_class() -> None:
    held = [("a",)] * 200 + [("b",)] * 3 + [()] * 5 + [("a", "c")]
    images: Any = [SimpleNamespace(labels=SimpleNamespace(classes=classes)) for classes in held]
    chosen = [image.labels.classes for image in kept.some_of_each(images, ("a", "b", "c"))]
    assert chosen.count(("b",)) == 3
    assert ("a", "c") in chosen
    assert () not in chosen
    assert kept.FIRST <= len(chosen) <= kept.FIRST + 4


def test_classes_can_come_and_go(cache: TensorCache, train: DetectionData) -> None:
    detector = _updated(cache, train, count=4)
    path = train.samples[5].path
    one = detector.detect(path, threshold=0.5).counts()
    detector.learn(["square"])
    assert detector.classes_ == ("square",)
    detector.learn(["square", "disc", "star"])
    assert detector.untrained_ == ("star",)
    other = detector.detect(path, threshold=0.5).counts()
    assert {name: other[name] for name in one} == one


def test_rows_are_shortened_anew_once_classes_must_be_told_apart(
    cache: TensorCache, train: DetectionData, tmp_path: Path
) -> None:
    one, other = (Detector(cache=cache, short_side=SHORT_SIDE) for _ in range(2))
    for index in range(4):
        for detector in (one, other):
            detector.update(train.samples[index].path, _labels(train, index))
    one.learn(["square"])
    for detector in (one, other):
        detector.learn(["square", "disc"])
    assert _saved(one, tmp_path / "one") == _saved(other, tmp_path / "other")


def test_a_class_that_comes_later_is_learnt_from_all_of_its_objects(cache: TensorCache, train: DetectionData) -> None:
    one, other = (Detector(cache=cache, short_side=SHORT_SIDE) for _ in range(2))
    for index in range(4):
        for detector in (one, other):
            detector.update(train.samples[index].path, _labels(train, index))
    one.learn(["square"])
    one.learn(["square", "disc"])
    assert one.untrained_ == ()
    path = train.samples[5].path
    expected = other.learn(["square", "disc"]) and other.detect(path, threshold=0.5).counts()
    assert one.detect(path, threshold=0.5).counts() == expected


def test_an_image_that_can_no_longer_be_read_changes_nothing(
    cache: TensorCache, train: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(image: Any) -> str:
        raise ImageDecodeError(image, "it went away")

    one, other = _updated(cache, train, count=3), _updated(cache, train, count=3)
    with monkeypatch.context() as patched:
        patched.setattr(learner_module, "image_digest", fail)
        with pytest.raises(ImageDecodeError, match="it went away"):
            one.update(train.samples[0].path, _labels(train, 0))
    for detector in (one, other):
        for index in (0, 3, 4):
            detector.update(train.samples[index].path, _labels(train, index))
        detector.learn(train.classes)
    assert _saved(one, tmp_path / "one") == _saved(other, tmp_path / "other")


def test_a_grid_grows_with_boxes_of_another_shape(cache: TensorCache, train: DetectionData) -> None:
    detector = Detector(cache=cache, short_side=SHORT_SIDE)
    path, (height, width) = train.samples[0].path, train.samples[0].size
    detector.update(path, ImageLabels(np.array([[10.0, 10, 40, 40]]), ("disc",), complete=False))
    wide = np.array([[2.0, 40, width - 2, 56]])
    assert iou(wide, detector.propose(path)).max() < 0.5
    other = np.array([[2.0, 40, train.samples[1].size[1] - 2, 56]])
    detector.update(train.samples[1].path, ImageLabels(other, ("disc",), complete=False))
    assert iou(wide, detector.propose(path)).max() > 0.5
    assert height > 56


def test_maps_are_prepared_in_another_thread(train: DetectionData, tmp_path: Path) -> None:
    detector = Detector(cache=TensorCache(tmp_path), short_side=SHORT_SIDE)
    paths = [sample.path for sample in train.samples]
    thread = threading.Thread(target=lambda: [detector.prepare_image(path) for path in paths])
    thread.start()
    detector.update(train.samples[0].path, _labels(train, 0)).learn(train.classes)
    thread.join()
    assert all(detector.model_.encoder.is_cached(path) for path in paths)


def test_the_uncertain_image_comes_first(cache: TensorCache, train: DetectionData) -> None:
    found = _updated(cache, train, count=2).detect(train.samples[2].path, threshold=0).first(4)
    unsure, certain = (
        dataclasses.replace(found, confidence=np.full(len(found), confidence)) for confidence in (0.5, 0.99)
    )
    worth = usefulness(np.array([doubt_of(each) for each in (certain, unsure, certain)]), np.ones((3, 2)))
    assert worth.argmax() == 1
    assert worth[0] == worth[2]
    counts = np.array([[2.0, 1], [2, 1], [9, 1]])  # where doubt is equal, unusual counts come first
    assert usefulness(np.ones(3), counts).argmax() == 2


def test_calibration_tells_precision_and_recall_of_images_held_out(cache: TensorCache, train: DetectionData) -> None:
    detector = _updated(cache, train)
    judged = detector.calibrate()
    assert judged.objects.sum(axis=0).tolist() == [8, 8]
    assert judged.recall(detector.thresholds_).min() > 0.8
    assert judged.precision(detector.thresholds_).min() > 0.8
    assert judged.f1(detector.thresholds_).min() > judged.best_f1().min() - 0.1
    assert ((judged.confidence >= 0) & (judged.confidence <= 1)).all()
    assert detector.held_out_.keys() == {sample.path for sample in train.samples}
    confidences = np.concatenate([each.confidence for each in detector.held_out_.values()])
    assert np.array_equal(np.sort(confidences), np.sort(judged.confidence))
    assert all((np.diff(each.confidence) <= 0).all() for each in detector.held_out_.values())
    assert judged.recall(1.1).tolist() == [0, 0]
    assert np.isnan(judged.precision(1.1)).all()


def test_a_loaded_detector_stays_as_it_is_until_it_is_told_something(
    cache: TensorCache, train: DetectionData, tmp_path: Path
) -> None:
    fitted, path = _updated(cache, train, count=2), train.samples[0].path
    fitted.save(tmp_path / "one")
    loaded = Detector.load(tmp_path / "one", cache=cache)
    loaded.update(path, None, key="never seen")
    with pytest.raises(BoxError):
        loaded.update(path, ImageLabels(np.array([[9000.0, 0, 9009, 9]]), ("disc",)))
    assert loaded.learnt_from_ == fitted.learnt_from_
    assert len(loaded.learnt_from_) == 2
    assert len(loaded.detect(path, threshold=0)) == len(fitted.detect(path, threshold=0)) > 0
    assert _saved(loaded, tmp_path / "other") == (tmp_path / "one").read_bytes()
    loaded.update(path, _labels(train, 0)).learn()
    assert loaded.learnt_from_ == fitted.learnt_from_[:1]


def test_who_learns_again_keeps_the_scale_and_who_begins_anew_forgets_the_tuning(tmp_path: Path) -> None:
    images = [np.random.default_rng(seed).integers(0, 256, (200, 260, 3)).astype(np.uint8) for seed in range(2)]
    boxes = np.array([[20.0, 20, 38, 38], [80, 90, 98, 108]])
    targets = [{"boxes": boxes, "labels": ["a", "a"]}] * 2
    detector = Detector(layers=("stride16",), levels=(1,)).fit(images, targets)
    again = detector.relearnt()
    assert again.model_.encoder.scales == detector.model_.encoder.scales
    assert _saved(again, tmp_path / "again") == _saved(detector, tmp_path / "one")
    detector.deep_ = DeepReport(False, 0, (), (), 0, ())
    detector.fit(images, targets)
    assert detector.deep_ is None


def _two_images() -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    images = [np.random.default_rng(seed).integers(0, 256, (50, 60, 3)).astype(np.uint8) for seed in range(2)]
    return images, [{"boxes": np.array([[9.0, 9, 30, 30]]), "labels": ["a"]}] * 2


def test_what_is_set_counts_from_the_next_fit(tmp_path: Path) -> None:
    detector = Detector(short_side=64, layers=("stride16",), levels=(1,)).fit(*_two_images())
    maps = TensorCache(tmp_path / "maps")
    detector.set_params(cache=maps, settings="paper").learn()
    assert (len(maps), detector.model_.settings) == (0, OURS)
    detector.fit(*_two_images())
    assert (len(maps), detector.model_.settings.rule) == (2, "paper")
    with pytest.raises(ArgumentError, match=r"backbone: device must be auto.* or cpu on this machine, got 'tpu'"):
        detector.set_params(device="tpu").fit(*_two_images())


def test_another_engines_network_makes_all_maps_until_the_next_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = _two_images()
    detector = Detector(short_side=64, layers=("stride16",), levels=(1,)).fit(images, targets)
    other: Any = copy.deepcopy(detector.model_.encoder.backbone)
    run, asked = other.activations, []
    monkeypatch.setattr(other, "activations", lambda *given: asked.append(given) or run(*given))
    detector.encode_by(other)
    for number, ask in enumerate((detector.detect, detector.encode), start=1):
        ask(images[0])
        assert len(asked) == number
    detector.update(images[0], ImageLabels(np.array([[9.0, 9, 40, 40]]), ("a",)), key="another").learn()
    assert detector.model_.encoder.backbone is other
    assert len(asked) > 2
    assert detector.fit(images, targets).model_.encoder.backbone is not other


def test_messages(cache: TensorCache, train: DetectionData) -> None:
    detector = Detector(cache=cache, short_side=SHORT_SIDE)
    path = train.samples[0].path
    with pytest.raises(NotFittedError, match=r"Detector.learn: must know labelled images, got none\. Call update"):
        detector.learn()
    with pytest.raises(ArgumentError, match=r"ImageLabels: classes must be 1 names, one a box, got 0\. Name the class"):
        ImageLabels(np.array([[0.0, 0, 9, 9]]), ())
    with pytest.raises(BoxError, match=r"ImageLabels: regions\[0\] must be a box that holds some of the image"):
        detector.update(path, ImageLabels(np.array([[900.0, 0, 909, 9]]), ("disc",)))
    with pytest.raises(ArgumentError, match=r"Detector.update: key must be given for an image in memory"):
        detector.update(np.zeros((9, 9, 3), np.uint8), None)
    detector.update(path, _labels(train, 0))
    with pytest.raises(ArgumentError, match=r"classes must be different names, got \['a', 'a'\]\. Name each class"):
        detector.learn(["a", "a"])
    detector.learn(train.classes)
    with pytest.raises(DataError, match=r"Detector.calibrate: needs two labelled images\. Label another one first\."):
        detector.calibrate()


def test_an_image_without_any_region_is_learnt_from_and_answered(train: DetectionData, cache: TensorCache) -> None:
    seen, blank = train.samples[0], np.zeros((40, 40, 3), np.uint8)
    regions = {str(seen.path): np.concatenate([seen.boxes, seen.boxes + 3]), "blank": np.zeros((0, 4))}

    class Given:
        def regions(self, scene: Scene) -> Boxes:
            return regions[scene.name]

        def describe(self) -> dict[str, Any]:
            return {"method": "given"}

        def tensors(self) -> dict[str, torch.Tensor]:
            return {}

    detector = Detector(short_side=SHORT_SIDE, proposals=Given(), cache=cache)
    detector.update(seen.path, _labels(train, 0))
    nothing = ImageLabels(np.zeros((0, 4)), (), complete=False)
    detector.update(blank, nothing, key="blank").learn(train.classes)
    assert len(detector.detect(blank, threshold=0, name="blank")) == 0
    assert len(detector.detect(seen.path, threshold=0, name=str(seen.path))) > 0


def test_the_published_way_keeps_its_hard_negatives_for_validation_and_learns_from_rejections(
    cache: TensorCache, train: DetectionData
) -> None:
    options: dict[str, Any] = {"cache": cache, "short_side": SHORT_SIDE, "layers": ("stride16",), "levels": (1,)}
    detector = Detector(settings="paper", **options)
    for index in range(4):
        detector.update(train.samples[index].path, _labels(train, index))
    detector.learn(train.classes)
    learner = detector._learner
    assert learner is not None
    assert all(sum(len(group.rows) for group in kept.hard) > 0 for kept in learner.images.values())
    (whole,) = learner.without(detector.model_.head, train.classes, [[]])
    maps = learner.encoder(train.samples[0].path)
    regions = detector.propose(train.samples[0].path)
    scores = [head.scores(maps, regions)[:, 0] for head in (detector.model_.head, whole)]
    assert np.corrcoef(*scores)[0, 1] > 0.99  # learnt again from what was kept, it is nearly the head that answers
    known = _labels(train, 0, complete=False)
    box, name = known.boxes[:1] + 9, known.classes[0]
    before = detector.model_.head.scores(maps, box)[0, train.classes.index(name)]
    told = dataclasses.replace(known, rejected=box, rejected_classes=(name,))
    detector.update(train.samples[0].path, told).learn(train.classes)
    assert detector.model_.head.scores(maps, box)[0, train.classes.index(name)] < before
