"""The classifier: learns, answers, and is the same after saving; the published head is right at any size."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from sppnet.classification import classifier as module
from sppnet.classification.classifier import Classifier
from sppnet.classification.prediction import Prediction
from sppnet.data import FolderData, load_folders
from sppnet.errors import ArgumentError, CorruptFileError, DataError, NotFittedError
from sppnet.features.whole_image import ImageEncoder
from sppnet.images import mirror, read_image
from sppnet.storage import TensorCache, write_tensors


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 6 images a class, of many sizes: stripes across, stripes down, checks."""
    root = tmp_path_factory.mktemp("patterns")
    rng = np.random.default_rng(0)
    for name in ("across", "checks", "down"):
        (root / name).mkdir()
        for index in range(6):
            height, width = rng.integers(80, 200, 2)
            down, across = np.mgrid[:height, :width] // int(rng.integers(6, 12)) % 2
            pattern = {"across": down, "down": across, "checks": down ^ across}[name]
            pixels = np.repeat((pattern * 200 + rng.integers(0, 40, (height, width)))[:, :, None], 3, axis=2)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def halves(folders: Path) -> tuple[FolderData, FolderData]:
    data = load_folders(folders)
    train = np.arange(len(data.paths)) % 6 < 4

    def part(rows: np.ndarray) -> FolderData:
        paths = tuple(path for path, kept in zip(data.paths, rows, strict=True) if kept)
        return dataclasses.replace(data, paths=paths, labels=data.labels[rows])

    return part(train), part(~train)


@pytest.fixture(scope="module")
def classifier(halves: tuple[FolderData, FolderData]) -> Classifier:
    return Classifier(short_side=96).fit(halves[0])


@pytest.fixture(scope="module")
def mirrored(halves: tuple[FolderData, FolderData]) -> Classifier:
    return Classifier(short_side=96, views="mirrored").fit(halves[0])


def test_it_learns(classifier: Classifier, halves: tuple[FolderData, FolderData]) -> None:
    report = classifier.evaluate(halves[1])
    assert report.accuracy == 1.0
    assert report.confusion.tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert report.as_dict()["classes"] == {"across": 1.0, "checks": 1.0, "down": 1.0}


def test_scores_are_probabilities_and_what_is_none_of_the_classes_is_said(
    classifier: Classifier, halves: tuple[FolderData, FolderData]
) -> None:
    for path, label in zip(halves[1].paths, halves[1].labels, strict=True):
        prediction = classifier.predict(path)
        assert prediction.scores.sum() == pytest.approx(1.0, abs=1e-5)
        assert prediction.scores.argmax() == label
        assert prediction.threshold == classifier.threshold_
    assert 0 < classifier.threshold_ < 1
    assert Prediction(("a", "b"), np.array([0.6, 0.4], np.float32), threshold=0.6).label == "a"
    assert Prediction(("a", "b"), np.array([0.6, 0.4], np.float32), threshold=0.7).label == "none of these"


def test_one_image_a_class_is_enough_to_learn_and_tells_nothing_of_how_sure(
    halves: tuple[FolderData, FolderData],
) -> None:
    firsts = [int(np.flatnonzero(halves[0].labels == label)[0]) for label in range(3)]
    few = dataclasses.replace(
        halves[0], paths=tuple(halves[0].paths[row] for row in firsts), labels=halves[0].labels[firsts]
    )
    classifier = Classifier(short_side=96).fit(few)
    assert classifier.threshold_ == 0.0
    assert classifier.predict(few.paths[0]).label == few.classes[0]


