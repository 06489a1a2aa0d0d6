"""The command line on a cluster of Ray of two nodes on this machine, where a worker and a node may be killed.

``python two_nodes.py DEATHS SIZE ARGUMENTS...``: DEATHS is "" or such as "worker:1,node:2": a worker is killed once a
part is done, and the second node, with all that is on it, once two are. Parts of detections have SIZE images.
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
    raise SystemExit("two_nodes: no worker is there to be killed.")


def _ancestors(process: int) -> Iterator[int]:
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process


def deadly(deaths: dict[int, Callable[[], object]], each: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Return the same, which kills after so many answers; all that shall die has died at its end."""

    def killed(*arguments: Any) -> Iterator[Any]:
        coming = dict(deaths)
        for number, answer in enumerate(each(*arguments), start=1):
            yield answer
            coming.pop(number, lambda: None)()
        if coming:
            raise SystemExit(f"two_nodes: the work was done before {sorted(coming)} parts.")

    return killed


if __name__ == "__main__":
    import ray  # here alone: tests are collected where it is not installed too
    from ray.cluster_utils import Cluster

    node_options = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node_options, "include_dashboard": False})
    second = cluster.add_node(**node_options)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    kinds: dict[str, Callable[[], object]] = {
        "worker": kill_a_worker,
        "node": lambda: cluster.remove_node(second, allow_graceful=False),
    }
    deaths = [death.split(":") for death in sys.argv[1].split(",") if death]
    many.each_on_cluster = deadly({int(after): kinds[kind] for kind, after in deaths}, many.each_on_cluster)
    parts.PartFiles.__init__.__kwdefaults__["size"] = int(sys.argv[2])
    sys.argv[1:] = [*sys.argv[3:], "--on", "ray", "--address", cluster.address]
    try:
        main()
    finally:
        ray.shutdown()
        cluster.shutdown()
