"""Four times what a service can do: who is not answered is told so at once, and afterwards all is as before."""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from PIL import Image

from benchmarks.tally import Tally
from benchmarks.torture_clients import Health
from benchmarks.torture_files import model_file
from benchmarks.torture_soak import running

TIMES: Final = 4
IMAGES: Final = 40
SLOWEST: Final = 200  # milliseconds, the most that 99 % of the answers of /healthz may take
WARM: Final = 10  # seconds, before what it can do is measured


def load(seed: int, until: float, tally: Tally) -> None:
    """Measure what a service answers, ask four times as much of it, and measure again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = random.Random(f"load {seed}")
        for number in range(IMAGES):
            size = rng.randrange(200, 400), rng.randrange(200, 400)
            Image.effect_noise(size, 90).convert("RGB").save(folder / f"{number}.jpg")
        with running("serve", model_file(folder), "--port", "0", "--workers", "1") as service:
            _generated(service.address, "capacity", folder, WARM)
            seconds = max(1, round((until - time.monotonic()) / 4))
            before = _generated(service.address, "capacity", folder, seconds)
            with Health(service.address) as health:
                rate = TIMES * before["answers_a_second"]
                over = _generated(service.address, "overload", folder, 2 * seconds, rate)
            after = _generated(service.address, "capacity", folder, seconds)
    for when, figures in (("before", before), ("over", over), ("after", after)):
        for status, count in figures["statuses"].items():
            tally.counts[f"{when}, status {status}"] += count
        tally.most(f"answers a second, {when}", figures["answers_a_second"])
    tally.most("asked a second, over", over["requests_a_second"])
    tally.most("healthz p99, ms", health.slowest())
    if not over["statuses"].keys() <= {"200", "503"} or not health.statuses <= {200}:
        tally.lose(f"load: statuses {over['statuses']}, of /healthz {sorted(health.statuses)}")
    if before["statuses"].keys() | after["statuses"].keys() != {"200"}:
        tally.lose(f"load: before and after all is answered, got {before['statuses']} and {after['statuses']}")
    if health.slowest() > SLOWEST:
        tally.lose(f"load: /healthz took {health.slowest()} ms")


def _generated(address: str, mode: str, *amounts: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.service_load", address, mode, *map(str, amounts)]
    figures: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return figures
