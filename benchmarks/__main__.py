"""``python -m benchmarks [NAME...]``: run the named measurements, or all, and render README's table."""

import argparse

from benchmarks import (
    bccd,
    bccd_parts,
    caltech101,
    effect,
    pooling,
    proposals,
    rcnn,
    render,
    service,
    studio,
    studio_order,
    svm,
    training,
    update,
    views,
)

MEASUREMENTS = {
    "bccd": bccd.measure,
    "bccd_parts": bccd_parts.measure,
    "caltech101": caltech101.measure,
    "caltech101_views": caltech101.measure_views,
    "effect": effect.measure,
    "pooling": pooling.measure,
    "proposals": proposals.measure,
    "rcnn": rcnn.measure,
    "service": service.measure,
    "studio": studio.measure,
    "studio_order": studio_order.measure,
    "svm": svm.measure,
    "update": update.measure,
    "training": training.measure,
    "views": views.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}; all by default")
    names = parser.parse_args().names or list(MEASUREMENTS)
    for name in names:
        if name not in MEASUREMENTS:
            parser.error(f"NAME must be one of {', '.join(MEASUREMENTS)}, got {name!r}")
        MEASUREMENTS[name]()
    render.update_pages()


if __name__ == "__main__":
    main()
