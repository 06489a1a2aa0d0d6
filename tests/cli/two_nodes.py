"""The command line on a cluster of Ray of two nodes on this machine, one of which, or one worker, may be killed.

``python two_nodes.py KILLED SIZE ARGUMENTS...``: KILLED is "nothing", "worker" or "node", killed once the first of the
parts of SIZE images is done. A second run after it needs no Ray to see that nothing is missing.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from sppnet.cli import main, many
from sppnet.pipeline import parts


def kill_a_worker() -> None:
    """Kill one process that answers images: of those that descend from this one."""
    for folder in Path("/proc").iterdir():
        try:
            mine = b"MapWorker" in (folder / "cmdline").read_bytes() and os.getpid() in _ancestors(int(folder.name))
        except (OSError, ValueError):
            continue
        if mine:
            os.kill(int(folder.name), SIGKILL)
            return


def _ancestors(process: int) -> Iterator[int]:
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process


def after_the_first(killing: Callable[[], object], each: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Return the same, which kills after the first answer."""

    def killed(*arguments: Any) -> Iterator[Any]:
        for number, answer in enumerate(each(*arguments)):
            yield answer
            if number == 0:
                killing()

    return killed


if __name__ == "__main__":
    import ray  # here alone: tests are collected where it is not installed too
    from ray.cluster_utils import Cluster

    node_options = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node_options, "include_dashboard": False})
    second = cluster.add_node(**node_options)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    deaths: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "worker": kill_a_worker,
        "node": lambda: cluster.remove_node(second, allow_graceful=False),
    }
    many.each_on_cluster = after_the_first(deaths[sys.argv[1]], many.each_on_cluster)
    parts.PartFiles.__init__.__kwdefaults__["size"] = int(sys.argv[2])
    sys.argv[1:] = [*sys.argv[3:], "--on", "ray", "--address", cluster.address]
    try:
        main()
    finally:
        ray.shutdown()
        cluster.shutdown()
