"""A model exported to a folder: the graph, what it is called, how to run it."""

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx

from sppnet.classification.classifier import Classifier
from sppnet.detection.detector import Detector
from sppnet.export.answers import check_detections, check_features, check_scores, untiled
from sppnet.export.classifier import classifier_graph
from sppnet.export.detector import boxes_graph, detector_graph
from sppnet.export.engine import check_maps
from sppnet.export.graph import OPSET
from sppnet.export.images import input_names
from sppnet.export.installed import check_engine
from sppnet.export.openvino import check_windows
from sppnet.storage import check_room, write_file

Scaling = Literal["inside", "outside"]
Form = Literal["onnx", "pt2", "openvino"]

MODEL_FILES: dict[Form, str] = {"onnx": "model.onnx", "pt2": "model.pt2", "openvino": "model.xml"}
_ABOUT: dict[Form, str] = {
    "onnx": f"has standard operators alone (ONNX opset {OPSET})",
    "pt2": "is a program of PyTorch's own operators, and torchvision's for suppression",
    "openvino": "and `model.bin`, its weights, are OpenVINO's intermediate representation",
}
_READ = """Images are read as sppnet reads them: upright, the first frame, over white where they are transparent, and
values of more than 8 bits (grey or colour of up to 16 bits, whole numbers, floats) by its rule for deep images,
`value_range` in run.py."""
_TRIED: dict[Form, str] = {
    "onnx": f"Try it: `pip install numpy pillow onnxruntime`, then `python run.py IMAGE ...`.\n\n{_READ}",
    "pt2": """It takes its inputs, tensors, in this order, and gives its outputs in theirs:

```python
import torch, torchvision

program = torch.export.load("model.pt2").module()
```""",
    "openvino": """It takes and gives arrays by name:

```python
import openvino

model = openvino.compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
```""",
}

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
_THRESHOLDS = {
    "detector": "with their thresholds",
    "boxes": "with their thresholds, which are not applied",
    "classifier": """and the probability that the best
class must reach: below it, an image shows none of these""",
}
_SCALED_BY_OPENVINO = """The image is scaled within. OpenVINO computes its weights in 32 bits, and so rounds a few
pixels in ten thousand otherwise than sppnet does, by one level of 255; with `--scaling outside` it does not."""


def export_detector(
    detector: Detector,
    folder: Path,
    *,
    scaling: Scaling = "inside",
    boxes: bool = False,
    form: Form = "onnx",
) -> None:
    """Write a detector to a folder, as ``detector_graph`` and the files beside it tell.

    Args:
        detector: that was trained or loaded. folder: made where it is not there.
        scaling: "inside" the graph, or "outside", before it: the same pixels.
        boxes: True takes boxes as an input, and gives their features and confidence.
        form: "onnx"; "pt2", a program of ``torch.export``; or "openvino", by its own converter.
    Raises:
        WriteError: a disk without room for it, before anything is written.
        ArgumentError: a detector that has no graph of standard operators, or none in 32 bits, or whose graph answers
            otherwise than it does, and why; or one whose network is on another device than the processor.
        MissingExtraError: OpenVINO's converter is not installed.
    """
    model, scaled = detector.model_, scaling == "outside"
    check_maps(model.encoder.backbone, model.encoder.layers)
    graph = boxes_graph(model, scaled=scaled) if boxes else detector_graph(model, scaled=scaled)
    if form == "openvino" and not boxes:
        check_windows(model)
    told: dict[str, Any] = {
        "kind": "boxes" if boxes else "detector",
        "classes": list(model.classes),
        "scaling": scaling,
    }
    told |= {"short_sides": list(model.encoder.scales), "multiple": 1, "levels": list(model.head.levels)}
    told |= {"untrained": list(detector.untrained_), "thresholds": detector.thresholds_.tolist()}
    asked = untiled(model)
    told_of_asked = told | {"short_sides": list(asked.encoder.scales)}
    if boxes:
        check_features(asked, boxes_graph(asked, scaled=scaled), told_of_asked)
    else:
        every = detector_graph(asked, scaled=scaled, thresholds=np.zeros(len(model.classes)))
        check_detections(asked, every, told_of_asked)
    _write(folder, graph, form, told)


