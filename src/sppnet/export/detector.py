"""A detector as a graph: image -> boxes, labels, confidence, with thresholds and suppression within.

It follows ``DetectorModel.detect`` step by step; what is there done class after class is here done for all at once.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from sppnet.detection.head import RegionHead
from sppnet.detection.model import CANDIDATES, GOOD, PER_CLASS, SCORE_FLOOR, DetectorModel
from sppnet.errors import check_that
from sppnet.export.graph import Graph, Value
from sppnet.export.images import image_inputs
from sppnet.export.maps import GraphMaps, JoinedGraphMaps, MultiscaleGraphMaps
from sppnet.export.networks import network_maps
from sppnet.export.regions import (
    apply_deltas,
    clip_boxes,
    grid_regions,
    images_in,
    inside,
    map_cells,
    overlaps,
    rivals,
    vote,
)
from sppnet.features.encoder import MapsEncoder
from sppnet.proposals.protocol import Proposals

NONE: Final = np.array(-np.inf, dtype=np.float32)


def detector_graph(
    model: DetectorModel, *, scaled: bool = False, thresholds: NDArray[np.float64] | None = None
) -> onnx.ModelProto:
    """Write a detector as a graph.

    Args:
        model: with no layers between maps and scores, whose regions come from a grid.
        scaled: whether images come scaled, with their own size as a further input; otherwise the graph scales.
        thresholds: (K,) the least confidence of each class; None is each one's own.
    Returns:
        ``image`` (height, width, 3) uint8 RGB [and ``size`` (2,) int64] -> ``boxes`` (N, 4) float32 in the pixels of
        the image, ``labels`` (N,) int64, ``confidence`` (N,) float32: as ``Detector.detect`` gives them.
    Raises:
        ArgumentError: a detector with layers on top, or whose regions need the image's pixels.
    """
    graph = Graph()
    size, maps = encoded_image(graph, model.encoder, scaled=scaled)
    pixels = size.to(np.float64)
    regions = _proposed(maps, model.proposals, pixels)
    boxes, labels, scores, beside = _Answers(maps, model, pixels).detect(regions)
    curves = model.calibration
    limits = curves.thresholds if thresholds is None else thresholds
    of_class = (curves.slopes, curves.rivalry, curves.offsets, limits)
    slopes, rivalry, offsets, least = (graph.constant(each).take(labels) for each in of_class)
    against = (rivalry * beside).over("ReduceSum", 1)
    sure = graph.op("Sigmoid", slopes * scores.to(np.float64) + against + offsets)
    shown = graph.op("NonZero", sure >= least).reshape(-1)
    confidence, order = graph.best(sure.take(shown), shown.shape(0))
    graph.output("boxes", boxes.take(shown).take(order).to(np.float32), ["found", 4])
    graph.output("labels", labels.take(shown).take(order), ["found"])
    graph.output("confidence", confidence.to(np.float32), ["found"])
    return graph.model()


def encoded_image(graph: Graph, encoder: MapsEncoder, *, scaled: bool) -> tuple[Value, GraphMaps]:
    """Add the inputs and the network; return the image's (height, width), (2,) int64, and its maps."""
    plain, layers_on_top = encoder.split()
    advice = "Export a detector that pools maps"
    expected = "without layers between maps and scores"
    check_that(layers_on_top is None, "export", "model", expected, "one with them", advice=advice)
    images, own = image_inputs(graph, encoder.scales, scaled=scaled)
    size = graph.input("size", np.int64, [2]) if scaled else own
    told, layers = plain.describe(), plain.layers
    channels = tuple(plain.backbone.channels[layer] for layer in layers)
    made = []
    for image in images:
        found = network_maps(graph, plain.backbone, image, layers)
        sizes = size, graph.op("Shape", image, end=2)
        places = [map_cells(found[layer], plain.backbone, layer, sizes, told["rule"]) for layer in layers]
        made.append(JoinedGraphMaps(tuple(places), channels))
    if len(made) == 1:
        return size, made[0]
    pixels = size.to(np.float64)
    return size, MultiscaleGraphMaps(tuple(made), encoder.scales, pixels, told["rule"], told["view_side"])


