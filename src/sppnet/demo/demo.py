"""A first look, on photographs that scikit-image and scikit-learn bring along: one HTML page, nothing downloaded."""

import base64
import html
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sppnet.backbones import EfficientNetLite0
from sppnet.classification.classifier import Classifier
from sppnet.data import DetectionData, Sample
from sppnet.detection.detector import Detector
from sppnet.errors import MissingExtraError, message
from sppnet.evaluation.precision import DetectionReport
from sppnet.features.encoder import Encoder
from sppnet.images import crop, resize, to_tensor
from sppnet.progress import Progress, silent
from sppnet.proposals.grid import GridProposals
from sppnet.storage import write_file

Pixels = NDArray[np.uint8]
Result = TypeVar("Result")

# Boxes of the 24 coins of scikit-image's photograph, left, top, right, bottom; the first twelve are its upper half.
COINS: Final = (
    (22, 35, 67, 74), (81, 39, 120, 74), (132, 28, 179, 74), (192, 30, 240, 73), (255, 34, 297, 72), (305, 16, 365, 72),
    (25, 104, 67, 145), (84, 108, 122, 145), (134, 110, 173, 145), (186, 105, 226, 144), (245, 95, 296, 144),
    (317, 106, 356, 145), (26, 179, 63, 217), (80, 175, 124, 217), (135, 179, 174, 217), (189, 170, 237, 217),
    (251, 172, 297, 217), (315, 156, 380, 218), (18, 233, 75, 288), (144, 236, 201, 288), (276, 239, 326, 289),
    (93, 245, 136, 287), (220, 240, 269, 288), (336, 248, 382, 289),
)  # fmt: skip
HALF: Final = 150  # the row of the photograph that parts the two halves
REGIONS: Final = 2000  # as many as the paper's proposals give an image
CROPPED: Final = 100  # of them are run through the network one by one; the rest would take minutes
SHORT_SIDE: Final = 600
LEVELS: Final = (3, 2, 1)


class Race(NamedTuple):
    """Seconds that the features of the same regions take: ``rcnn`` is measured on ``cropped`` of them."""

    regions: int
    cropped: int
    encode: float
    pool: float
    rcnn: float

    @property
    def ratio(self) -> float:
        """How many times faster one map for all regions is."""
        return self.rcnn * self.regions / self.cropped / (self.encode + self.pool)


class Learnt(NamedTuple):
    """What came of teaching a detector."""

    lower: Pixels
    drawn: Pixels
    report: DetectionReport
    found: int
    seconds: float


def write_page(path: Path, *, progress: Progress = silent) -> None:
    """Classify photographs, teach a detector, time SPP against R-CNN, and write what came out as one HTML file."""
    photographs = _photographs()
    start = time.perf_counter()
    steps: list[Callable[[], str]] = [
        lambda: _classified(photographs),
        lambda: _learnt(learn_coins(_coins())),
        lambda: _raced(race(photographs["motorcycle"])),
    ]
    sections = [step() for step in progress("Demonstrating", steps)]
    seconds = time.perf_counter() - start
    write_file(path, _PAGE.format(sections="\n".join(sections), seconds=f"{seconds:.0f}"))


def learn_coins(photograph: Pixels) -> Learnt:
    """Teach a detector the coins of the photograph's upper half, and look for those of its lower half."""
    boxes = np.array(COINS, dtype=np.float64)
    with tempfile.TemporaryDirectory() as folder:
        upper = _coin_data(Path(folder) / "upper.png", photograph[:HALF], boxes[:12])
        lower = _coin_data(Path(folder) / "lower.png", photograph[HALF:], boxes[12:] - [0, HALF, 0, HALF])
        Detector().fit(upper)  # compiles, once on a machine
        detector, seconds = _timed(lambda: Detector().fit(upper))
        report = detector.evaluate(lower)
        found = detector.detect(photograph[HALF:])
    return Learnt(photograph[HALF:], found.draw(photograph[HALF:]), report, len(found), seconds)


def _coin_data(path: Path, image: Pixels, boxes: NDArray[np.float64]) -> DetectionData:
    Image.fromarray(image).save(path)
    nothing = np.zeros(len(boxes), dtype=np.bool_)
    labels = np.zeros(len(boxes), dtype=np.int64)
    sample = Sample(path, boxes, labels, nothing, nothing, (image.shape[0], image.shape[1]))
    return DetectionData(path.parent, ("coin",), (sample,), (), "all")


def race(photograph: Pixels) -> Race:
    """Time the features of regions by one map and pooling, and by cropping each and running the network on it.

    Both use the same network to the same layer on the same regions; crops are warped to 224 x 224 and run in
    batches of 10, which is as fast as they get on a processor.
    """
    network = EfficientNetLite0()
    encoder = Encoder("head", SHORT_SIDE, backbone=network)
    shapes = tuple((side * tall, side / tall) for side in (80.0, 130.0, 210.0, 340.0) for tall in (0.7, 1.0, 1.4))
    regions = GridProposals(shapes, SHORT_SIDE).of_size((photograph.shape[0], photograph.shape[1]))
    regions = regions[np.linspace(0, len(regions) - 1, REGIONS).round().astype(np.int64)]
    feature_map = encoder(photograph)
    feature_map.pool(regions[:10], LEVELS)  # compiles
    _, encode = _timed(lambda: encoder(photograph))
    _, pool = _timed(lambda: feature_map.pool(regions, LEVELS))
    cropped = regions[np.linspace(0, REGIONS - 1, CROPPED).round().astype(np.int64)]
    _crop_features(network, photograph, cropped[:10])
    _, rcnn = _timed(lambda: _crop_features(network, photograph, cropped))
    return Race(REGIONS, CROPPED, encode, pool, rcnn)


