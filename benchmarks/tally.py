"""What came of trials: counts that add up over runs, maxima, and what must not have happened."""

import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

SHOWN: Final = 5  # foreign exceptions that are told of one run


class Tally:
    """Counts outcomes, and keeps the first of what must not happen."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.maxima: dict[str, float] = {}
        self.faults: list[str] = []

    def trial(self, name: str, work: Callable[[], object], *refusals: type[Exception]) -> None:
        """Do one trial: it is done, refused by one of our errors, or a foreign exception."""
        start = time.perf_counter()
        try:
            work()
            self.counts["done"] += 1
        except refusals:
            self.counts["refused"] += 1
        except Exception as error:
            self.counts["foreign exceptions"] += 1
            if len(self.faults) < SHOWN:
                self.faults.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        self.most("slowest, s", round(time.perf_counter() - start, 2))

    def most(self, name: str, value: float) -> None:
        """Remember the highest of a figure."""
        self.maxima[name] = max(value, self.maxima.get(name, value))

    def lose(self, what: str) -> None:
        """Count something that was lost, or that differs."""
        self.counts["losses"] += 1
        self.faults.append(what[:300])

    def figures(self) -> dict[str, Any]:
        """Return what is written down."""
        self.most("resident, MB", round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3))
        return {"counts": dict(self.counts), "most": self.maxima, "faults": self.faults}


def added(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of two runs with other seeds as those of one."""
    most = {
        name: max(each["most"][name] for each in (known, more) if name in each["most"])
        for name in known["most"] | more["most"]
    }
    counts = dict(Counter(known["counts"]) + Counter(more["counts"]))
    return {"counts": counts, "most": most, "faults": [*known["faults"], *more["faults"]]}
