"""The detector: learns, answers, and is the same after saving, on synthetic shapes and on real blood cells."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sppnet.data import DetectionData, load_detection
from sppnet.detection.deep import quality
from sppnet.detection.detector import Detector
from sppnet.detection.files import describe_model, model_from_description
from sppnet.errors import ArgumentError, BoxError, CorruptFileError, DataError, ImageDecodeError, NotFittedError
from sppnet.features.joined import JoinedEncoder
from sppnet.features.scene import Scene
from sppnet.geometry import iou
from sppnet.images import read_image
from sppnet.proposals.files import FileProposals
from sppnet.storage import TensorCache, write_tensors


@pytest.fixture(scope="module")
def train(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="train")


@pytest.fixture(scope="module")
def val(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="val")


@pytest.fixture(scope="module")
def detector(train: DetectionData, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(cache=TensorCache(tmp_path_factory.mktemp("cache"))).fit(train)


def _saved(detector: Detector, path: Path) -> bytes:
    detector.save(path)
    return path.read_bytes()


def test_it_finds_what_it_was_taught(detector: Detector, val: DetectionData) -> None:
    report = detector.evaluate(val)
    assert report.classes == ("disc", "square")
    assert report.mean > 0.9
    assert detector.evaluate(val, iou=0.7).mean > 0.7


def test_detections_are_sorted_and_inside_the_image(detector: Detector, val: DetectionData) -> None:
    sample = val.samples[0]
    found = detector.detect(sample.path, threshold=0)
    assert (np.diff(found.confidence) <= 0).all()
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= sample.size[::-1]).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert len(found.above(0.5)) == sum(found.above(0.5).counts().values())


def test_detections_of_a_class_do_not_overlap(detector: Detector, val: DetectionData) -> None:
    """Before they vote on each box's place, which can bring two a little nearer than suppression lets them lie."""
    model, nearest = detector.model_, []
    for apart in (None, 0.6):
        model = dataclasses.replace(
            model, settings=dataclasses.replace(model.settings, voting_iou=None, apart_iou=apart)
        )
        found = model.detect(Scene(val.samples[0].path, model.encoder), threshold=0)
        of_class = [found.boxes[found.labels == label] for label in range(2)]
        nearest.append(max(iou(boxes, boxes)[~np.eye(len(boxes), dtype=bool)].max() for boxes in of_class))
        assert found.rivals is not None
        assert found.rivals.any() == (apart is not None)
    assert nearest[0] <= 0.3 + 1e-9 < nearest[1] <= 0.6 + 1e-9


def test_a_model_of_before_the_second_turn_answers_as_it_did(detector: Detector, val: DetectionData) -> None:
    description, tensors = describe_model(detector.model_)
    del description["settings"]["apart_iou"], tensors["rivalry"]
    model, own = model_from_description(description, tensors), detector.model_
    assert model.settings == dataclasses.replace(own.settings, apart_iou=None)
    scene = Scene(val.samples[0].path, model.encoder)
    found = model.detect(scene, threshold=0)
    curves = own.calibration
    assert found.scores is not None
    logits = curves.slopes[found.labels] * found.scores + curves.offsets[found.labels]
    np.testing.assert_allclose(found.confidence, 1 / (1 + np.exp(-logits)), rtol=1e-6)
    assert len(found) < len(own.detect(scene, threshold=0))


@pytest.mark.slow
def test_the_same_data_give_the_same_bits(detector: Detector, train: DetectionData, tmp_path: Path) -> None:
    again = Detector().fit(train)
    assert _saved(again, tmp_path / "again") == _saved(detector, tmp_path / "first")


def test_a_loaded_detector_answers_as_the_saved_one(detector: Detector, val: DetectionData, tmp_path: Path) -> None:
    detector.save(tmp_path / "model")
    loaded = Detector.load(tmp_path / "model")
    for sample in val.samples:
        one, other = detector.detect(sample.path), loaded.detect(sample.path)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert _saved(loaded, tmp_path / "again") == (tmp_path / "model").read_bytes()


def test_regions_of_an_encoded_image_are_scored(detector: Detector, val: DetectionData) -> None:
    sample = val.samples[0]
    feature_map = detector.encode(sample.path)
    scores = detector.score(feature_map, sample.boxes)
    assert scores.argmax(axis=1).tolist() == sample.labels.tolist()
    assert detector.score(feature_map, []).shape == (0, 2)
    with pytest.raises(BoxError, match=r"Detector\.score: regions\[1\] must be a box") as caught:
        detector.score(feature_map, [[0, 0, 9, 9], [9, 9, 9, 20]])
    assert caught.value.row == 1


@pytest.mark.slow
def test_a_class_without_objects_is_untrained_and_never_found(train: DetectionData, val: DetectionData) -> None:
    more = dataclasses.replace(train, classes=(*train.classes, "triangle"))
    detector = Detector().fit(more)
    assert detector.untrained_ == ("triangle",)
    found = detector.detect(val.samples[0].path)
    assert found.counts()["triangle"] == 0
    assert np.isfinite(found.scores).all()
    scores = detector.score(detector.encode(val.samples[0].path), val.samples[0].boxes)
    assert np.isneginf(scores[:, 2]).all()


