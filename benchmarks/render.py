"""README's table of results, rendered from ``results/``."""

from typing import Any

from benchmarks import records

BEGIN, END = "<!-- results: rendered by 'make bench' -->", "<!-- end of results -->"


def update_readme() -> None:
    """Write the table between the two markers of README.md."""
    path = records.ROOT / "README.md"
    path.write_text(rendered(path.read_text(encoding="utf-8")), encoding="utf-8")


def rendered(readme: str) -> str:
    """Return README with the table made anew from the results."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{_table()}{END}{after}"


def _table() -> str:
    rows = ["| measured | result | paper, or a peer |", "|---|---|---|"]
    for name, lines in (("bccd", _bccd), ("caltech101", _caltech101)):
        record = records.read(name)
        rows += lines(record["figures"]) if record else []
    return "\n".join(rows) + "\n"


def _bccd(figures: dict[str, Any]) -> list[str]:
    precision = figures["mean_average_precision"]
    return [
        f"| BCCD val, mAP at IoU 0.5 / 0.7 | {100 * precision['0.5']:.1f} / {100 * precision['0.7']:.1f} | "
        "networks fine-tuned on a GPU: about 90 to 92 at 0.5 |",
        f"| BCCD, from 205 labelled pictures to a detector, two cores | {figures['seconds_from_nothing']:.0f} s; "
        f"{figures['seconds_with_cached_maps']:.0f} s with cached maps | |",
    ]


def _caltech101(figures: dict[str, Any]) -> list[str]:
    accuracy, table = figures["accuracy"], figures["table"]
    parts = " | ".join(f"{100 * table[f'{view}, pyramid']['mean']:.1f}" for view in ("whole", "warped", "cropped"))
    averages = " | ".join(
        f"{100 * table[f'{view}, global average']['mean']:.1f}" for view in ("whole", "warped", "cropped")
    )
    return [
        f"| Caltech-101, mean over classes | {100 * accuracy['mean']:.1f} ± {100 * accuracy['deviation']:.1f} "
        "% | the paper's best 93.42 % |",
        f"| Caltech-101, a split from nothing, two cores | {figures['seconds_of_first_split_from_nothing']:.0f} s | |",
        "",
        "| Caltech-101, % | whole | warped | cropped |",
        "|---|---|---|---|",
        f"| pyramid 3, 2, 1 | {parts} |",
        f"| global average | {averages} |",
    ]
