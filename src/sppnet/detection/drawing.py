"""Boxes drawn onto their image."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sppnet.geometry import Boxes

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS: Final = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


def colour_of(label: int) -> str:
    """Return the colour of a class; there are seven, then they repeat."""
    return COLOURS[label % len(COLOURS)]


def draw_boxes(
    image: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.int64], captions: Sequence[str]
) -> NDArray[np.uint8]:
    """Return a copy of an image (H, W, 3) with boxes (N, 4) in the colours of their labels, the first on top."""
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    unit = max(1, min(image.shape[:2]) // 300)  # lines and letters grow with the image
    font = ImageFont.load_default(11 * unit)
    for box, label, text in reversed(list(zip(boxes, labels, captions, strict=True))):
        colour = colour_of(int(label))
        left, top, right, bottom = box.round().astype(int).tolist()
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=2 * unit)
        place = pen.textbbox((left, max(0, top - 13 * unit)), text, font=font)
        pen.rectangle(place, fill=colour)
        pen.text(place[:2], text, fill="black", font=font, anchor="lt")
    return np.asarray(canvas)
