"""``evaluate``: how good a model's answers are, how sure that is, and what goes wrong."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from sppnet.cli.options import (
    Bad,
    Cache,
    Data,
    Device,
    Json,
    LayoutName,
    ModelFile,
    OnBad,
    Part,
    cache_in,
    check_out_file,
    check_out_folder,
    load_model,
    refuse_given,
    usable,
)
from sppnet.cli.printing import SHOWN, as_cell, bar, notes, printable, show_report, show_rows, tell, warn
from sppnet.cli.program import app
from sppnet.errors import ArgumentError, DataError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sppnet.classification.classifier import Classifier
    from sppnet.data import DetectionData
    from sppnet.detection.detections import Detections
    from sppnet.detection.detector import Detector
    from sppnet.evaluation.matching import Matching
    from sppnet.evaluation.precision import Rule


COCO_LIMIT: Final = 100  # detections of an image that COCO's rule counts


class Metric(StrEnum):
    """By which rule detections are judged."""

    VOC = "voc"
    VOC07 = "voc07"
    COCO = "coco"
    ILSVRC = "ilsvrc"


@app.command(epilog="Example: sppnet evaluate cells.safetensors cells --split val --errors")
def evaluate(
    context: typer.Context,
    model: ModelFile,
    data: Data,
    split: Annotated[str | None, typer.Option(help="Part of the data; by default 'val', 'test', or all.")] = None,
    iou: Annotated[float, typer.Option(help="Overlap from which a detection is right.")] = 0.5,
    metric: Annotated[
        Metric, typer.Option(help="VOC since 2010, VOC 2007 (11 points, the paper's), COCO's or ILSVRC's rule.")
    ] = Metric.VOC,
    errors: Annotated[bool, typer.Option("--errors", help="Count the mistakes by kind.")] = False,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Tell how sure the mean is: 95 % interval over images drawn again.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw precision over recall into this file: .svg or .png.")] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Write the detections into this folder, as COCO takes results, and of a VOC set as VOC does."
        ),
    ] = None,
    layout: LayoutName = None,
    on_bad: Bad = OnBad.FAIL,
    device: Device = "cpu",
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Compare a model's answers with a data set's labels."""
    from sppnet.data import open_dataset
    from sppnet.detection.output import check_results, write_results

    wanted = _Wanted(metric, iou, errors, intervals, plot)
    _check_wanted(wanted, results)
    known = load_model(model, cache_in(cache), device)
    dataset = open_dataset(data, "evaluate", layout=layout)
    chosen = split or next((name for name in ("val", "test") if name in dataset.splits), "all")
    if known.kind == "classifier":
        refuse_given(context, ("iou", "metric", "errors", "intervals", "plot", "results"), "a classifier")
        images, unknown = _known(known, dataset.folders("evaluate", split=chosen), "image")
        report = known.evaluate(_judgeable(known, images, on_bad), progress=bar).as_dict()
        _show_classes(report | unknown, chosen, as_json)
        return
    samples, unknown = _known(known, dataset.boxes("evaluate", split=chosen, on_bad=on_bad.value), "object")
    samples = _judgeable(known, samples, on_bad)
    if metric is Metric.COCO:
        _tell_limit(samples)
    if results:
        check_results(samples)
    found = list(known.detect((sample.path for sample in bar("Detecting", samples.samples)), threshold=0))
    _show(_measured(known, samples, found, wanted) | unknown, chosen, as_json)
    if results:  # the report comes first: it is not lost where these cannot be written
        write_results(results, samples, found)
    for written in filter(None, (plot, results)):
        tell(f"Written to {printable(written)}")


def _known(known: "Detector | Classifier", data: Part, what: str) -> tuple[Part, dict[str, Any]]:
    """Return what there is of the model's classes to judge by, and how much there is of others, which it warns of.

    Raises:
        DataError: nothing is of a class that the model knows.
    """
    counts = data.counts()
    unknown = {name: counts[name] for name in data.classes if name not in known.classes_ and counts[name]}
    if unknown and not set(counts) & set(known.classes_):
        expected, got = (", ".join(map(printable, names[:SHOWN])) for names in (known.classes_, list(unknown)))
        advice = "Name other data, or another model"
        raise DataError(f"{printable(data.root)}: must show the model's classes {expected}, got {got}. {advice}.")
    if unknown:
        told = ", ".join(f"{counted(number, what)} of {printable(name)!r}" for name, number in unknown.items())
        left = "they are left out" if what == "image" else "they cannot be found, and to take one for a class is wrong"
        notes.print(f"Warning: the model does not know {told}: {left}.", style="yellow")
    return data.only(known.classes_), {"unknown": unknown} if unknown else {}


def _judgeable(known: "Detector | Classifier", data: Part, on_bad: OnBad) -> Part:
    """Return the images to judge by, and warn of what is wrong with them or was learnt from."""
    judged = usable(data, on_bad)
    warn(judged.problems)
    _warn_of_learnt(known, judged.paths)
    return judged


