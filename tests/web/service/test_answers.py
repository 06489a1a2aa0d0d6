"""What the service answers is what the library answers."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import safetensors.numpy
import torch
from tests.web.service.calling import LIMITS, Served, form

from sppnet.classification.classifier import Classifier
from sppnet.detection.detector import Detector
from sppnet.web.service.schemas import ClassifyAnswer, DetectAnswer, FeaturesAnswer, Health, ModelAnswer

STATIC = Path(__file__).parents[3] / "src/sppnet/web"


@pytest.fixture(scope="module")
def detector(models: dict[str, Path]) -> Detector:
    return Detector.load(models["shapes"])


@pytest.mark.parametrize("sent", ["body", "form"])
def test_detections_are_the_librarys(served: Served, detector: Detector, image: bytes, sent: str) -> None:
    body, kind = (image, "image/png") if sent == "body" else form(("image", image))
    reply = served.post("/v1/detect?threshold=0", body, kind)
    assert reply.status == 200
    answer = DetectAnswer.model_validate(reply.json())
    expected = detector.detect(image, threshold=0)
    assert (answer.height, answer.width) == detector.encode(image).size
    assert [each.box for each in answer.detections] == expected.boxes.round(2).tolist()
    np.testing.assert_allclose([each.score for each in answer.detections], expected.scores, atol=1e-4)
    np.testing.assert_allclose([each.confidence for each in answer.detections], expected.confidence, atol=1e-5)
    assert [each.class_ for each in answer.detections] == [expected.classes[label] for label in expected.labels]
    assert answer.counts == expected.counts()
    assert list(answer.seconds)[:4] == ["upload", "waiting", "reading", "scaling"]
    assert all(each.contribution is None for each in answer.detections)


def test_the_best_detections_come_first_and_alone(served: Served, image: bytes) -> None:
    every = served.post("/v1/detect?threshold=0", image).json()["detections"]
    best = served.post("/v1/detect?threshold=0&most=2", image).json()["detections"]
    assert len(every) > 2
    assert best == every[:2]
    assert served.post("/v1/detect?threshold=1", image).json()["detections"] == []


def test_without_a_threshold_each_class_has_its_own(served: Served, detector: Detector, image: bytes) -> None:
    facts = served.ask("GET", "/v1/model").json()["models"]
    assert facts[0]["thresholds"] == detector.thresholds_.tolist()
    assert facts[1]["thresholds"] == [0.0]  # the published classifier knows of no image that it did not learn from
    every = served.post("/v1/detect?threshold=0", image).json()["detections"]
    least = dict(zip(facts[0]["classes"], facts[0]["thresholds"], strict=True))
    shown = served.post("/v1/detect", image).json()["detections"]
    assert shown == [each for each in every if each["confidence"] >= least[each["class"]]]
    assert 0 < len(shown) < len(every)


def test_the_bins_of_an_answer_sum_to_its_score(served: Served, image: bytes) -> None:
    answer = DetectAnswer.model_validate(served.post("/v1/detect?explain=true", image).json())
    classes = ClassifyAnswer.model_validate(served.post("/v1/classify?explain=true", image).json())
    sums = []
    for each in (*answer.detections, *classes.best):
        assert each.contribution is not None
        terms = each.contribution
        sums.append(sum(terms.bins) + terms.bias)
        assert len(terms.bins) == len(terms.boxes) == sum(side * side for side in terms.levels)
    assert len(answer.detections) >= 2
    assert sums[: len(answer.detections)] == pytest.approx([each.score for each in answer.detections], abs=1e-4)
    logits = np.array(sums[len(answer.detections) :])
    odds = np.log([each.score / classes.best[0].score for each in classes.best])
    np.testing.assert_allclose(logits - logits[0], odds, atol=1e-3)


def test_classes_are_the_librarys(served: Served, models: dict[str, Path], image: bytes) -> None:
    answer = ClassifyAnswer.model_validate(served.post("/v1/classify", image).json())
    expected = Classifier.load(models["kinds"]).predict(image).top(2)
    assert [each.class_ for each in answer.best] == [name for name, _ in expected]  # "never" is untrained
    np.testing.assert_allclose([each.score for each in answer.best], [score for _, score in expected], atol=1e-5)
    assert len(served.post("/v1/classify?top=1", image).json()["best"]) == 1


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute as a worker does: the network's last bits depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("sent", ["json", "npy", "safetensors"])
def test_features_are_the_librarys(served: Served, detector: Detector, image: bytes, sent: str) -> None:
    boxes = [[0, 0, 64, 48], [10, 20.5, 1000, 60]]
    reply = served.post(f"/v1/features?model=shapes&format={sent}&boxes={quote(json.dumps(boxes))}", image)
    assert reply.status == 200
    maps = detector.encode(image)
    clipped = np.minimum(np.array(boxes), [*maps.size[::-1], *maps.size[::-1]])
    expected = maps.pool(clipped, (3, 2, 1)).numpy()
    if sent == "json":
        answer = FeaturesAnswer.model_validate(reply.json())
        rows, used = np.array(answer.features), np.array(answer.boxes)
        assert sum(part.channels * sum(side**2 for side in part.levels) for part in answer.parts) == rows.shape[1]
    elif sent == "npy":
        rows, used = np.load(io.BytesIO(reply.body)), clipped
    else:
        tensors = safetensors.numpy.load(reply.body)
        rows, used = tensors["features"], tensors["boxes"]
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    np.testing.assert_array_equal(used, clipped)


def test_features_are_of_the_whole_image_or_of_the_boxes_of_a_form(served: Served, image: bytes) -> None:
    whole = served.post("/v1/features?model=kinds", image).json()
    assert whole["boxes"] == [[0, 0, whole["width"], whole["height"]]]
    body, kind = form(("boxes", json.dumps(whole["boxes"]).encode()), ("image", image))
    assert served.post("/v1/features?model=kinds", body, kind).json()["features"] == whole["features"]
    none = served.post("/v1/features?boxes=[]", image).json()
    assert (none["boxes"], none["features"]) == ([], [])


def test_it_tells_what_it_serves_and_within_which_limits(served: Served) -> None:
    answer = ModelAnswer.model_validate(served.ask("GET", "/v1/model").json())
    assert [(each.name, each.kind) for each in answer.models] == [("shapes", "detector"), ("kinds", "classifier")]
    assert answer.models[0].classes == ["disc", "square"]
    assert answer.models[1].untrained == ["never"]
    assert answer.limits.upload_bytes == LIMITS.upload_bytes


def test_health_and_figures_tell_of_the_workers(served: Served, image: bytes) -> None:
    health = Health.model_validate(served.ask("GET", "/healthz").json())
    assert (health.workers, health.busy, health.waiting) == (1, 0, 0)
    count = 'sppnet_requests_total{path="/v1/detect",status="200"}'
    served.post("/v1/detect", image)
    before = served.measure(count)
    served.post("/v1/detect", image)
    assert served.measure(count) == before + 1
    assert served.measure("sppnet_held_bytes") == 0
    assert served.measure("sppnet_worker_bytes") > 1e8


def test_the_schema_names_every_refusal_and_type(served: Served) -> None:
    schema = served.ask("GET", "/openapi.json").json()
    assert set(schema["paths"]) == {"/v1/detect", "/v1/classify", "/v1/features", "/v1/model", "/healthz", "/metrics"}
    detect = schema["paths"]["/v1/detect"]["post"]
    assert set(detect["responses"]) == {"200", "400", "401", "403", "404", "408", "413", "415", "422", "503"}
    assert list(detect["responses"]["422"]["content"]) == ["application/problem+json"]
    assert set(detect["requestBody"]["content"]) == {"image/*", "application/octet-stream", "multipart/form-data"}
    box = schema["components"]["schemas"]["Detection"]["properties"]["box"]
    assert "pixels" in box["description"]


def test_the_page_loads_nothing_from_elsewhere(served: Served) -> None:
    page = served.ask("GET", "/")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in page.headers
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.body.decode()):
        assert served.ask("GET", path).status == 200, path
    for file in (STATIC / "service" / "page").iterdir():
        outside = re.findall(r"https?://[^\s\"'<>]+", file.read_text(encoding="utf-8"))
        assert set(outside) <= {"http://www.w3.org/2000/svg"}, file