def export_classifier(
    classifier: Classifier, folder: Path, *, scaling: Scaling = "inside", form: Form = "onnx"
) -> None:
    """Write a classifier to a folder; arguments and errors as of ``export_detector``."""
    images, encoder = classifier.encoder_, classifier.encoder_.encoder
    check_maps(encoder.backbone, [encoder.layer])
    told: dict[str, Any] = {"kind": "classifier", "classes": list(classifier.classes_), "scaling": scaling}
    told |= {"short_sides": [encoder.short_side], "multiple": encoder.multiple, "levels": list(images.levels)}
    told |= {"untrained": list(classifier.untrained_), "thresholds": [classifier.threshold_]}
    graph = classifier_graph(classifier, scaled=scaling == "outside")
    check_scores(classifier, graph, told)
    _write(folder, graph, form, told)


def _write(folder: Path, graph: onnx.ModelProto, form: Form, told: dict[str, Any]) -> None:
    kind, scaling = told["kind"], told["scaling"]
    files = _FILES[form](graph)
    size = sum(map(len, files.values()))
    check_room(folder, size)  # before any of them is there
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(files[MODEL_FILES[form]]).hexdigest()  # of files that were mixed up one tells of another
    labels = told | {"opset": OPSET, "sha256": digest}
    sides = told["short_sides"] if scaling == "outside" else told["short_sides"][:1]
    named = zip(input_names(sides), sides, strict=True)
    inputs = [_INPUTS[scaling].format(name=name, short_side=side) for name, side in named]
    inputs += ["| `size` | (2,) int64 | height and width of the image before |"] if "size" in _names(graph) else []
    inputs += (
        ["| `boxes` | (R, 4) float32 | left, top, right, bottom in pixels of the image |"] if kind == "boxes" else []
    )
    write_file(folder / "labels.json", json.dumps(labels, ensure_ascii=False, indent=1) + "\n")
    write_file(folder / "README.md", _page(kind, form, size, inputs, scaling))
    if form == "onnx" and kind != "boxes":
        write_file(folder / "run.py", Path(__file__).with_name("run.py").read_text(encoding="utf-8"))
    for name, content in files.items():
        write_file(folder / name, content)


def _program_files(graph: onnx.ModelProto) -> dict[str, bytes]:
    import torch

    from sppnet.export.program import exported_program

    out = BytesIO()
    torch.export.save(exported_program(graph), out)
    return {"model.pt2": out.getvalue()}


def _openvino_files(graph: onnx.ModelProto) -> dict[str, bytes]:
    check_engine("openvino")
    import openvino

    with TemporaryDirectory() as folder:
        (written := Path(folder) / "model.onnx").write_bytes(graph.SerializeToString())
        openvino.save_model(openvino.convert_model(written), Path(folder) / "model.xml", compress_to_fp16=False)
        return {name: (Path(folder) / name).read_bytes() for name in ("model.bin", "model.xml")}


_FILES: dict[Form, Callable[[onnx.ModelProto], dict[str, bytes]]] = {
    "onnx": lambda graph: {"model.onnx": graph.SerializeToString()},
    "pt2": _program_files,
    "openvino": _openvino_files,
}


def _names(graph: onnx.ModelProto) -> set[str]:
    return {each.name for each in graph.graph.input}


def _page(kind: str, form: Form, size: int, inputs: list[str], scaling: Scaling) -> str:
    rows = "\n".join(["| name | shape and type | what it is |", "|---|---|---|", *inputs])
    outputs = "\n".join(["| name | shape and type | what it is |", "|---|---|---|", _OUTPUTS[kind]])
    tried = "" if form == "onnx" and kind == "boxes" else f"\n{_TRIED[form]}\n"
    note = f"\n{_SCALED_BY_OPENVINO}\n" if (form, scaling) == ("openvino", "inside") else ""
    return f"""# An exported {"detector of given boxes" if kind == "boxes" else kind}

`{MODEL_FILES[form]}` ({size / 1e6:.1f} MB) {_ABOUT[form]}: one image at a time, of any size.
`labels.json` names the classes, in the order of the model's numbers, {_THRESHOLDS[kind]}.
{tried}
## Inputs

{rows}

## Outputs

{outputs}
{note}"""
