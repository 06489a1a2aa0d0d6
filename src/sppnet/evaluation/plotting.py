"""Precision over recall, class by class, as an image: by matplotlib, the extra ``plots``."""

import io
import math
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sppnet.errors import ArgumentError, MissingExtraError, check_shape, message
from sppnet.evaluation.matching import Judged
from sppnet.evaluation.precision import DetectionReport
from sppnet.storage import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Eight colours that people who do not see red and green as two tell apart (Okabe and Ito 2008), and more by dashes.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")
DASHES: Final = ("-", "--", ":", "-.")
ROWS: Final = 24  # of a column of the legend
# Of each form, what keeps it the same for the same curves: no date, no random names.
FORMS: Final[dict[str, dict[str, Any]]] = {".svg": {"metadata": {"Date": None}}, ".png": {"dpi": 150}}


def check_plot(file: Path) -> None:
    """Raise what ``plot_precision_recall`` would, before the work on which it waits is done.

    Raises:
        ArgumentError: a file that is neither .svg nor .png. MissingExtraError: matplotlib is not installed.
    """
    if file.suffix.lower() not in FORMS:
        advice = "Name it curves.svg, for one"
        raise ArgumentError(message("plot_precision_recall", "file", "an .svg or .png", file, advice))
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        advice = "Install it with: pip install 'sppnet[plots]'"
        raise MissingExtraError(
            message("plot_precision_recall", "matplotlib", "installed", str(error), advice)
        ) from error


def plot_precision_recall(file: Path | str, judged: Judged, report: DetectionReport) -> None:
    """Draw precision over recall, one curve a class, its average precision beside its name.

    The precision is made falling, as average precision needs it: see ``Judged.curve``. Classes without objects have
    no curve. The same curves give the same bytes.

    Args:
        file: .svg or .png, to write whole or not at all.
        judged, report: of the same detections.
    Raises:
        ArgumentError: another suffix, or a report of other classes. MissingExtraError: matplotlib is not installed.
    """
    file = Path(file)
    check_plot(file)
    advice, classes = "Judge and report the same detections", (len(report.classes),)
    check_shape("plot_precision_recall", "judged", judged.objects.shape[1:], classes, advice=advice)
    import matplotlib

    form, content = file.suffix.lower(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "sppnet", "svg.fonttype": "none", "font.size": 9}):
        figure = _drawn(judged, report)
        # As wide as the legend needs.
        figure.savefig(content, format=form[1:], bbox_inches="tight", **FORMS[form])
    write_file(file, content.getvalue())


def _drawn(judged: Judged, report: DetectionReport) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5))
    axes = figure.subplots()
    styles = list(product(DASHES, COLOURS))
    for label, (name, value) in enumerate(zip(report.classes, report.average_precision, strict=True)):
        if np.isnan(value):
            continue
        recall, precision = judged.curve(label)
        dashes, colour = styles[label % len(styles)]
        # A step ends at the recall that its precision reaches; the first begins at none.
        points = np.append(0.0, recall), np.append(precision[:1] if len(precision) else 0.0, precision)
        axes.step(*points, dashes, where="pre", color=colour, label=f"{value:.1%}  {_plain(name)}")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(f"IoU {report.iou:g}, mean average precision {report.mean:.1%}", fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        columns = math.ceil(len(axes.lines) / ROWS)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8, ncols=columns)
    return figure


def _plain(name: str) -> str:
    """Return a name of which matplotlib takes nothing for mathematics."""
    return name.replace("$", r"\$")