def test_of_very_many_images_a_tenth_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """By descent as by the exact solution: nearly the same planes, and as sure."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 3
    vectors = (rng.normal(size=(3, 40))[labels] + rng.normal(size=(200, 40))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = module.learn_planes(vectors, labels, ("a", "b", "c"))
    monkeypatch.setattr(module, "MOST_SOLVED", 100)
    many = module.learn_planes(vectors, labels, ("a", "b", "c"))
    answers = [learnt.scores(torch.from_numpy(vectors)) for learnt in (exact, many)]
    assert (answers[0].argmax(dim=1) == answers[1].argmax(dim=1)).float().mean() > 0.95
    assert (answers[0] - answers[1]).abs().mean() < 0.1


def test_a_loaded_classifier_answers_as_the_saved_one(
    classifier: Classifier, halves: tuple[FolderData, FolderData], tmp_path: Path
) -> None:
    classifier.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    for path in halves[1].paths:
        np.testing.assert_array_equal(loaded.predict(path).scores, classifier.predict(path).scores)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_a_cache_changes_no_bit(halves: tuple[FolderData, FolderData], classifier: Classifier, tmp_path: Path) -> None:
    kept = Classifier(short_side=96, cache=TensorCache(tmp_path / "cache"))
    assert kept.estimate(halves[0]).missing == 12
    kept.fit(halves[0])
    assert kept.estimate(halves[0]).missing == 0
    kept.fit(halves[0]).save(tmp_path / "kept")
    classifier.save(tmp_path / "plain")
    assert (tmp_path / "kept").read_bytes() == (tmp_path / "plain").read_bytes()


def test_an_estimate_is_of_the_arguments_that_the_next_fit_counts(
    halves: tuple[FolderData, FolderData], tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path / "cache")
    kept = Classifier(short_side=96, cache=cache).fit(halves[0])
    before = kept.estimate(halves[0])
    told = kept.set_params(short_side=64, levels=(1,)).estimate(halves[0])
    assert (before.missing, told.missing) == (0, 12)
    assert told.model < before.model
    assert kept.encoder_.encoder.short_side == 96


@pytest.mark.parametrize(
    ("image", "names"),
    [
        ("chelsea", {"Egyptian cat", "tabby", "tiger cat"}),
        ("coffee", {"espresso"}),
        ("rocket", {"missile", "drilling platform"}),
    ],
)
def test_the_published_head_knows_photographs_at_their_own_size(image: str, names: set[str]) -> None:
    pixels = np.ascontiguousarray(getattr(skimage.data, image)())
    classifier = Classifier.imagenet(short_side=224)
    prediction = classifier.predict(pixels)
    assert prediction.label in names
    assert prediction.scores.sum() == pytest.approx(1.0, abs=1e-5)
    assert prediction.top(1) == [(prediction.label, pytest.approx(float(prediction.scores.max())))]


def test_the_published_head_is_the_published_one(tmp_path: Path) -> None:
    pixels = np.ascontiguousarray(skimage.data.chelsea()[:224, :224])
    classifier = Classifier.imagenet(short_side=224, views="whole")
    backbone = classifier.encoder_.encoder.backbone
    inputs = (torch.from_numpy(pixels).float().permute(2, 0, 1)[None] - 127) / 128
    expected = backbone.logits(inputs).softmax(1)[0].numpy()
    np.testing.assert_allclose(classifier.predict(pixels).scores, expected, atol=2e-3)  # maps are half precision
    classifier.save(tmp_path / "imagenet")
    loaded = Classifier.load(tmp_path / "imagenet").predict(pixels)
    np.testing.assert_array_equal(loaded.scores, classifier.predict(pixels).scores)


def _logits(classifier: Classifier, image: np.ndarray) -> torch.Tensor:
    """Return the scores of one view, before they become probabilities, in double precision."""
    weights, bias = (each.double() for each in classifier.planes_)
    encoder = classifier.encoder_
    whole = ImageEncoder(encoder.encoder, encoder.levels, mode=encoder.mode, normalised=encoder.normalised)
    return weights @ whole(image).double() + bias


@pytest.mark.parametrize("kind", ["learnt", "published"])
@pytest.mark.parametrize("size", [(96, 128), (131, 90), (40, 301)])
def test_mirrored_views_score_as_the_mean_of_the_image_and_its_mirror_image(
    mirrored: Classifier, kind: str, size: tuple[int, int]
) -> None:
    classifier = mirrored if kind == "learnt" else Classifier.imagenet(short_side=96, views="mirrored")
    image = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    scores = classifier.predict(image).scores
    mean = (_logits(classifier, image) + _logits(classifier, mirror(image))) / 2
    np.testing.assert_allclose(scores, mean.softmax(dim=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(scores, classifier.predict(mirror(image)).scores)
    assert not np.array_equal(_logits(classifier, image), _logits(classifier, mirror(image)))


def test_a_symmetrical_image_is_answered_the_same_by_both_views() -> None:
    half = np.ascontiguousarray(skimage.data.astronaut()[100:300, 150:310])
    image = np.concatenate([half, mirror(half)], axis=1)
    whole, both = (Classifier.imagenet(views=views).predict(image) for views in ("whole", "mirrored"))
    np.testing.assert_array_equal(both.scores, whole.scores)


def test_both_views_are_learnt_from_kept_apart_and_in_the_file(
    mirrored: Classifier, halves: tuple[FolderData, FolderData], tmp_path: Path
) -> None:
    mirrored.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    assert (loaded.views, loaded.encoder_.mirrored) == ("mirrored", True)
    for path in halves[1].paths:
        np.testing.assert_array_equal(loaded.predict(path).scores, mirrored.predict(path).scores)
    loaded.fit(halves[0]).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    # By its own views calibrated, too: what the mean vectors of all images teach.
    vectors = np.stack([mirrored.encoder_(path).numpy() for path in halves[0].paths])
    expected = module.learn_planes(vectors, halves[0].labels, halves[0].classes)
    assert mirrored.threshold_ == expected.threshold
    assert torch.equal(mirrored.planes_[0], expected.weights)


def test_of_two_views_the_cache_has_each(halves: tuple[FolderData, FolderData], tmp_path: Path) -> None:
    cache, path = TensorCache(tmp_path / "cache"), halves[0].paths[0]
    whole, both = (Classifier(short_side=96, views=views, cache=cache).encoder_ for views in ("whole", "mirrored"))
    expected = Classifier(short_side=96, views="mirrored").encoder_(path)
    whole(path)
    assert (whole.is_cached(path), both.is_cached(path), len(cache)) == (True, False, 1)
    for _ in range(2):  # one of them from the cache, then both
        assert torch.equal(both(path), expected)
        assert (both.is_cached(path), len(cache)) == (True, 2)
    assert torch.equal(both.compute(path), expected)
    assert torch.equal(whole(path), Classifier(short_side=96).encoder_(path))


def test_a_class_without_images_is_untrained(halves: tuple[FolderData, FolderData]) -> None:
    more = dataclasses.replace(halves[0], classes=(*halves[0].classes, "dots"))
    classifier = Classifier(short_side=96).fit(more)
    assert classifier.untrained_ == ("dots",)
    assert classifier.predict(halves[1].paths[0]).label != "dots"


def test_many_images_are_learnt_by_descent_instead(
    halves: tuple[FolderData, FolderData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SOLVED", 3)
    assert Classifier(short_side=96).fit(halves[0]).evaluate(halves[1]).accuracy == 1.0


def test_images_in_memory_with_labels_teach_the_same(
    classifier: Classifier, halves: tuple[FolderData, FolderData], tmp_path: Path
) -> None:
    data = halves[0]
    pixels = [read_image(path) for path in data.paths]
    names = [data.classes[label] for label in data.labels]
    fitted = Classifier(short_side=96).fit(pixels, names)
    assert fitted.classes_ == classifier.classes_
    tensors = [torch.from_numpy(each.copy()).permute(2, 0, 1) for each in pixels]
    again = Classifier(short_side=96).fit(tensors, data.labels, classes=data.classes)
    for path in halves[1].paths:
        expected = classifier.predict(path).scores
        np.testing.assert_array_equal(fitted.predict(path).scores, expected)
        np.testing.assert_array_equal(again.predict(Image.fromarray(read_image(path))).scores, expected)
    with pytest.raises(
        ArgumentError, match=r"Classifier\.fit: labels must be 12, one an image, got 11\. Give one label"
    ):
        Classifier().fit(pixels, names[1:])
    with pytest.raises(
        ArgumentError, match=r"Classifier\.fit: data must be a data set, or images with their labels, got"
    ):
        Classifier().fit(pixels)


def test_messages(classifier: Classifier, halves: tuple[FolderData, FolderData], tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match=r"Classifier: must be trained, got one that is not\. Call fit, or load"):
        Classifier().predict(np.zeros((9, 9, 3), np.uint8))
    expected = r"Classifier: views must be 'whole' or 'mirrored', got 'tilted'\. Name one"
    for make in (lambda: Classifier(views="tilted").fit(halves[0]), lambda: Classifier.imagenet(views="tilted")):
        with pytest.raises(ArgumentError, match=expected):
            make()
    one = dataclasses.replace(halves[0], labels=np.zeros_like(halves[0].labels))
    with pytest.raises(
        DataError, match=r"Classifier\.fit: must be given images of two classes at least\. Add a folder"
    ):
        Classifier().fit(one)
    with pytest.raises(DataError, match=r"that the model knows, got 1 other ones\. Give data\.only\(classifier\."):
        classifier.evaluate(dataclasses.replace(halves[1], classes=("else",)))
    write_tensors(tmp_path / "other", {"weights": torch.zeros(1)}, metadata={"kind": "detector"})
    with pytest.raises(
        CorruptFileError, match=r"must hold a classifier, got 'detector'\. Open it with sppnet.load, or"
    ):
        Classifier.load(tmp_path / "other")
