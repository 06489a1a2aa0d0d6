"""Plots for the documentation, drawn from ``results/``."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {  # told apart by those who do not see red and green as two
    "sppnet": "#0072b2",
    "sppnet, bfloat16": "#56b4e9",
    "one write of the output": "#999999",
    "roi_pool x 4": "#d55e00",
    "adaptive_max_pool2d in a loop": "#cc79a7",
}
SETS = {"bccd": "#0072b2", "raccoon": "#d55e00", "cards": "#cc79a7", "pcb": "#009e73"}
METHODS = {"grid": "#999999", "learnt": "#0072b2", "selective search": "#d55e00", "edge boxes": "#cc79a7"}
WHOLE = ("contiguous", "channels last", "contiguous, with gradient", "channels last, with gradient")


def draw_pooling(figures: dict[str, Any], path: Path) -> None:
    """Draw times of 2,000 windows over the map's size, and how many times as fast as its peers the pooling is."""
    # The same figures give the same file: no date, no random names in it; letters stay letters.
    with matplotlib.rc_context({"svg.hashsalt": "sppnet", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        times, ratios = figure.subplots(1, 2)
        _draw_times(times, figures)
        _draw_ratios(ratios, figures)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_times(axes: Axes, figures: dict[str, Any]) -> None:
    sides = sorted(int(name.split()[4].rstrip(",")) for name in figures if _is_forward(name, 2000, threads=1))
    for name, colour in COLOURS.items():
        spread = [figures[f"2000 windows, short side {side}, 1 threads"][name] for side in sides]
        low, high = zip(*(times["quartiles_ms"] for times in spread), strict=True)
        axes.fill_between(sides, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(sides, [times["median_ms"] for times in spread], "o-", color=colour, label=name, markersize=3)
    axes.set(yscale="log", xticks=sides, xlabel="short side of the image, pixels", ylabel="milliseconds")
    axes.set_title("2,000 windows, 256 channels, one thread", fontsize=9)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))


def _draw_ratios(axes: Axes, figures: dict[str, Any]) -> None:
    bars: list[tuple[str, float, str]] = []
    for name, measured in figures.items():
        if name.startswith("whole maps"):
            peer = "adaptive_max_pool2d x 4"
            bars += [
                (
                    f"32 maps, {kind}, {name.split(', ')[1].replace(' threads', ' thr.')}",
                    measured[kind][peer]["over_sppnet"],
                    "#cc79a7",
                )
                for kind in WHOLE
            ]
        elif " windows, " in name:
            bars.append(
                (
                    name.replace("short side ", "").replace(" threads", " thr."),
                    measured["roi_pool x 4"]["over_sppnet"],
                    "#d55e00",
                )
            )
    bars.sort(key=lambda bar: bar[1])
    labels, speeds, colours = zip(*bars, strict=True)
    axes.barh(range(len(bars)), speeds, color=colours)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", yticks=range(len(bars)), yticklabels=labels, xlabel="times as fast as its peer")
    axes.tick_params(axis="y", labelsize=5)
    axes.set_title("roi_pool x 4 (orange), adaptive_max_pool2d x 4 (pink)", fontsize=7)


def _is_forward(name: str, count: int, *, threads: int) -> bool:
    return name.startswith(f"{count} windows") and name.endswith(f"{threads} threads")


def draw_proposals(figures: dict[str, Any], path: Path) -> None:
    """Draw the share of the objects that regions reach over how many regions there are: at IoU 0.5 full, 0.7 dashed."""
    with matplotlib.rc_context({"svg.hashsalt": "sppnet", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        for axes, (name, measured) in zip(figure.subplots(1, len(figures), sharey=True), figures.items(), strict=True):
            _draw_recall(axes, name, measured)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_recall(axes: Axes, name: str, measured: dict[str, Any]) -> None:
    for method, colour in METHODS.items():
        recall, regions = measured["methods"][method]["recall"], measured["methods"][method]["regions"]
        for line, (overlap, shares) in zip(("o-", "o--"), recall.items(), strict=True):
            # An image may have fewer regions than are asked for.
            counts = [regions if count == "all" else min(float(count), regions) for count in shares]
            label = f"{method}, IoU {overlap}"
            axes.plot(counts, [100 * share for share in shares.values()], line, color=colour, label=label, markersize=3)
    axes.set(xscale="log", ylim=(0, 101), xlabel="regions an image", ylabel="% of the objects reached")
    axes.set_title(f"{name}: {measured['objects']} objects", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))


def draw_sets(figures: dict[str, Any], path: Path) -> None:
    """Draw average precision at IoU 0.5 and 0.7, and F1, over how many images are labelled: each draw, and the mean."""
    panels = {"ap50": "AP at IoU 0.5", "ap70": "AP at IoU 0.7", "f1": "F1 at its threshold (dashed: best F1)"}
    with matplotlib.rc_context({"svg.hashsalt": "sppnet", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        for axes, (column, title) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
            for name, colour in SETS.items():
                rows = [row for row in figures["rows"] if row["set"] == name]
                _draw_growth(axes, rows, column, colour, label=name)
                if column == "f1":
                    _draw_growth(axes, rows, "best_f1", colour, line="--")
            axes.set(xscale="log", ylim=(0, 101), xlabel="labelled images")
            axes.set_xticks([3, 5, 10, 20, 40, 250], ["3", "5", "10", "20", "40", "all"])
            axes.minorticks_off()
            axes.set_title(title, fontsize=9)
            axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=7)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_growth(
    axes: Axes, rows: list[dict[str, Any]], column: str, colour: str, *, line: str = "-", label: str | None = None
) -> None:
    places = [250.0 if row["labelled"] == "all" else float(row["labelled"]) for row in rows]
    shares = [100 * row[column] for row in rows]
    if line == "-":
        axes.plot(places, shares, ".", color=colour, alpha=0.4, markersize=4)
    ends = sorted(set(places))
    means = [
        statistics.mean(share for place, share in zip(places, shares, strict=True) if place == end) for end in ends
    ]
    axes.plot(ends, means, line, color=colour, label=label)