def boxes_graph(model: DetectorModel, *, scaled: bool = False) -> onnx.ModelProto:
    """Write what a detector makes of given boxes: the rows that it pools, and how certain it is of each class.

    Args:
        model, scaled: as in ``detector_graph``; where its regions come from does not matter.
    Returns:
        ``image``, [``size``,] ``boxes`` (R, 4) float32 in the pixels of the image -> ``features`` (R, D) float32, in
        the order of ``Detector.features``, and ``confidence`` (R, K) float32.
    """
    graph = Graph()
    size, maps = encoded_image(graph, model.encoder, scaled=scaled)
    given = graph.input("boxes", np.float32, ["given", 4]).to(np.float64)
    boxes = clip_boxes(given, size.to(np.float64))
    head, curves = model.head, model.calibration
    rows = maps.pool(boxes, head.levels)
    scores = rows @ head.weights.numpy().T + head.bias.numpy()
    sure = graph.op("Sigmoid", scores.to(np.float64) * curves.slopes + curves.offsets)
    graph.output("features", rows, ["given", "length"])
    graph.output("confidence", sure.to(np.float32), ["given", "classes"])
    return graph.model()


def _proposed(maps: GraphMaps, proposals: Proposals, size: Value) -> Value:
    """Return the regions (R, 4) of an image of ``size`` (2,) float64, one for each window."""
    told, weights = proposals.describe(), [tensor.numpy() for tensor in proposals.tensors().values()]
    grid = told.get("grid", told)
    advice = 'Train it with proposals "grid" or "learnt"'
    check_that("shapes" in grid, "export", "model", "one whose regions are a grid's", told["method"], advice=advice)
    graph = size.graph
    regions = maps.unique(grid_regions(graph, size, grid["shapes"], grid["short_side"], grid["step"]))
    if weights:
        scores = maps.score_averages(regions, told["levels"], *weights).transpose(1, 0)
        count, (classes, _) = regions.shape(0), weights[0].shape
        order = graph.best(scores, count)[1]  # (K, R)
        places = graph.op("Expand", graph.range(count), graph.stack(graph.constant(np.array(classes)), count))
        ranks = graph.op("ScatterElements", order, order, places, axis=1).over("ReduceMin", 0)
        best = graph.best(0 - ranks, count.smaller(_times(told["limit"], images_in(size, grid["short_side"]))))[1]
        regions = regions.take(best.take(graph.order(best)))
    return maps.unique(regions)


def _times(count: int, share: Value) -> Value:
    """Return a count of an image that counts as one, for one that counts as several, () int64."""
    return (share * count).to(np.int64)


