"""``python -m benchmarks [NAME...]``: run the named measurements, or all, and render README's table."""

import argparse
import sys
from importlib import import_module

MEASUREMENTS = {
    "backbones": "backbones.measure",
    "bccd": "bccd.measure",
    "caltech101": "caltech101.measure",
    "caltech101_few": "caltech101.measure_few",
    "caltech101_views": "caltech101.measure_views",
    "deep": "deep.measure",
    "effect": "effect.measure",
    "export": "export.measure",
    "export_times": "export.measure_times",
    "growth": "growth.measure",
    "mirrored": "mirrored.measure",
    "parts": "parts.measure",
    "pooling": "pooling.measure",
    "proposals": "proposals.measure",
    "ray": "cluster.measure",
    "rcnn": "rcnn.measure",
    "scale": "scale.measure",
    "service": "service.measure",
    "sets": "sets.measure",
    "studio": "studio.measure",
    "studio_actions": "studio_actions.measure",
    "studio_alike": "studio_alike.measure",
    "studio_many": "studio_many.measure",
    "studio_order": "studio_order.measure",
    "studio_two": "studio_two.measure",
    "svm": "svm.measure",
    "update": "update.measure",
    "training": "training.measure",
    "views": "views.measure",
}
GPU = "gpu"  # alone and with options of its own: where it runs, most that the others need is not installed


def main() -> None:
    if sys.argv[1:2] == [GPU]:
        import_module(f"benchmarks.{GPU}").measure(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{GPU}, or of {', '.join(MEASUREMENTS)}; all by default"
    )
    names = parser.parse_args().names or list(MEASUREMENTS)
    for name in names:
        if name not in MEASUREMENTS:
            parser.error(f"NAME must be one of {', '.join(MEASUREMENTS)}, got {name!r}")
        module, function = MEASUREMENTS[name].split(".")
        getattr(import_module(f"benchmarks.{module}"), function)()
    import_module("benchmarks.render").update_pages()


if __name__ == "__main__":
    main()
