"""Fine-tuning: what it learns, what it leaves, and what it refuses."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from sppnet.backbones import PublishedNet
from sppnet.data import DetectionData, load_detection
from sppnet.detection.detector import Detector
from sppnet.detection.examples import LabelledImage, labelled_images, labels_of, no_boxes
from sppnet.detection.fine_tuning import fine_tune, fine_tuned, fresh_layers
from sppnet.detection.settings import OURS, Fitting
from sppnet.errors import ArgumentError
from sppnet.features.files import published_encoder
from sppnet.features.layers import LayeredEncoder
from sppnet.geometry import apply_deltas
from sppnet.storage import TensorCache

SHORT = Fitting(rates=(1e-2, 1e-3), steps=(60, 10), batch=32, dropout=0.0)


@pytest.fixture(scope="module")
def train(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="train")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    cache = TensorCache(tmp_path_factory.mktemp("cache"))
    settings = dataclasses.replace(OURS, fitting=SHORT)
    return Detector(short_side=96, levels=(2, 1), settings=settings, cache=cache)


def test_a_detector_learns_on_fine_tuned_layers(
    plain: Detector, train: DetectionData, shapes: Path, tmp_path: Path
) -> None:
    val = load_detection(shapes, split="val")
    layers = fresh_layers(plain.prepare(train)[0].length((2, 1)), hidden=32)
    detector = fine_tuned(plain, train, layers=layers)
    assert detector.evaluate(val).mean > 0.8
    head = detector.save(tmp_path / "model") or Detector.load(tmp_path / "model")
    one, other = detector.detect(val.samples[0].path), head.detect(val.samples[0].path)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_the_layers_tell_objects_from_background_better_than_before(plain: Detector, train: DetectionData) -> None:
    encoder, proposals = plain.prepare(train)
    images = labelled_images(train, encoder, proposals)
    start = fresh_layers(encoder.length((2, 1)), hidden=32)
    before = [layer.weight.clone() for layer in start.layers]
    after = fine_tune(images, start, train.classes, levels=(2, 1), fitting=SHORT)
    again = fine_tune(images, start, train.classes, levels=(2, 1), fitting=SHORT)
    for old, kept, new, same in zip(before, start.layers, after.layers, again.layers, strict=True):
        assert torch.equal(old, kept.weight)
        assert torch.equal(new.weight, same.weight)
        assert not torch.equal(old, new.weight)

    def apart(layers: object) -> float:
        """Return how far objects lie from background, in the spread of both."""
        _, regions = images[0].load()
        ground_truth = LayeredEncoder(encoder, layers)(train.samples[0].path).pool(images[0].labels.boxes, (2, 1))
        rest = LayeredEncoder(encoder, layers)(train.samples[0].path).pool(regions[::50], (2, 1))
        return float((ground_truth.mean(0) - rest.mean(0)).norm() / rest.std(0).norm())

    assert apart(after) > apart(start)


def test_the_papers_networks_are_fine_tuned_from_their_own_layers(train: DetectionData, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PublishedNet("zf5", levels=(2, 1), width=0.1, padding="deployment")
    settings = dataclasses.replace(OURS, fitting=dataclasses.replace(SHORT, steps=(3, 1)))
    encoder = published_encoder(network, (96, 128), layer="fc7")
    few = dataclasses.replace(train, samples=train.samples[:2])
    detector = fine_tuned(Detector(encoder=encoder, levels=(2, 1), settings=settings), few)
    learnt = detector.model_.encoder
    assert isinstance(learnt, LayeredEncoder)
    assert isinstance(encoder, LayeredEncoder)
    sizes = [layer.weight.shape for layer in learnt.region_layers.layers]
    assert sizes == [layer.weight.shape for layer in encoder.region_layers.layers]
    detector.save(tmp_path / "model")
    loaded = Detector.load(tmp_path / "model")
    one, other = (each.detect(few.samples[0].path) for each in (detector, loaded))
    np.testing.assert_array_equal(one.scores, other.scores)


def test_messages(plain: Detector, train: DetectionData) -> None:
    encoder, proposals = plain.prepare(train)
    layers = fresh_layers(encoder.length((2, 1)), hidden=8)
    sample = dataclasses.replace(train.samples[0], difficult=np.ones(2, bool))
    hard = labelled_images(dataclasses.replace(train, samples=(sample,)), encoder, proposals)
    with pytest.raises(ArgumentError, match=r"fine_tune: images must be with regions on objects, got none\. Label"):
        fine_tune(hard, layers, train.classes, levels=(2, 1), fitting=SHORT)
    alone = [
        LabelledImage(
            lambda: (encoder(train.samples[0].source), no_boxes()), labels_of(train.samples[0], train.classes)
        )
    ]
    expected = (
        r"fine_tune: images must be with regions that overlap objects by 0\.1 to 0\.5, got none\. Label objects, or"
    )
    with pytest.raises(ArgumentError, match=expected):
        fine_tune(alone, layers, train.classes, levels=(2, 1), fitting=SHORT)
    odd = dataclasses.replace(SHORT, rates=(1.0,))
    with pytest.raises(ArgumentError, match=r"fine_tune: fitting must be of as many rates as steps, got 1 rates"):
        fine_tune([], layers, train.classes, levels=(2, 1), fitting=odd)
    with pytest.raises(ArgumentError, match=r"published_encoder: layer must be one of pool5, fc6, fc7, got 'fc9'"):
        published_encoder(PublishedNet("zf5", levels=(1,), width=0.1), (96,), layer="fc9")


def test_layers_as_wide_as_the_pooled_rows_do_not_move_boxes_by_their_outputs(
    plain: Detector, train: DetectionData
) -> None:
    """Boxes are regressed from what lies under the layers, however long both rows are."""
    encoder = plain.prepare(train)[0]
    width = encoder.length((1,))
    torch.manual_seed(0)
    layers = fresh_layers(width, hidden=width)
    one = Detector(encoder=LayeredEncoder(encoder, layers), levels=(1,), settings=plain.settings).fit(train)
    head, maps = one.model_.head, one.encode(train.samples[0].path)
    assert head.weights.shape[1] == head.delta_weights.shape[2] == width
    regions = train.samples[0].boxes[:1] + np.array([-6.0, -6.0, 6.0, 6.0])
    moved = head.refine(maps, regions, 0, rounds=1)[0]
    deltas = (maps.pooled_maps.pool(regions, (1,)) @ head.delta_weights[0].T + head.delta_bias[0]).numpy()
    wanted = apply_deltas(maps.align_to_cells(regions), deltas.astype(np.float64))
    height, width = maps.size
    np.testing.assert_allclose(moved, np.clip(wanted, 0, [width, height, width, height]), atol=0.05)
