"""Detections drawn onto their image."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sppnet.detection.detections import Detections

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS: Final = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


def colour_of(label: int) -> str:
    """Return the colour of a class; there are seven, then they repeat."""
    return COLOURS[label % len(COLOURS)]


def draw(image: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
    """Return a copy of an image (H, W, 3) with every detection's box, class and score, the best on top.

    An infinite score, of an object that a person boxed, is not written.
    """
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    unit = max(1, min(image.shape[:2]) // 300)  # lines and letters grow with the image
    font = ImageFont.load_default(11 * unit)
    for box, label, score in reversed(list(zip(detections.boxes, detections.labels, detections.scores, strict=True))):
        colour = colour_of(int(label))
        left, top, right, bottom = box.round().astype(int).tolist()
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=2 * unit)
        text = detections.classes[label] + (f" {score:.1f}" if np.isfinite(score) else "")
        place = pen.textbbox((left, max(0, top - 13 * unit)), text, font=font)
        pen.rectangle(place, fill=colour)
        pen.text(place[:2], text, fill="black", font=font, anchor="lt")
    return np.asarray(canvas)