@pytest.mark.slow
def test_difficult_objects_are_neither_learnt_nor_background(train: DetectionData) -> None:
    hard = [
        dataclasses.replace(sample, difficult=sample.labels == 0) if index else sample
        for index, sample in enumerate(train.samples)
    ]
    detector = Detector().fit(dataclasses.replace(train, samples=tuple(hard)))
    feature_map = detector.encode(train.samples[3].path)
    scores = detector.score(feature_map, train.samples[3].boxes[train.samples[3].labels == 0])
    assert scores[0, 0] > -0.5  # one disc was learnt from; as background this one would be pushed below -1


@pytest.mark.slow
def test_images_without_objects_teach_background(train: DetectionData) -> None:
    sample = train.samples[0]
    none = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, np.int64)}
    empty = dataclasses.replace(sample, **none, difficult=np.zeros(0, bool), crowd=np.zeros(0, bool))
    more = dataclasses.replace(train, samples=(*train.samples, empty))
    assert len(Detector().fit(more).classes_) == 2
    with pytest.raises(DataError, match=r"data must hold labelled objects, got none\. Label some first\."):
        Detector().fit(dataclasses.replace(train, samples=(empty,)))


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (40, 7), (700, 500)])
@pytest.mark.slow
def test_images_of_any_size_are_answered(detector: Detector, size: tuple[int, int]) -> None:
    found = detector.detect(np.full((*size, 3), 128, np.uint8))
    assert np.isfinite(found.boxes).all()
    assert np.isfinite(found.scores).all()


@pytest.mark.slow
def test_proposals_can_come_from_a_file(train: DetectionData, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["image,left,top,right,bottom"]
    for sample in train.samples:
        boxes = np.concatenate([sample.boxes, sample.boxes + rng.integers(-9, 9, (2, 4)), sample.boxes * 0.5])
        rows += [f"{sample.path.name}," + ",".join(map(str, box)) for box in boxes]
    (tmp_path / "regions.csv").write_text("\n".join(rows))
    detector = Detector(proposals=FileProposals(tmp_path / "regions.csv")).fit(train)
    found = detector.detect(train.samples[0].path, threshold=0.5)
    assert iou(found.boxes, train.samples[0].boxes).max(axis=0).min() > 0.5
    detector.save(tmp_path / "model")
    loaded = Detector.load(tmp_path / "model").detect(train.samples[0].path, threshold=0.5)
    np.testing.assert_array_equal(loaded.boxes, found.boxes)


def test_images_in_memory_find_their_regions_in_a_file(train: DetectionData, tmp_path: Path) -> None:
    few = train.subset(range(2))
    rows = [(f"image {place}", *box) for place, each in enumerate(few) for box in (*each.boxes, *each.boxes * 0.5)]
    table = "\n".join(",".join(map(str, row)) for row in (("image", "left", "top", "right", "bottom"), *rows))
    (tmp_path / "regions.csv").write_text(table)
    images = [read_image(sample.path) for sample in few]
    targets = [{"boxes": each.boxes, "labels": each.labels} for each in few]
    data = DetectionData.from_arrays(images, targets, classes=few.classes)
    detector = Detector(proposals=FileProposals(tmp_path / "regions.csv"), short_side=96).fit(data)
    assert detector.evaluate(data).mean > 0.5
    assert all(quality(detector.model_, data))


def test_one_name_in_a_file_of_regions_for_two_images_is_refused(train: DetectionData, tmp_path: Path) -> None:
    sample = train.samples[0]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(sample.path.read_bytes())
    data = dataclasses.replace(
        train, samples=tuple(dataclasses.replace(sample, path=tmp_path / folder / "1.png") for folder in ("a", "b"))
    )
    box = ",".join(map(str, sample.boxes[0]))
    (tmp_path / "regions.csv").write_text(f"image,left,top,right,bottom\n1.png,{box}\n1.png,0,0,9,9\n")
    detector = Detector(proposals=FileProposals(tmp_path / "regions.csv"), short_side=96)
    refused = f"regions.csv: '1.png' may mean {tmp_path}/a/1.png and {tmp_path}/b/1.png. Write their paths."
    with pytest.raises(ArgumentError, match=re.escape(refused)):
        detector.fit(data)
    detector.fit(dataclasses.replace(data, samples=data.samples[:1]))
    with pytest.raises(ArgumentError, match=re.escape(refused)):
        detector.evaluate(data)
    found = detector.detect(path for path in (data.paths[0], *data.paths))  # the same one twice is one
    with pytest.raises(ArgumentError, match=re.escape(refused)):
        list(found)


@pytest.mark.slow
def test_images_in_memory_with_targets_teach_the_same(train: DetectionData, tmp_path: Path) -> None:
    few = train.subset(range(4))
    expected = Detector(short_side=96).fit(few)
    images = [read_image(sample.path) for sample in few]
    targets = [{"boxes": torch.from_numpy(each.boxes), "labels": torch.from_numpy(each.labels)} for each in few]
    named = [{"boxes": each.boxes, "labels": [few.classes[label] for label in each.labels]} for each in few]
    for given, classes in ((targets, few.classes), (named, None)):
        fitted = Detector(short_side=96).fit(images, given, classes=classes)
        assert fitted.classes_ == few.classes
        one, other = (each.detect(train.samples[5].path, threshold=0) for each in (fitted, expected))
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.confidence, other.confidence)
    with pytest.raises(
        ArgumentError, match=r"Detector\.fit: data must be a data set, or images with their targets, got"
    ):
        Detector().fit(images)