@dataclass(frozen=True)
class _Answers:
    """The head's answers to regions of an image of ``size`` (2,) float64."""

    maps: GraphMaps
    model: DetectorModel
    size: Value

    def detect(self, regions: Value) -> tuple[Value, Value, Value, Value]:
        """(R, 4) -> boxes (M, 4), labels (M,), scores (M,) and rivals (M, 2) of what suppression leaves."""
        graph, head, settings = regions.graph, self.model.head, self.model.settings
        classes = len(self.model.classes)
        scores = self.maps.score(regions, head.levels, head.weights.numpy(), head.bias.numpy()).transpose(1, 0)
        good = (scores > GOOD).to(np.int64).over("ReduceSum", 1).over("ReduceMax", 0, keep=False)
        share = images_in(self.size, max(self.model.encoder.scales))
        candidates, most = (_times(number, share).larger(good) for number in (CANDIDATES, PER_CLASS))
        count = scores.shape(1).smaller(candidates)
        best, places = graph.best(scores, count)
        likely = graph.op("NonZero", best > SCORE_FLOOR)  # (2, V): class and place, class by class
        labels = likely.take(0)
        first = likely.transpose(1, 0)
        boxes = regions.take(graph.op("GatherND", places, first))
        moved = graph.op("GatherND", best, first)
        for turn in range(settings.rounds):
            moved, boxes = self._refined(boxes, labels, share=settings.damping if turn else 1.0)
        of_class, of_score = self._by_class(graph, first, boxes, moved, count, classes)
        chosen = self._kept(of_class, of_score, most)
        own, found = graph.op("GatherND", of_class, chosen), graph.op("GatherND", of_score, chosen)
        label, place = chosen.take(0, axis=1), chosen.take(1, axis=1)
        if settings.voting_iou is not None:
            voters = of_class.take(label), of_score.take(label).to(np.float64)
            itself = place.insert(1).equals(graph.range(count).insert(0))
            own = vote(own, *voters, itself, settings.voting_iou)
        return own, label, found, self._rivals(own, found, chosen, of_class, most)

    def _rivals(self, boxes: Value, scores: Value, chosen: Value, of_class: Value, most: Value) -> Value:
        """Tell what speaks against each of M detections beside its score, (M, 2) float64: ``geometry.rivals``.

        Args:
            boxes: (M, 4). scores: (M,). chosen: (M, 2) class and place of each among ``of_class`` (K, N, 4).
        """
        graph, label = boxes.graph, chosen.take(0, axis=1)
        if self.model.settings.apart_iou is None:
            return graph.op(
                "Expand", graph.constant(np.zeros(2)), graph.stack(scores.shape(0), graph.value(2, np.int64))
            )
        nobody = graph.op("Expand", graph.constant(NONE), graph.op("Shape", of_class, end=2))
        same = graph.op("ScatterND", of_class, chosen, boxes), graph.op("ScatterND", nobody, chosen, scores)
        surest, places = graph.best(scores, scores.shape(0).smaller(most))
        own = label.insert(1).equals(label.take(places).insert(0))
        others = boxes.take(places).insert(0), graph.where(own, graph.constant(NONE), surest)
        return rivals(boxes, scores, [part.take(label) for part in same], others)

    def _kept(self, boxes: Value, scores: Value, most: Value) -> Value:
        """Return class and place (M, 2) of the candidates (K, N, 4) that suppression keeps: ``DetectorModel._kept``."""
        settings, graph = self.model.settings, boxes.graph
        first = self._suppressed(boxes, scores, most)
        if settings.apart_iou is None:
            return first
        label = first.take(0, axis=1)
        near = overlaps(graph.op("GatherND", boxes, first), boxes.take(label)) > settings.apart_iou
        of_class = label.insert(0).equals(np.arange(len(self.model.classes))[:, None])  # (K, M)
        taken = of_class.to(np.float32) @ near.to(np.float32)
        left = graph.where(taken > 0.0, graph.constant(NONE), scores)
        return graph.join(first, self._suppressed(boxes, left, most))

    def _suppressed(self, boxes: Value, scores: Value, most: Value) -> Value:
        graph = boxes.graph
        kept = graph.op(
            "NonMaxSuppression",
            boxes.to(np.float32),
            scores.insert(1),
            most.insert(0),
            graph.constant(np.array([self.model.settings.nms_iou], dtype=np.float32)),
            graph.constant(np.array([SCORE_FLOOR], dtype=np.float32)),
        )
        return kept.take([0, 2], axis=1)

    def _refined(self, boxes: Value, labels: Value, *, share: float) -> tuple[Value, Value]:
        """Score boxes (V, 4) for their own class and move them by a share: one turn of ``RegionHead.refine``."""
        graph = boxes.graph
        answers = self.maps.score(boxes, self.model.head.levels, *_answering(self.model.head))
        own = answers.reshape(0, len(self.model.classes), 5)
        own = graph.op("GatherND", own, labels.insert(1), batch_dims=1)
        moved = apply_deltas(self.maps.align(boxes), own.part(1, 5, 1).to(np.float64) * share)
        return own.take(0, axis=1), inside(moved, self.size)

    @staticmethod
    def _by_class(
        graph: Graph, first: Value, boxes: Value, scores: Value, count: Value, classes: int
    ) -> tuple[Value, Value]:
        """Lay candidates (V, 4) out as (K, N, 4), and their scores as (K, N), minus infinity where there is none."""
        shape = graph.stack(graph.constant(np.array(classes)), count)
        nobody = graph.op("Expand", graph.constant(NONE), shape)
        nowhere = graph.op("Expand", graph.constant(np.zeros(4)), graph.join(shape, graph.constant(np.array([4]))))
        return graph.op("ScatterND", nowhere, first, boxes), graph.op("ScatterND", nobody, first, scores)


def _answering(head: RegionHead) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights (K * 5, D) and bias (K * 5,): of each class the score's and the four deltas'."""
    weights = torch.cat([head.weights[:, None], head.delta_weights], dim=1).flatten(0, 1)
    return weights.numpy(), torch.cat([head.bias[:, None], head.delta_bias], dim=1).flatten().numpy()
