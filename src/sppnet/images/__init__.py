"""Pixels: bytes -> upright RGB, scaled, ready for a network. The only place that knows (H, W, 3) uint8.

One rule to RGB for every accepted format: EXIF orientation applied, first frame, deep values scaled to 8 bits and never
clipped (``value_range``), transparency over white, palettes and CMYK converted.

A file is refused before it is decoded where decoding would take memory or time out of proportion: what counts is
what the file asks for (pixels, scans, parts), not a clock, so that the same file is refused on every machine.
"""

from sppnet.images.formats import FORMATS, SUFFIXES, VIDEOS, accepted_formats, is_image
from sppnet.images.pixels import (
    MAX_SCALED_PIXELS,
    MAX_WHOLE_PIXELS,
    Channels,
    crop,
    encode,
    mirror,
    resize,
    to_tensor,
    warp,
)
from sppnet.images.reading import (
    MAX_PIXELS,
    Content,
    ImageFacts,
    Source,
    as_source,
    image_digest,
    is_one_image,
    read_bytes,
    read_facts,
    read_header,
    read_image,
    read_parts,
    read_size,
)
from sppnet.images.rgb import value_range

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "MAX_SCALED_PIXELS",
    "MAX_WHOLE_PIXELS",
    "SUFFIXES",
    "VIDEOS",
    "Channels",
    "Content",
    "ImageFacts",
    "Source",
    "accepted_formats",
    "as_source",
    "crop",
    "encode",
    "image_digest",
    "is_image",
    "is_one_image",
    "mirror",
    "read_bytes",
    "read_facts",
    "read_header",
    "read_image",
    "read_parts",
    "read_size",
    "resize",
    "to_tensor",
    "value_range",
    "warp",
]
