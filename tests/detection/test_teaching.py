"""Teaching image by image: as good as learning at once, exact in what it forgets, silent on what nobody said."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
from sppnet.detection.teaching import Taught, Teacher

from sppnet.data import DetectionData, load_detection
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError, BoxError, DataError
from sppnet.geometry import iou
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


def _taught(data: DetectionData, index: int, *, complete: bool = True) -> Taught:
    sample = data.samples[index]
    return Taught(sample.path, sample.boxes, tuple(data.classes[label] for label in sample.labels), complete=complete)


def _taught_all(cache: TensorCache, data: DetectionData, count: int = 8) -> tuple[Teacher, Detector]:
    teacher = Teacher(cache=cache, short_side=SHORT_SIDE)
    for index in range(count):
        teacher.update(_taught(data, index))
    return teacher, teacher.learn(data.classes)


def _saved(detector: Detector, path: Path) -> bytes:
    detector.save(path)
    return path.read_bytes()


def test_a_taught_detector_finds_as_a_fitted_one_does(
    cache: TensorCache, train: DetectionData, val: DetectionData
) -> None:
    _, taught = _taught_all(cache, train)
    fitted = Detector(short_side=SHORT_SIDE, cache=cache).fit(train)
    assert taught.evaluate(val).mean >= fitted.evaluate(val).mean - 0.02


def test_one_image_is_enough_to_find_something(cache: TensorCache, train: DetectionData) -> None:
    _, detector = _taught_all(cache, train, count=1)
    found = detector.detect(train.samples[1].path).above(0)
    assert set(found.labels) == {0, 1}


def test_the_same_calls_give_the_same_bits(cache: TensorCache, train: DetectionData, tmp_path: Path) -> None:
    def taught() -> bytes:
        teacher, _ = _taught_all(cache, train, count=4)
        first = _taught(train, 0)
        teacher.update(dataclasses.replace(first, boxes=first.boxes[1:], classes=first.classes[1:]))
        teacher.learn(train.classes)
        teacher.forget(train.samples[1].path)
        return _saved(teacher.learn(train.classes), tmp_path / "model")

    assert taught() == taught()


def test_what_was_forgotten_leaves_nothing_behind(cache: TensorCache, train: DetectionData) -> None:
    teacher, _ = _taught_all(cache, train, count=2)
    teacher.forget(train.samples[0].path)
    teacher.forget(train.samples[1].path)
    assert teacher.images == ()
    with pytest.raises(DataError, match=r"no object of disc, square is boxed\. Draw a box first\."):
        teacher.learn(train.classes)


def test_a_rejected_suggestion_scores_lower(cache: TensorCache, train: DetectionData) -> None:
    teacher = Teacher(cache=cache, short_side=SHORT_SIDE)
    teacher.update(_taught(train, 0, complete=False))
    detector = teacher.learn(train.classes)
    sample = train.samples[1]
    found = detector.detect(sample.path)
    wrong, name = found.boxes[:1], found.classes[found.labels[0]]
    before = detector.score(detector.encode(sample.path), wrong)[0, found.labels[0]]
    teacher.update(Taught(sample.path, np.zeros((0, 4)), (), wrong, (name,)))
    again = teacher.learn(train.classes)
    after = again.score(again.encode(sample.path), wrong)[0, found.labels[0]]
    assert after < before - 0.5


def test_what_nobody_boxed_is_no_negative(cache: TensorCache, train: DetectionData) -> None:
    """Four images of which only the discs are boxed and one with all: squares must be found all the same."""
    teacher = Teacher(cache=cache, short_side=SHORT_SIDE)
    teacher.update(_taught(train, 0))
    for index in range(1, 5):
        whole = _taught(train, index)
        discs = np.array([name == "disc" for name in whole.classes])
        teacher.update(Taught(whole.path, whole.boxes[discs], ("disc",) * int(discs.sum())))
    detector = teacher.learn(train.classes)
    for sample in train.samples[1:5]:
        square = sample.boxes[sample.labels == 1]
        assert detector.score(detector.encode(sample.path), square)[0, 1] > 0


def test_classes_can_come_and_go(cache: TensorCache, train: DetectionData) -> None:
    teacher, both = _taught_all(cache, train, count=4)
    alone = teacher.learn(["square"])
    assert alone.classes == ("square",)
    again = teacher.learn(["square", "disc", "star"])
    assert again.untrained == ("star",)
    one, other = (each.detect(train.samples[5].path).above(0).counts() for each in (both, again))
    assert {name: other[name] for name in one} == one


def test_a_grid_grows_with_boxes_of_another_shape(cache: TensorCache, train: DetectionData) -> None:
    teacher = Teacher(cache=cache, short_side=SHORT_SIDE)
    path, (height, width) = train.samples[0].path, train.samples[0].size
    teacher.update(Taught(path, np.array([[10.0, 10, 40, 40]]), ("disc",)))
    before = teacher.learn(["disc"]).propose(path, teacher.encoder(path))
    wide = np.array([[2.0, 40, width - 2, 56]])
    assert iou(wide, before).max() < 0.5
    teacher.update(Taught(train.samples[1].path, np.array([[2.0, 40, train.samples[1].size[1] - 2, 56]]), ("disc",)))
    after = teacher.learn(["disc"]).propose(path, teacher.encoder(path))
    assert iou(wide, after).max() > 0.5
    assert height > 56


def test_maps_are_prepared_in_another_thread(train: DetectionData, tmp_path: Path) -> None:
    teacher = Teacher(cache=TensorCache(tmp_path), short_side=SHORT_SIDE)
    paths = [sample.path for sample in train.samples]
    thread = threading.Thread(target=lambda: [teacher.prepare(path) for path in paths])
    thread.start()
    teacher.update(_taught(train, 0))
    teacher.learn(train.classes)
    thread.join()
    assert all(teacher.encoder.is_cached(path) for path in paths)


def test_images_that_were_told_of_are_not_suggested(cache: TensorCache, train: DetectionData) -> None:
    teacher, detector = _taught_all(cache, train, count=2)
    found = {sample.path: detector.detect(sample.path) for sample in train.samples}
    order = teacher.suggest_order(found)
    assert sorted(order) == sorted(sample.path for sample in train.samples[2:])
    assert teacher.suggest_order({}) == ()


def test_the_uncertain_image_comes_first(cache: TensorCache, train: DetectionData) -> None:
    teacher, detector = _taught_all(cache, train, count=2)
    sure = detector.detect(train.samples[2].path).above(0)
    unsure = dataclasses.replace(sure, scores=np.full_like(sure.scores, 0.01))
    certain = dataclasses.replace(sure, scores=np.full_like(sure.scores, 3.0))
    order = teacher.suggest_order({Path("a"): certain, Path("b"): unsure, Path("c"): certain})
    assert order == (Path("b"), Path("a"), Path("c"))


def test_validation_tells_precision_and_recall(cache: TensorCache, train: DetectionData) -> None:
    teacher, _ = _taught_all(cache, train)
    report = teacher.validate(train.classes, folds=4)
    assert report.positives.tolist() == [8, 8]
    assert report.recall().min() > 0.8
    assert report.precision().min() > 0.8
    assert report.recall(100.0).tolist() == [0, 0]
    assert np.isnan(report.precision(100.0)).all()


def test_messages(cache: TensorCache, train: DetectionData) -> None:
    teacher = Teacher(cache=cache, short_side=SHORT_SIDE)
    path = train.samples[0].path
    with pytest.raises(ArgumentError, match=r"Taught: classes must be 1 names, one a box, got 0\. Name the class"):
        Taught(path, np.array([[0.0, 0, 9, 9]]), ())
    with pytest.raises(BoxError, match=r"Teacher.update: regions\[0\] must be a box that holds some of the image"):
        teacher.update(Taught(path, np.array([[900.0, 0, 909, 9]]), ("disc",)))
    with pytest.raises(ArgumentError, match=r"classes must be different names, got \['a', 'a'\]\. Name each class"):
        teacher.learn(["a", "a"])
    with pytest.raises(DataError, match=r"Teacher.validate: needs two images and a detector of the same classes"):
        teacher.validate(["disc"])