def test_one_image_in_any_form_and_many_are_found_in(detector: Detector, val: DetectionData) -> None:
    paths = [sample.path for sample in val.samples]
    expected = [detector.detect(path) for path in paths]
    for one, other in zip(detector.detect(paths), expected, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
    pixels = read_image(paths[0])
    forms = (
        str(paths[0]),
        paths[0].read_bytes(),
        pixels,
        Image.fromarray(pixels),
        torch.from_numpy(pixels.copy()).permute(2, 0, 1),
    )
    for form in forms:
        np.testing.assert_array_equal(detector.detect(form).boxes, expected[0].boxes)
    assert list(detector.detect([])) == []
    found = detector.detect(iter([paths[0], paths[0].with_name("none.png")]))
    assert len(next(found)) == len(expected[0])
    with pytest.raises(ImageDecodeError, match=r"none\.png"):
        next(found)


def test_a_threshold_is_a_probability_or_each_classs_own(detector: Detector, val: DetectionData) -> None:
    every = detector.detect(val.samples[0].path, threshold=0)
    own = detector.detect(val.samples[0].path)
    assert own.confidence.tolist() == every.confidence[every.confidence >= detector.thresholds_[every.labels]].tolist()
    assert len(detector.detect(val.samples[0].path, threshold=0.5)) == len(every.above(0.5))
    with pytest.raises(
        ArgumentError, match=r"Detector\.detect: threshold must be from 0 to 1, got 2\. Give a confidence"
    ):
        detector.detect(val.samples[0].path, threshold=2)


def test_an_estimate_counts_what_is_missing(train: DetectionData, tmp_path: Path) -> None:
    detector = Detector(cache=TensorCache(tmp_path))
    before = detector.estimate(train)
    assert (before.images, before.missing) == (8, 8)
    assert before.seconds > 0
    assert before.memory > 10**8
    detector.fit(train)
    assert detector.estimate(train).missing == 0


@pytest.mark.parametrize("ranked", [False, True])
def test_an_estimate_without_a_cache_counts_every_look(
    ranked: bool, train: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each encodes the image again, and a grid that will be ranked is looked at once more."""
    monkeypatch.setattr("sppnet.detection.cost.timed", lambda _: 1.0)
    choice: dict[str, Any] = {"proposals": "learnt" if ranked else None, "short_side": 128}
    told = [Detector(**choice, cache=cache).estimate(train).seconds for cache in (None, TensorCache(tmp_path))]
    computed = []
    compute = JoinedEncoder.compute
    monkeypatch.setattr(JoinedEncoder, "compute", lambda *given: computed.append(1) or compute(*given))
    Detector(**choice).fit(train)
    assert told[0] - told[1] == len(computed) - len(train)


def test_messages(detector: Detector, val: DetectionData, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match=r"Detector: must be trained, got one that is not\. Call fit, or load"):
        Detector().detect(np.zeros((9, 9, 3), np.uint8))
    for images in (None, 7):
        with pytest.raises(ArgumentError, match=r"images must be an image, or an iterable of images, got (None|int)"):
            detector.detect(images)
    with pytest.raises(DataError, match=r"must hold the classes disc, square, got a, b\. Give data\.only\("):
        detector.evaluate(dataclasses.replace(val, classes=("a", "b")))
    write_tensors(tmp_path / "other", {"weights": torch.zeros(1)}, metadata={"kind": "else"})
    with pytest.raises(
        CorruptFileError, match=r"must hold a detector, got 'else'\. Open it with sppnet.load, or train"
    ):
        Detector.load(tmp_path / "other")


@pytest.mark.slow
def test_blood_cells_are_found(shared_data: Path) -> None:
    """A fifth of the training images is enough for most of the accuracy; the whole is measured in benchmarks."""
    train = load_detection(shared_data / "bccd", split="train")
    val = load_detection(shared_data / "bccd", split="val")
    detector = Detector().fit(dataclasses.replace(train, samples=train.samples[::5]))
    report = detector.evaluate(dataclasses.replace(val, samples=val.samples[::3]))
    assert report.mean > 0.8
