"""The tables of the pages, rendered from ``results/``: each page's by the name between its markers."""

from collections.abc import Callable
from typing import Any

from benchmarks import cluster, effect, mutations, records, scale, torture

BEGIN, END = "<!-- {name}: rendered by 'make bench' -->", "<!-- end of {name} -->"
FIRST = "first call of a process, seconds"


def update_pages() -> None:
    """Write the tables of every page between their two markers."""
    for name in PAGES:
        path = records.ROOT / name
        path.write_text(rendered(name, path.read_text(encoding="utf-8")), encoding="utf-8")


def rendered(name: str, page: str) -> str:
    """Return a page, by its name in ``PAGES``, with its tables made anew from the results."""
    for table, made in PAGES[name].items():
        page = records.put_between(page, BEGIN.format(name=table), END.format(name=table), made())
    return page


def _figures(name: str) -> dict[str, Any]:
    """Return what was measured; nothing as long as it was not."""
    figures: dict[str, Any] = (records.read(name) or {"figures": {}})["figures"]
    return figures


def _pooling_tables() -> str:
    return _pooling(figures) if (figures := _figures("pooling")) else ""


def _proposals_tables() -> str:
    return "".join(_proposals(name, measured) for name, measured in _figures("proposals").items()) + "\n"


def _export_tables() -> str:
    figures = _figures("export") | _figures("export_times")
    return _export(figures) if len(figures) == 3 else ""


def _parts_tables() -> str:
    figures = _figures("parts")
    return "\n".join(_parts(figures, iou) for iou in ("0.5", "0.7")) if figures else ""


def _deep_table() -> str:
    """Return what tuning the convolutions gives on each kind of images."""
    rows = ["| images | linear, AP at 0.5 / 0.7 | tuned | epochs | seconds of all |", "|---|---|---|---|---|"]
    for name, mine in _figures("deep").items():
        linear, tuned = (_both(mine[each]) for each in ("linear", "tuned"))
        rows.append(f"| {name} | {linear} | {tuned} | {mine['held_out']['epochs']} | {mine['seconds']} |")
    return "\n".join(rows) + "\n"


def _backbones_table() -> str:
    """Return what a larger network gives on each kind of images, and what it costs."""
    rows = [
        "| images | Lite0, AP at 0.5 / 0.7 | Lite2 | Lite0, processor seconds an image | Lite2 |",
        "|---|---|---|---|---|",
    ]
    for name, measured in _figures("backbones").items():
        found = " | ".join(_both(mine) for mine in measured.values())
        spent = " | ".join(f"{mine['processor_seconds_an_image']:.2f}" for mine in measured.values())
        rows.append(f"| {name} | {found} | {spent} |")
    return "\n".join(rows) + "\n"


def _gpu_tables() -> str:
    """Return what a GPU makes of the method and of the pooling; nothing as long as none was measured."""
    figures = _figures("gpu")
    if not figures:
        return ""
    rows = ["| ZF-5, 2,000 regions | R-CNN, ms | SPP-net, one scale | five scales |", "|---|---|---|---|"]
    for dtype, mine in figures["rcnn"].items():
        if dtype != "seconds":
            cells = [
                f"{mine[of]:.1f}, **{mine[f'times faster, {of}']:.0f} times**" for of in ("one scale", "five scales")
            ]
            rows.append(f"| {dtype} | {mine['R-CNN']:.0f} | {' | '.join(cells)} |")
    rows += ["", "| pooling | ms | over one write | bfloat16, ms | `roi_pool` x 4, ms | with gradient, ms | theirs |"]
    rows += ["|---|---|---|---|---|---|---|"]
    for name, mine in figures["pooling"].items():
        if name != "seconds":
            of = ("sppnet, bfloat16", "roi_pool x 4", "sppnet, with gradient", "roi_pool x 4, with gradient")
            times = [f"{mine['ms'][each]:.2f}" if each in mine["ms"] else "" for each in of]
            first = f"{mine['ms']['sppnet']:.2f} | {mine['ratios']['over one write']:.1f}"
            rows.append(f"| {name} | {first} | {' | '.join(times)} |")
    return "\n".join(rows) + "\n"


def _both(precision: dict[str, float]) -> str:
    return " / ".join(f"{100 * precision[iou]:.1f}" for iou in ("0.5", "0.7"))