def _crop_features(backbone: EfficientNetLite0, photograph: Pixels, regions: NDArray[np.float64]) -> Tensor:
    def features(some: NDArray[np.float64]) -> Tensor:
        crops = [resize(crop(photograph, region), (224, 224)) for region in some]
        pixels = torch.stack([to_tensor(each, mean=backbone.mean, std=backbone.std) for each in crops])
        with torch.inference_mode():
            pooled: Tensor = backbone(pixels)["head"].amax((2, 3))
        return pooled

    return torch.cat([features(some) for some in np.split(regions, len(regions) // 10)])


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


# Photographs


def _photographs() -> dict[str, Pixels]:
    try:
        from skimage import data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        packages = "scikit-image and scikit-learn"
        advice = "Install them with: pip install 'sppnet[demo]'"
        raise MissingExtraError(message("demo", packages, "installed", "no such modules", advice)) from error
    motorcycle, _, _ = data.stereo_motorcycle()
    images = {
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "motorcycle": motorcycle,
        "rocket": data.rocket(),
        "china": load_sample_image("china.jpg"),
        "flower": load_sample_image("flower.jpg"),
    }
    return {name: np.ascontiguousarray(image) for name, image in images.items()}


def _coins() -> Pixels:
    from skimage import data

    return np.ascontiguousarray(np.repeat(data.coins()[:, :, None], 3, axis=2))


# The page


def _classified(photographs: dict[str, Pixels]) -> str:
    classifier = Classifier.imagenet()
    classifier.predict(next(iter(photographs.values())))  # compiles, once on a machine
    figures = []
    for name, image in photographs.items():
        prediction, seconds = _timed(lambda: classifier.predict(image))  # noqa: B023
        rows = "".join(
            f"<li><span>{html.escape(label)}</span><meter value='{score:.3f}'></meter> {score:.0%}</li>"
            for label, score in prediction.top(3)
        )
        size = f"{image.shape[1]} × {image.shape[0]} pixels, {1000 * seconds:.0f} ms"
        figures.append(f"{_figure(image, f'{name}: {size}')[:-9]}<ol>{rows}</ol></figure>")
    return (
        "<section><h2>Any image, at its own size</h2><p>The network that comes with the package names what it sees, "
        "of the 1,000 classes of ImageNet. No image is cropped or warped.</p>"
        f"<div class='row'>{''.join(figures)}</div></section>"
    )


def _learnt(learnt: Learnt) -> str:
    right = f"{learnt.report.recall[0]:.0%} of its 12 coins found, {learnt.report.precision[0]:.0%} of the boxes right"
    return (
        f"<section><h2>A detector learnt in {learnt.seconds:.1f} seconds</h2><p>It was shown the 12 coins in the upper "
        "half of a photograph, and nothing else. This is the lower half, which it had not seen: "
        f"{learnt.found} boxes; {right} (overlap of at least 0.5).</p>{_figure(learnt.drawn, 'Found, with scores')}"
        "</section>"
    )


def _raced(race: Race) -> str:
    spp, one_by_one = race.encode + race.pool, race.rcnn * race.regions / race.cropped
    return (
        f"<section><h2>{race.regions:,} regions: {race.ratio:.0f} times faster than cropping each</h2>"
        f"<p>Features of the same regions, by the same network, to the same layer.</p><table>"
        f"<tr><th>One map, then pooling (SPP-net)</th><td>{spp:.2f} s</td>"
        f"<td>{race.encode:.3f} s map + {race.pool:.3f} s pooling</td></tr>"
        f"<tr><th>Every region cropped (R-CNN)</th><td>{one_by_one:.0f} s</td>"
        f"<td>measured on {race.cropped} of the regions: {race.rcnn:.2f} s</td></tr></table></section>"
    )


def _figure(image: Pixels, caption: str) -> str:
    file = BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=88)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    text = html.escape(caption)
    return f"<figure><img src='{source}' alt='{text}'><figcaption>{text}</figcaption></figure>"


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>sppnet: a first look</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }}
.row {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1.5rem; }}
figure {{ margin: 0; }} img {{ max-width: 100%; border-radius: .4rem; }}
.row img {{ width: 100%; height: 12rem; object-fit: contain; object-position: left; }}
figcaption {{ font-size: .85rem; opacity: .75; }} ol {{ padding-left: 1.4rem; margin: .3rem 0; }}
li span {{ display: inline-block; width: 11rem; }} meter {{ width: 4rem; }}
table {{ border-collapse: collapse; }} th, td {{ text-align: left; padding: .3rem 1rem .3rem 0; font-weight: normal; }}
td:nth-child(2) {{ font-weight: bold; }}
</style></head><body>
<h1>sppnet</h1><p>Everything on this page was computed on this computer just now, in {seconds} seconds.</p>
{sections}
</body></html>
"""
