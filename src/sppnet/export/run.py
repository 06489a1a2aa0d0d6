"""Show an exported model images: python run.py IMAGE ... Needs numpy, Pillow and onnxruntime, nothing else.

Copy what you need of it: ``load`` and ``answer`` are all that it takes.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

TURNS = {  # by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OTHER_BYTES = {"RGB;16L": "RGB;16B", "RGB;16B": "RGB;16L", "RGBA;16L": "RGBA;16B", "RGBA;16B": "RGBA;16L"}


def load(
    folder: Path, options: onnxruntime.SessionOptions | None = None
) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """Open the model in a folder, and what is told of it; without options it takes as many threads as are cores."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    return session, json.loads((folder / "labels.json").read_text(encoding="utf-8"))


def pixels(path: Path | str) -> np.ndarray:
    """Read an image as sppnet does: (height, width, 3) uint8 RGB, upright, over white where it is transparent.

    Values of more than 8 bits become 8 bits by ``value_range``.
    """
    data = Path(path).read_bytes()
    with Image.open(BytesIO(data)) as image:
        tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
        if tags.get(284) == 2 and set(tags.get(258, (8,))) != {8}:
            raise ValueError("its 16-bit channels lie apart. Save it with the channels together")
        # A TIFF is turned by the time it is decoded.
        turn = TURNS.get(1 if image.format == "TIFF" else Image.Image.getexif(image).get(0x0112, 1))
        rawmodes = {rawmode(tile) for tile in image.tile}
        image.load()
        values = np.asarray(image)
    if rawmodes & set(OTHER_BYTES) and not (image.mode == "RGB" and image.has_transparency_data):
        values = (values.astype(np.uint16) << 8 | low_bytes(data))[:, :, :3]
    elif image.mode[0] not in "IF":
        return upright(image, turn)
    ends = float(values.min()), float(values.max())
    if not np.isfinite(ends).all():
        raise ValueError("it holds values that are not finite")
    low, high = value_range(*ends, whole=image.mode[0] != "F")
    factor = 0.0 if low == high else 255 / (high - low)
    shown = Image.fromarray(np.rint((values.astype(np.float64) - low) * factor).astype(np.uint8))
    if image.mode == "RGBA":
        shown.putalpha(image.getchannel("A"))
    return upright(shown, turn)


def upright(image: Image.Image, turn: Image.Transpose | None) -> np.ndarray:
    """Return an image of 8 bits as RGB, turned, over white where it is transparent."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    image = image.convert("RGB")
    return np.asarray(image if turn is None else image.transpose(turn))


def low_bytes(data: bytes) -> np.ndarray:
    """Read the low bytes of 16-bit colours, of which Pillow reads the high ones: in the other order they come first."""
    with Image.open(BytesIO(data)) as image:
        others = [OTHER_BYTES[rawmode(tile)] for tile in image.tile]
        image.tile = [
            tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
            for tile, other in zip(image.tile, others, strict=True)
        ]
        return np.asarray(image)


def rawmode(tile: Any) -> str:
    """Return how the values of a part of an image lie in its file."""
    name = tile.args if isinstance(tile.args, str) else tile.args[0]
    return str(name).replace(";16N", f";16{sys.byteorder[0].upper()}")


def value_range(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Return which values of a deep image are black and white, by the lowest and highest that it holds.

    Whole numbers of at most 16 bits: all of the smallest depth of 8, 10, 12, 14 or 16 bits that holds them; where they
    use less than an eighth of it, from the lowest to the highest, moved outwards to sixty-fourths of the depth. Other
    ones: from the lowest to the highest.
    """
    if not whole or low < 0 or high > 65535:
        return low, high
    levels = next(1 << depth for depth in (8, 10, 12, 14, 16) if high < 1 << depth)
    if (high - low) * 8 >= levels or levels == 256:
        return 0.0, levels - 1.0
    step = levels // 64
    return float(low // step * step), float((high // step + 1) * step - 1)


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


def answer(session: onnxruntime.InferenceSession, told: Mapping[str, Any], image: np.ndarray) -> dict[str, Any]:
    """Return what a model finds in an image, the most certain first, or what it calls it and the best classes."""
    if told["kind"] == "detector":
        rows = zip(*(each.tolist() for each in outputs(session, told, image)), strict=True)
        return {
            "found": [{"class": told["classes"][label], "confidence": sure, "box": box} for box, label, sure in rows]
        }
    (scores,) = outputs(session, told, image)
    order = np.argsort(-scores, kind="stable")[:5].tolist()
    best = [{"class": told["classes"][label], "score": float(scores[label])} for label in order]
    known = best[0]["score"] >= told["thresholds"][0]
    return {"class": best[0]["class"] if known else "none of these", "best": best}


def main(names: Sequence[str]) -> int:
    """Print what the model beside this script says of each image, a line of JSON each, and return the exit status."""
    if not names:
        print(f"usage: python {sys.argv[0]} IMAGE ...", file=sys.stderr)
        return 2
    model, about = load(Path(__file__).parent)
    unread = 0
    for name in names:
        try:
            shown = pixels(name)
        except Exception as error:  # Pillow raises eight types and more on bad bytes
            print(f"{name}: cannot be read: {error or type(error).__name__}", file=sys.stderr)
            unread += 1
            continue
        print(json.dumps({"image": name, **answer(model, about, shown)}, ensure_ascii=False))
    return 1 if unread else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