def _parts(figures: dict[str, Any], iou: str) -> str:
    rows = [f"| AP at {iou}; lost | {' | '.join(figures)} |", f"|---|{'---|' * len(figures)}"]
    for part in next(iter(figures.values()))["rows"]:
        cells = []
        for measured in figures.values():
            mine = measured["rows"][part][iou]
            less = " to ".join(f"{100 * each:.1f}" for each in mine["less_than_default"])
            cells.append(f"{100 * mine['mean']:.1f}" + (f"; {less}" if part != "default" else ""))
        rows.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _export(figures: dict[str, Any]) -> str:
    rows = ["| data | scaled | images alike | detections | lost or added | pixels apart | confidence apart |"]
    rows.append("|---|---|---|---|---|---|---|")
    for name, measured in figures["agreement"].items():
        for scaling, told in measured.items():
            if not isinstance(told, dict):
                continue
            alike = f"{told['images with the same detections']} of {measured['images']}"
            apart = f"{told['pixels']:.4f} | {told['confidence']:.5f}"
            rows.append(
                f"| {name} | {scaling} | {alike} | {measured['detections']} | {told['lost or added']} | {apart} |"
            )
    for title, part in (("a file of 640 x 480 to boxes, by", "image"), ("3,000 windows pooled, by", "pooling")):
        rows += ["", f"| {title} | ms of one core | share |", "|---|---|---|"]
        rows += [f"| {name} | {told['ms']:.0f} | {told['share']:.2f} |" for name, told in figures[part].items()]
    return "\n".join(rows) + "\n"


def _proposals(name: str, figures: dict[str, Any]) -> str:
    methods: dict[str, Any] = figures["methods"]
    overlaps = {overlap: list(recall) for overlap, recall in next(iter(methods.values()))["recall"].items()}
    titles = [f"{count} at {overlap}" for overlap, counts in overlaps.items() for count in counts]
    images = f"{figures['images']} image{'s' * (figures['images'] > 1)}"
    rows = [
        "",
        f"| {name}, % of {figures['objects']} objects in {images} | regions | {' | '.join(titles)} |",
        f"|---|{'---|' * (len(titles) + 1)}",
    ]
    for method, measured in methods.items():
        shares = [f"{100 * share:.1f}" for recall in measured["recall"].values() for share in recall.values()]
        rows.append(f"| {method} | {measured['regions']:.0f} | {' | '.join(shares)} |")
    precision = figures["mean average precision"]
    told = [
        f"{' / '.join(f'{100 * share:.1f}' for share in each.values())} on {method} regions"
        for method, each in precision.items()
    ]
    rows += ["", f"{name}, a detector's mean average precision at IoU 0.5 / 0.7, in %: {', '.join(told)}."]
    return "\n".join(rows) + "\n"


def _pooling(figures: dict[str, Any]) -> str:
    rows = [
        "| windows, short side, threads | ms | `roi_pool` x 4 | adaptive in a loop | one write | bfloat16 |",
        "|---|---|---|---|---|---|",
        *(
            _windows_row(name, row)
            for name, row in figures.items()
            if name.endswith("threads") and "one write of the output" in row
        ),
        "",
        "| with gradient: windows, short side, threads | ms | `roi_pool` x 4 |",
        "|---|---|---|",
        *(_gradient_row(name, row) for name, row in figures.items() if "windows" in name and name.endswith("gradient")),
        "",
        "| 32 maps of 256 x 13 x 13 | ms | `adaptive_max_pool2d` x 4 |",
        "|---|---|---|",
        *(row for name, kinds in figures.items() if name.startswith("whole maps") for row in _maps_rows(name, kinds)),
        "",
        *(f"- {name}: {ratio:.2f}" for name, ratio in figures.items() if name.startswith("two threads over one")),
        *(f"- first call of a process, {when}: {seconds:.2f} s" for when, seconds in figures.get(FIRST, {}).items()),
    ]
    return "\n".join(rows) + "\n"


