"""Every kind of model file: what is loaded is what was saved, and begins anew when it learns again."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

import sppnet
from sppnet import Classifier, Detector, GridProposals, PublishedNet, Settings, TensorCache, published_encoder
from sppnet.data import DetectionData, FolderData, load_detection
from sppnet.errors import ArgumentError, CorruptFileError, DataError, NotFittedError
from sppnet.models import KINDS
from sppnet.storage import read_tensors, write_tensors

SHORT_SIDE = 96


@pytest.fixture(scope="module")
def data(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="train")


@pytest.fixture(scope="module")
def folders(shapes: Path) -> FolderData:
    paths = tuple(sorted((shapes / "JPEGImages").iterdir())[:6])
    return FolderData(shapes, ("even", "never", "odd"), paths, np.array([0, 2, 0, 2, 0, 2]), ())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> TensorCache:
    return TensorCache(tmp_path_factory.mktemp("cache"))


def _network(levels: tuple[int, ...] | None = (2, 1)) -> PublishedNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PublishedNet("zf5", levels=levels, classes=3, width=0.05, padding="deployment").eval()


def _by_itself() -> Detector:
    return Detector(short_side=SHORT_SIDE)


def _as_published() -> Detector:
    grid = GridProposals(((45.0, 45.0),), 135, step=0.4)
    return Detector(short_side=(64, 96), layers=("stride16",), levels=(2, 1), proposals=grid, settings="paper", seed=3)


def _on_learnt_regions() -> Detector:
    return Detector(short_side=SHORT_SIDE, levels=(2, 1), proposals="learnt", settings=Settings(rounds=1))


def _on_another_network() -> Detector:
    encoder = published_encoder(_network(), (SHORT_SIDE,), layer="fc7")
    return Detector(encoder=encoder, levels=(2, 1))


def _classifier() -> Classifier:
    return Classifier(short_side=64, levels=(2, 1))


def _classifier_of_a_layer() -> Classifier:
    return Classifier(short_side=64, backbone=_network(None), layer="conv5")


DETECTORS = [_by_itself, _as_published, _on_learnt_regions, _on_another_network]
every_detector = pytest.mark.parametrize("make", DETECTORS)
every_estimator = pytest.mark.parametrize("make", [*DETECTORS, _classifier, _classifier_of_a_layer])
Make = Callable[[], Any]


def _fitted(model: Any, data: DetectionData, folders: FolderData, cache: TensorCache) -> Any:
    if getattr(model, "encoder", None) is None:  # one that is given has its own
        model.set_params(cache=cache)
    return model.fit(data if model.kind == "detector" else folders)


def _params(model: Any) -> dict[str, Any]:
    """Return a model's arguments, networks and encoders by what stands for their weights."""
    params = model.get_params() | {"cache": None}
    return {name: getattr(value, "fingerprint", value) for name, value in params.items()}


@every_estimator
@pytest.mark.slow
def test_what_is_loaded_is_what_was_saved(
    make: Make, data: DetectionData, folders: FolderData, cache: TensorCache, tmp_path: Path
) -> None:
    model = _fitted(make(), data, folders, cache)
    model.save(tmp_path / "model")
    loaded = sppnet.load(tmp_path / "model", cache=cache)
    assert type(loaded) is type(model)
    assert _params(loaded) == _params(model)
    for name in (name for name in ("classes_", "untrained_", "learnt_from_") if hasattr(model, name)):
        assert getattr(loaded, name) == getattr(model, name)
    path = data.samples[0].path
    if model.kind == "detector":
        one, other = model.detect(path, threshold=0), loaded.detect(path, threshold=0)
        for name in ("boxes", "labels", "confidence", "scores", "regions"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(model.thresholds_, loaded.thresholds_)
    else:
        np.testing.assert_array_equal(model.predict(path).scores, loaded.predict(path).scores)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    # Learning again begins anew, from the choices that were made, not from what came of them.
    _fitted(loaded, data, folders, cache).save(tmp_path / "refitted")
    assert (tmp_path / "refitted").read_bytes() == (tmp_path / "model").read_bytes()


@every_estimator
def test_it_is_copied_by_its_arguments_and_never_pickled(
    make: Make, data: DetectionData, folders: FolderData, cache: TensorCache
) -> None:
    model = make()
    copied = clone(model)
    assert copied is not model
    assert _params(copied) == _params(model)
    with pytest.raises(NotFittedError, match=r"must be trained, got one that is not\. Call fit, or load a model file"):
        copied.classes_  # noqa: B018
    name = type(model).__name__
    for way in (pickle.dumps, copy.copy):
        with pytest.raises(
            TypeError, match=rf"{name}: cannot be pickled\. Write it with {name.lower()}\.save\(path\), read it with"
        ):
            way(model)


def test_the_published_head_is_kept(tmp_path: Path) -> None:
    model = Classifier.imagenet(short_side=64)
    model.save(tmp_path / "model")
    loaded = sppnet.load(tmp_path / "model")
    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3)).astype(np.uint8)
    np.testing.assert_array_equal(model.predict(image).scores, loaded.predict(image).scores)
    assert (loaded.threshold_, _params(loaded)) == (0.0, _params(model))


def test_a_network_is_opened_too(tmp_path: Path) -> None:
    network = _network()
    network.save(tmp_path / "network")
    loaded = sppnet.load(tmp_path / "network")
    pixels = torch.zeros(1, 3, 80, 100)
    assert torch.equal(loaded(pixels), network(pixels))
    assert loaded.describe() == network.describe()


def test_arguments_are_changed_by_name_and_count_from_the_next_fit(folders: FolderData) -> None:
    model = Classifier(short_side=64, levels=(1,)).fit(folders)
    before = len(model.encoder_)
    model.set_params(levels=(2, 1)).fit(folders)
    assert len(model.encoder_) == 5 * before
    with pytest.raises(ArgumentError, match=r"Classifier\.set_params: name must be one of short_side, .*, got 'depth'"):
        model.set_params(depth=3)
    assert repr(Classifier(short_side=64)) == "Classifier(short_side=64)"
    assert repr(Detector()) == "Detector()"
    assert repr(clone(Detector(levels=(3, 2, 1), seed=4))) == "Detector(seed=4)"  # equal to what is usual, not the same


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_layout_is_refused(
    kind: str, folders: FolderData, data: DetectionData, cache: TensorCache, tmp_path: Path
) -> None:
    models = {"network": _network, "classifier": _classifier, "detector": _by_itself}
    model = models[kind]()
    if kind != "network":
        _fitted(model, data, folders, cache)
    model.save(tmp_path / "model")
    tensors, metadata = read_tensors(tmp_path / "model")
    write_tensors(tmp_path / "older", tensors, metadata=metadata | {"version": 0})
    with pytest.raises(CorruptFileError, match=rf"must hold a {kind} of layout \d, got layout 0\. Train it again"):
        sppnet.load(tmp_path / "older")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "else", {"weights": torch.zeros(1)}, metadata={"kind": "else"})
    with pytest.raises(CorruptFileError, match=r"else: must hold a model, got 'else'\. Train one: sppnet train --help"):
        sppnet.load(tmp_path / "else")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(CorruptFileError, match="text: is no file of sppnet: it does not begin as one"):
        sppnet.load(tmp_path / "text")
    with pytest.raises(DataError, match="none: No such file or directory"):
        sppnet.load(tmp_path / "none")