def _warn_of_learnt(known: "Detector | Classifier", paths: "Sequence[Path]") -> None:
    """Warn where a model is judged on images that it learnt from: it looks better than it is."""
    from sppnet.images import image_digest

    learnt = set(known.learnt_from_)
    both = sum(image_digest(path) in learnt for path in paths) if learnt else 0
    if both:
        notes.print(
            f"Warning: the model learnt from {both} of these {len(paths)} images; on others it will be worse.",
            style="yellow",
        )


def _tell_limit(data: "DetectionData") -> None:
    """Tell where COCO's rule cannot count every object."""
    crowded = [len(sample.boxes) for sample in data.samples if len(sample.boxes) > COCO_LIMIT]
    if crowded:
        notes.print(
            f"Warning: COCO's rule looks at the {COCO_LIMIT} surest detections of an image; of "
            f"{counted(len(crowded), 'image')} with more objects, up to {max(crowded)}, a perfect answer does not get "
            "100 %. --metric voc has no limit.",
            style="yellow",
        )


class _Wanted(NamedTuple):
    """What was asked for, as the options name it."""

    metric: Metric
    iou: float
    errors: bool
    intervals: bool
    plot: Path | None


def _check_wanted(wanted: _Wanted, results: Path | None) -> None:
    """Raise before the work for what cannot be measured or written."""
    from sppnet.evaluation.coco import check_coco
    from sppnet.evaluation.plotting import check_plot

    if not 0 < wanted.iou <= 1:
        raise ArgumentError(f"--iou must be above 0 and at most 1, got {wanted.iou}. Leave it out for 0.5.")
    if wanted.metric is Metric.COCO:
        check_coco()
    if wanted.plot:
        check_plot(wanted.plot)
        check_out_file(wanted.plot, "--plot")
    if results:
        check_out_folder(results, "--results")


def _measured(
    known: "Detector", data: "DetectionData", found: "Sequence[Detections]", wanted: _Wanted
) -> dict[str, Any]:
    from sppnet.evaluation.coco import coco_precision
    from sppnet.evaluation.intervals import interval, mean_precision, resampled_precision
    from sppnet.evaluation.matching import judge
    from sppnet.evaluation.mistakes import mistakes
    from sppnet.evaluation.plotting import plot_precision_recall
    from sppnet.evaluation.precision import detection_report

    judged_by = (found, data.samples, data.classes)
    matching: Matching = "ilsvrc" if wanted.metric is Metric.ILSVRC else "voc"
    rule: Rule = "eleven" if wanted.metric is Metric.VOC07 else "area"
    measured = detection_report(*judged_by, iou=wanted.iou, rule=rule, matching=matching, thresholds=known.thresholds_)
    judged = judge(*judged_by, iou=wanted.iou, matching=matching)
    report: dict[str, Any] = measured.as_dict()
    if wanted.metric is Metric.COCO:
        report["coco"] = coco_precision(*judged_by)
    if wanted.intervals:
        drawn = resampled_precision(judged, rule=rule)
        report["interval"] = interval(mean_precision(drawn))
    if wanted.errors:
        regions = [known.propose(each.path) for each in bar("Proposing", data.samples)]
        report["mistakes"] = mistakes(
            *judged_by, iou=wanted.iou, matching=matching, thresholds=known.thresholds_, regions=regions
        ).as_dict()
    if wanted.plot:
        plot_precision_recall(wanted.plot, judged, measured)
    return report


def _show_classes(report: dict[str, Any], split: str, as_json: bool) -> None:
    predicted = report["predicted"]
    rows = {
        name: [share, predicted["classes"][name]["right"], predicted["classes"][name]["none_of_these"]]
        for name, share in report["classes"].items()
    }
    columns = ["accuracy", "right as predicted", "none of these"]
    title, mean = f"Mean accuracy a class on '{split}', the best class taken", report["accuracy"]
    show_report(report, title, mean, columns, rows, as_json)
    if not as_json:
        right, none = as_cell(predicted["right"]), as_cell(predicted["none_of_these"])
        print(f"As 'sppnet predict' answers: {right} of the images right, {none} 'none of these'.")


def _show(report: dict[str, Any], split: str, as_json: bool) -> None:
    columns = ["average_precision", "recall", "precision", "positives"]
    rows = {name: [row[key] for key in columns] for name, row in report["classes"].items()}
    title, mean = f"Mean average precision at IoU {report['iou']} on '{split}'", report["mean_average_precision"]
    show_report(report, title, float("nan") if mean is None else mean, columns, rows, as_json)
    if as_json:
        return
    if "interval" in report:
        print("95 % of data sets drawn from these images: {:.1%} to {:.1%}".format(*report["interval"]))
    if "coco" in report:
        print("COCO: " + ", ".join(f"{name} {as_cell(value)}" for name, value in report["coco"].items()))
    if "mistakes" in report:
        kinds = list(next(iter(report["mistakes"].values()), {}))
        counts = {name: [str(row[kind]) for kind in kinds] for name, row in report["mistakes"].items()}
        show_rows("Mistakes above the thresholds:", ["class", *(kind.replace("_", " ") for kind in kinds)], counts)