def _windows_row(name: str, row: dict[str, Any]) -> str:
    looped = row.get("adaptive_max_pool2d in a loop")
    cells = [
        _label(name),
        f"{row['sppnet']['median_ms']:.1f}",
        f"{row['roi_pool x 4']['over_sppnet']:.0f}",
        f"{looped['over_sppnet']:.0f}" if looped else "",
        f"{row['one write of the output']['over_sppnet']:.2f}",
        f"{row['sppnet, bfloat16']['over_sppnet']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _gradient_row(name: str, row: dict[str, Any]) -> str:
    ratio = row["roi_pool x 4"]["over_sppnet"]
    label = _label(name).removesuffix(", with gradient")
    return f"| {label} | {row['sppnet']['median_ms']:.0f} | {ratio:.1f} |"


def _maps_rows(name: str, kinds: dict[str, Any]) -> list[str]:
    threads = name.split(", ")[1]
    return [
        f"| {kind}, {threads} | {row['sppnet']['median_ms']:.1f} | "
        f"{row['adaptive_max_pool2d x 4']['over_sppnet']:.2f} |"
        for kind, row in kinds.items()
    ]


def _label(name: str) -> str:
    return name.replace(" windows", "").replace("short side ", "").replace(" threads", "")


def _table() -> str:
    rows = ["| measured | result | paper, or a peer |", "|---|---|---|"]
    for name, lines in _LINES.items():
        record = records.read(name)
        rows += lines(record["figures"]) if record else []
    views = records.read("caltech101_views")
    return "\n".join([*rows, *(_views(views["figures"]) if views else [])]) + "\n"


def _bccd(figures: dict[str, Any]) -> list[str]:
    precision = figures["mean_average_precision"]
    return [
        f"| BCCD val, mAP at IoU 0.5 / 0.7 | {100 * precision['0.5']:.1f} / {100 * precision['0.7']:.1f} | "
        "networks fine-tuned on a GPU: about 90 to 92 at 0.5 |",
        f"| BCCD, from 205 labelled images to a detector | {figures['seconds_from_nothing']:.0f} s; "
        f"{figures['seconds_with_cached_maps']:.0f} s with cached maps | |",
    ]


def _studio_table() -> str:
    """Return what the studio's page says of its speed and of its order of labelling."""
    speed, order = records.read("studio"), records.read("studio_order")
    lines = ["| measured | result |", "|---|---|"]
    lines += [line.removesuffix(" |") for line in _studio(speed["figures"])] if speed else []
    for name, mine in (records.read("studio_actions") or {"figures": {}})["figures"].items():
        lines.append(
            f"| actions of labelling {mine['images']} images of {name} in {len(mine['share_of_each_run'])} runs "
            f"({mine['boxes']} boxes), of those by hand | "
            f"{mine['actions']} of {mine['actions_by_hand']}: {100 * mine['share_of_by_hand']:.0f} % "
            f"({', '.join(f'{100 * share:.0f}' for share in mine['share_of_each_run'])}) |"
        )
    for name, mine in (records.read("studio_alike") or {"figures": {}})["figures"].items():
        lines.append(
            f"| of the first {mine['first']} places that one box of {name} finds, an object; one of its class | "
            f"{100 * mine['share_that_is_an_object']:.0f} %; {100 * mine['share_of_the_same_class']:.0f} % |"
        )
    if two := records.read("studio_two"):
        mine = two["figures"]
        lines.append(
            f"| two who label {mine['images']} images at once for {mine['seconds']} s: boxes kept, undone, lost | "
            f"{mine['boxes_kept']}, {mine['undone']}, {mine['lost']} |"
        )
    if many := records.read("studio_many"):
        mine = many["figures"]
        lines += [
            f"| {mine['images']:,} small images, opened again: usable after | "
            f"{mine['seconds_to_a_usable_page']:.1f} s |",
            f"| of these: elements of the page; script an event | {mine['nodes']}; "
            f"{mine['script_milliseconds_an_event']:.1f} ms |",
            f"| scrolled through all of them in three seconds | "
            f"{mine['frames_a_second_while_scrolling']:.0f} frames a second |",
            f"| a drawn box answered while features are computed; the studio's memory | "
            f"{mine['milliseconds_from_a_box_to_detections'] / 1000:.1f} s; {mine['server_megabytes']} MB, "
            f"{mine['server_own_megabytes']} of them its own |",
        ]
    if order:
        means = order["figures"]["mean_average_precision"]
        lines += [
            "",
            f"| images labelled | {' | '.join(means['studio'])} |",
            "|---" * (1 + len(means["studio"])) + "|",
        ]
        for name, label in (("studio", "most useful next"), ("random", "random order")):
            lines.append(f"| {label} | {' | '.join(f'{100 * share:.1f}' for share in means[name].values())} |")
    return "\n".join(lines) + "\n"


def _sets_table() -> str:
    """Return the table of the four kinds of images: of several draws the mean."""
    record = records.read("sets")
    lines = [
        "| images, labelled | AP at 0.5 | at 0.7 | F1 at its threshold | best F1 | calibration error | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    rows_of = _grouped(record["figures"]["rows"] if record else [], "set", "labelled")
    for (name, labelled), rows in rows_of.items():
        shares = [100 * _mean(rows, figure) for figure in ("ap50", "ap70", "f1", "best_f1")]
        cells = [*(f"{share:.1f}" for share in shares), f"{_mean(rows, 'calibration_error'):.2f}"]
        draws = f" ({len(rows)} draws)" if len(rows) > 1 else ""
        lines.append(f"| {name}, {labelled}{draws} | {' | '.join(cells)} | {_mean(rows, 'seconds_of_fit'):.0f} |")
    return "\n".join(lines) + "\n"


def _few_table() -> str:
    """Return the table of the classifier by how many images of a class it learnt from: the means of the draws."""
    record = records.read("caltech101_few")
    lines = [
        "| images a class | accuracy | calibration error | right ones kept | images of other classes refused |",
        "|---|---|---|---|---|",
    ]
    rows_of = _grouped(record["figures"]["draws"] if record else [], "images")
    for (images,), rows in rows_of.items():
        accuracy, kept, refused = (
            f"{100 * _mean(rows, name):.1f}" for name in ("accuracy", "right_ones_kept", "unknown_ones_refused")
        )
        lines.append(f"| {images} | {accuracy} | {_mean(rows, 'calibration_error'):.2f} | {kept} | {refused} |")
    return "\n".join(lines) + "\n"


def _views_table() -> str:
    """Return what a mirror image, or windows of the same map, add to what a classifier answers from."""
    figures = _figures("mirrored")
    if not figures:
        return ""
    ways = list(figures["learnt"]["one way"]["3"])
    rows = [f"| right answers, % | {' | '.join(ways)} |", f"|---|{'---|' * len(ways)}"]
    for facing, counts in figures["learnt"].items():
        for images, draws in counts.items():
            cells = [_share_and_gain(draws[way], draws["whole"]) for way in ways]
            rows.append(f"| things face {facing}, {images} images a class | {' | '.join(cells)} |")
    told = figures["imagenet"]
    cells = [f"{100 * told[way]['accuracy']:.1f}; +{told[way]['gained']}, -{told[way]['lost']} images" for way in ways]
    cells[0] = cells[0].split(";")[0]
    rows.append(f"| {told['classes']} classes of ImageNet, {told['images']} images | {' | '.join(cells)} |")
    taken = figures["milliseconds"]
    cells = [f"{taken[way] / taken['whole']:.1f}" if way in taken else "" for way in ways]
    rows.append(f"| time an image, by the whole one's | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _share_and_gain(draws: list[float], others: list[float]) -> str:
    """Return the mean of draws, and what they gain on others: mean, least and most; of the others least and most."""
    mean, gains = 100 * sum(draws) / len(draws), [100 * (one - other) for one, other in zip(draws, others, strict=True)]
    if draws == others:
        return f"{mean:.1f}, {100 * min(draws):.1f} to {100 * max(draws):.1f}"
    return f"{mean:.1f}; {sum(gains) / len(gains):+.1f}, {min(gains):+.1f} to {max(gains):+.1f}"


def _grouped(rows: list[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Put rows that have the same values of some columns together: they are draws of one thing."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _mean(rows: list[dict[str, Any]], figure: str) -> float:
    total: float = sum(row[figure] for row in rows)
    return total / len(rows)


def _order(figures: dict[str, Any]) -> list[str]:
    chosen, random = (figures["mean_average_precision"][name]["10"] for name in ("studio", "random"))
    return [
        f"| BCCD val, mAP at IoU 0.5 after 10 labelled images in the studio's order | {100 * chosen:.1f} | "
        f"random order: {100 * random:.1f} |"
    ]


def _studio(figures: dict[str, Any]) -> list[str]:
    answer, first = (
        figures["milliseconds_from_a_box_to_detections"],
        figures["seconds_to_first_detections_on_unseen_images"],
    )
    return [
        f"| studio, from a drawn box to new detections, {figures['images']} images | {answer / 1000:.1f} s | |",
        f"| studio, first detections in {figures['unseen_images']} images never seen before | {first:.0f} s | |",
    ]


def _update(figures: dict[str, Any]) -> list[str]:
    change = figures["seconds_of_a_change"]["median"]
    return [f"| learning again after a change of label, {figures['images']} images | {change:.1f} s | |"]


def _caltech101(figures: dict[str, Any]) -> list[str]:
    lines = []
    for name, learnt in (("", "accuracy"), (", the same network without the pyramid", "without_the_pyramid")):
        spread = figures[learnt]
        share = f"{100 * spread['mean']:.1f} ± {100 * spread['deviation']:.1f} %"
        lines.append(f"| Caltech-101, mean over classes, ten splits{name} | {share} | the paper's best 93.42 ± 0.5 % |")
    seconds = figures.get("seconds_of_first_split_from_nothing")
    return [*lines, *([f"| Caltech-101, a split from nothing | {seconds:.0f} s | |"] if seconds else [])]


def _rcnn(figures: dict[str, Any]) -> list[str]:
    clock, paper = figures["times_faster"]["clock"], figures["paper_times_faster"]
    whole = clock["with selective search at two thirds, layers in bfloat16"]
    return [
        f"| ZF-5, {figures['regions']} regions, against running it on each: one scale "
        f"| {clock['one scale']:.0f} times | {paper['one scale']} on a GPU |",
        f"| the same at five scales | {clock['five scales']:.0f} times | {paper['five scales']} on a GPU |",
        f"| one scale with selective search at two thirds, layers in bfloat16 | {whole:.0f} times | |",
    ]


def _pooling_lines(figures: dict[str, Any]) -> list[str]:
    lines = []
    for side in (600, 1200):
        row = figures.get(f"2000 windows, short side {side}, 1 threads")
        if row:
            ratio = row["roi_pool x 4"]["over_sppnet"]
            lines.append(f"| pooling 2,000 windows at a short side of {side} | {ratio:.0f} times | `roi_pool` x 4: 1 |")
    return lines


def _service(figures: dict[str, Any]) -> list[str]:
    refused = figures["four times its capacity"]["refused_ms"]["p99"]
    return [f"| service at four times its capacity | only answers and 503; a refusal takes {refused:.0f} ms at p99 | |"]


_LINES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "bccd": _bccd,
    "studio": _studio,
    "studio_order": _order,
    "update": _update,
    "caltech101": _caltech101,
    "rcnn": _rcnn,
    "pooling": _pooling_lines,
    "service": _service,
}


def _views(figures: dict[str, Any]) -> list[str]:
    """Return the table of what the pyramid gives by how an image is shown; its figures name the map and the splits."""
    table, shown = figures["table"], ("whole", "warped", "cropped")
    rows = [
        f"| {pooling} | " + " | ".join(f"{100 * table[f'{view}, {pooling}']['mean']:.1f}" for view in shown) + " |"
        for pooling in ("pyramid", "global average")
    ]
    splits = len(table["whole, pyramid"]["splits"])
    head = f"| Caltech-101, {splits} splits, map `{figures['map']}`, % | {' | '.join(shown)} |"
    return ["", head, "|---|---|---|---|", *rows]


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"results": _table},
    "benchmarks/README.md": {"pooling": _pooling_tables},
    "docs/backbones.md": {"backbones": _backbones_table, "deep": _deep_table, "gpu": _gpu_tables},
    "docs/classification.md": {"results": _few_table, "views": _views_table},
    "docs/detection.md": {"results": _sets_table, "parts": _parts_tables},
    "docs/export.md": {"export": _export_tables},
    "docs/proposals.md": {"proposals": _proposals_tables},
    "docs/reliability.md": {"torture": torture.table, "mutations": mutations.table},
    "docs/scale.md": {"ray": cluster.table, "scale": scale.table},
    "docs/studio.md": {"results": _studio_table},
    "docs/training.md": {"results": effect.table},
}
