"""A model exported to a folder: the graph, what it is called, how to run it."""

import json
from pathlib import Path
from typing import Any, Literal

import onnx

from sppnet.classification.classifier import Classifier
from sppnet.detection.detector import Detector
from sppnet.export.classifier import classifier_graph
from sppnet.export.detector import boxes_graph, detector_graph
from sppnet.export.engine import check_maps
from sppnet.export.graph import OPSET
from sppnet.export.images import input_names
from sppnet.storage import write_file

Scaling = Literal["inside", "outside"]

_INPUTS = {
    "inside": "| `image` | (height, width, 3) uint8 | RGB, upright, of any size |",
    "outside": "| `{name}` | (h, w, 3) uint8 | RGB, upright, shorter side scaled to {short_side} pixels (bicubic) |",
}
_OUTPUTS = {
    "detector": """| `boxes` | (N, 4) float32 | left, top, right, bottom in pixels of the image, ends excluded |
| `labels` | (N,) int64 | places in `classes` of labels.json |
| `confidence` | (N,) float32 | the probability that each is right, falling; each class's threshold is applied |""",
    "boxes": """| `features` | (R, D) float32 | the pooled row of each box |
| `confidence` | (R, K) float32 | of each class for each box, before suppression |""",
    "classifier": "| `scores` | (K,) float32 | of each class, in the order of labels.json |",
}
_SCALED_WITHIN = """The image is scaled within, by the operator Resize as ONNX Runtime has it. It rounds one pixel in a
thousand otherwise than Pillow does, by one level of 255, so that boxes and confidence may differ a little from those of
sppnet; with `--scaling outside` they do not."""


def export_detector(detector: Detector, folder: Path, *, scaling: Scaling = "inside", boxes: bool = False) -> None:
    """Write a detector to a folder, as ``detector_graph`` and the files beside it tell.

    Args:
        detector: that was trained or loaded. folder: made where it is not there.
        scaling: "inside" the graph, by its own Resize, or "outside", before it.
        boxes: True takes boxes as an input, and gives their features and confidence.
    Raises:
        ArgumentError: a detector that has no graph of standard operators, and why.
    """
    model, scaled = detector.model_, scaling == "outside"
    check_maps(model.encoder.backbone, model.encoder.layers)
    graph = boxes_graph(model, scaled=scaled) if boxes else detector_graph(model, scaled=scaled)
    told = {"short_sides": list(model.encoder.scales), "multiple": 1}
    _write(folder, graph, "boxes" if boxes else "detector", model.classes, scaling, told)


def export_classifier(classifier: Classifier, folder: Path, *, scaling: Scaling = "inside") -> None:
    """Write a classifier to a folder; arguments and errors as of ``export_detector``."""
    encoder = classifier.encoder_.encoder
    check_maps(encoder.backbone, [encoder.layer])
    told = {"short_sides": [encoder.short_side], "multiple": encoder.multiple}
    graph = classifier_graph(classifier, scaled=scaling == "outside")
    _write(folder, graph, "classifier", classifier.classes_, scaling, told)


def _write(
    folder: Path, graph: onnx.ModelProto, kind: str, classes: tuple[str, ...], scaling: Scaling, told: dict[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = graph.SerializeToString()
    labels = {"kind": kind, "classes": list(classes), "scaling": scaling, "opset": OPSET} | told
    sides = told["short_sides"] if scaling == "outside" else told["short_sides"][:1]
    named = zip(input_names(sides), sides, strict=True)
    inputs = [_INPUTS[scaling].format(name=name, short_side=side) for name, side in named]
    inputs += ["| `size` | (2,) int64 | height and width of the image before |"] if "size" in _names(graph) else []
    inputs += (
        ["| `boxes` | (R, 4) float32 | left, top, right, bottom in pixels of the image |"] if kind == "boxes" else []
    )
    write_file(folder / "labels.json", json.dumps(labels, ensure_ascii=False, indent=1) + "\n")
    write_file(folder / "README.md", _page(kind, len(content), inputs, scaling))
    if kind != "boxes":
        write_file(folder / "run.py", Path(__file__).with_name("run.py").read_text(encoding="utf-8"))
    write_file(folder / "model.onnx", content)


def _names(graph: onnx.ModelProto) -> set[str]:
    return {each.name for each in graph.graph.input}


def _page(kind: str, size: int, inputs: list[str], scaling: Scaling) -> str:
    rows = "\n".join(["| name | shape and type | what it is |", "|---|---|---|", *inputs])
    outputs = "\n".join(["| name | shape and type | what it is |", "|---|---|---|", _OUTPUTS[kind]])
    run = (
        "" if kind == "boxes" else "\nTry it: `pip install numpy pillow onnxruntime`, then `python run.py IMAGE ...`.\n"
    )
    note = f"\n{_SCALED_WITHIN}\n" if scaling == "inside" else ""
    return f"""# An exported {"detector of given boxes" if kind == "boxes" else kind}

`model.onnx` ({size / 1e6:.1f} MB) has standard operators alone (ONNX opset {OPSET}): one image at a time, of any size.
`labels.json` names the classes, in the order of the model's numbers.
{run}
## Inputs

{rows}

## Outputs

{outputs}
{note}"""
