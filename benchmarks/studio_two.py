"""Two people label the same 200 images at once, in two browsers, for two minutes: no change may be lost.

Each draws boxes of its own through the page, as fast as the studio answers, in images that both have, and takes every
fifth back by undo. At the end the studio, killed and started again, must hold exactly what the two kept: a box that is
missing was lost, one too many was somebody else's undo.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import driving, records

IMAGES, SECONDS = 200, 120
LABEL = """async ([images, aside, seconds]) => {
  const { addBox, turn } = await import("/static/actions.js");
  const kept = [], until = performance.now() + 1000 * seconds;
  let undone = 0, failed = 0;
  for (let number = 0; performance.now() < until; number++) {
    const image = images[(number * 7) % images.length], turnOf = Math.floor(number / images.length);
    const left = aside + (turnOf % 12) * 10, top = Math.floor(turnOf / 12) * 10;
    const edges = [left, top, left + 9, top + 9];
    if (!(await addBox(edges, { image }))) failed++;
    else if (number % 5 === 4) { await turn("undo"); undone++; }
    else kept.push([image, ...edges]);
  }
  return { kept, undone, failed };
}"""


def measure() -> None:
    """Label and write what came of it."""
    with tempfile.TemporaryDirectory() as folder, driving.chromium() as browser:
        rng = np.random.default_rng(0)
        for number in range(IMAGES):
            pixels = rng.integers(0, 256, (160, 256, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(Path(folder) / f"{number:03}.png")
        studio = driving.Studio(Path(folder))
        pages = [browser.new_context(viewport=driving.WINDOW).new_page() for _ in range(2)]
        for page in pages:
            page.goto(studio.address)
        driving.begin(pages[0], "thing")
        pages[1].locator("#classes", has_text="thing").wait_for()
        images = [each["id"] for each in driving.asked(pages[0], "/api/state")["images"]]
        for page, aside in zip(pages, (0, 130), strict=True):
            page.evaluate(f"(given) => {{ window.labelled = ({LABEL})(given); }}", [images, aside, SECONDS])
        told = [page.evaluate("() => window.labelled") for page in pages]
        studio.kill()
        studio.start()
        held = {
            (image, *box["edges"])
            for image in images
            for box in driving.asked(pages[0], f"/api/images/{image}")["boxes"]
        }
        studio.kill()
    kept = {tuple(each) for one in told for each in one["kept"]}
    figures = {
        "images": IMAGES,
        "seconds": SECONDS,
        "boxes_kept": len(kept),
        "undone": sum(one["undone"] for one in told),
        "refused": sum(one["failed"] for one in told),
        "lost": len(kept - held),
        "of_others_undone_or_too_many": len(held - kept),
    }
    records.write("studio_two", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))
