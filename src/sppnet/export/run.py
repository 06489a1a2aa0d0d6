"""Show an exported model images: python run.py IMAGE ... Needs numpy, Pillow and onnxruntime, nothing else.

Copy what you need of it: ``load`` and ``answer`` are all that it takes.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def load(
    folder: Path, options: onnxruntime.SessionOptions | None = None
) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """Open the model in a folder, and what is told of it; without options it takes as many threads as are cores."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    return session, json.loads((folder / "labels.json").read_text(encoding="utf-8"))


def pixels(path: Path | str) -> np.ndarray:
    """Read an image upright, 8 bits a channel, over white where it is transparent: (height, width, 3) uint8 RGB."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith(("I", "F")):  # 16 bits of grey
        return np.repeat(np.rint(np.asarray(image) * (255 / 65535)).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(image.convert("RGB"))


def scaled(image: np.ndarray, short_side: int, multiple: int) -> np.ndarray:
    """Scale an image's shorter side, the other to a whole number of ``multiple`` pixels."""
    unit = min(image.shape[:2]) * multiple
    height, width = (
        max(short_side, multiple * ((2 * side * short_side + unit) // (2 * unit)))
        if side * multiple > unit
        else short_side
        for side in image.shape[:2]
    )
    across = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(across.resize((width, height), Image.Resampling.BICUBIC))


def inputs(told: Mapping[str, Any], image: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a model takes of an image, by name: the image, scaled where its graph does not."""
    if told["scaling"] == "inside":
        return {"image": image}
    sides = told["short_sides"]
    names = ["image"] if len(sides) == 1 else [f"image{side}" for side in sides]
    given = {name: scaled(image, side, told["multiple"]) for name, side in zip(names, sides, strict=True)}
    if told["kind"] != "classifier":
        given["size"] = np.array(image.shape[:2], dtype=np.int64)
    return given


def outputs(
    session: onnxruntime.InferenceSession,
    told: Mapping[str, Any],
    image: np.ndarray,
    options: onnxruntime.RunOptions | None = None,
) -> list[np.ndarray]:
    """Return what a model makes of an image: of a detector boxes, labels and confidence; of a classifier scores."""
    made: list[np.ndarray] = session.run(None, inputs(told, image), options)
    return made


def answer(session: onnxruntime.InferenceSession, told: dict[str, Any], image: np.ndarray) -> list[dict[str, Any]]:
    """Return what a model finds in an image, the most certain first, or how it scores each class, the best first."""
    if told["kind"] == "detector":
        found = zip(*(each.tolist() for each in outputs(session, told, image)), strict=True)
        return [{"class": told["classes"][label], "confidence": sure, "box": box} for box, label, sure in found]
    (scores,) = outputs(session, told, image)
    order = np.argsort(-scores, kind="stable").tolist()
    return [{"class": told["classes"][label], "score": float(scores[label])} for label in order]


if __name__ == "__main__":
    model, about = load(Path(__file__).parent)
    for name in sys.argv[1:]:
        try:
            shown = pixels(name)
        except OSError as error:
            sys.exit(f"{name}: cannot be read: {error}")
        print(json.dumps({"image": name, "found": answer(model, about, shown)}, ensure_ascii=False))
