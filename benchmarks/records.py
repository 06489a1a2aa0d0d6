"""Where the data lies, and how a measurement is written down: the last of each by its name, all of them in order."""

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
HISTORY = "history.jsonl"


def data_folder(name: str) -> Path:
    """Return the folder of a data set, below SPPNET_DATA or beside the project."""
    folder = Path(os.environ.get("SPPNET_DATA", ROOT.parent / "shared" / "data")) / name
    if not folder.is_dir():
        raise SystemExit(f"benchmarks: no data set {name!r}. Set SPPNET_DATA to the folder that holds it.")
    return folder


def write(name: str, *, seed: int | list[int], figures: dict[str, Any]) -> None:
    """Write ``results/<name>.json``: how to do it again, on what it was done, and what came out.

    The same, with the date, is a further line of ``results/history.jsonl``.
    """
    record = {
        "command": f"python -m benchmarks {name}",
        "seed": seed,
        "commit": _git("rev-parse", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain", "--", "src")),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {package: version(package) for package in ("torch", "numpy", "numba")},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with (RESULTS / HISTORY).open("a", encoding="utf-8") as history:
        history.write(json.dumps({"date": date, **record}) + "\n")


def read(name: str) -> dict[str, Any] | None:
    """Return a written measurement, None if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def put_between(page: str, begin: str, end: str, text: str) -> str:
    """Return a page with what stands between two of its lines replaced by lines of text, such as a table."""
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}{end}{after}"
