"""Many items through the machines of a cluster, by Ray."""

import logging
import os
import pickle  # between processes of one run alone: never a file
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any, NamedTuple

from sppnet.errors import MissingExtraError, SppnetError
from sppnet.pipeline.answers import Answer, Item, prepared


class ClusterError(SppnetError):
    """A cluster that cannot be reached, or a worker on it that failed; the message says why."""


class Cluster(NamedTuple):
    """A cluster of Ray.

    Args:
        address: of its head; None: the one that this machine belongs to, or else this machine alone.
        workers: at most, over all machines; None: as many as there are processors, or GPUs where they take any.
        gpus: that each worker takes, such as 1 or 0.5.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0


def each_on_cluster(
    prepare: Callable[[], Callable[[Item], Answer]], items: Sequence[Item], cluster: Cluster
) -> Iterator[Answer]:
    """Answer items in worker processes on the machines of a cluster, and yield the answers as they come.

    Workers and machines that are lost are replaced, and their items done again, by Ray.

    Args:
        prepare: run once in each worker; what it returns answers an item there. It is sent by pickle, as items and
            answers are; the package must be installed on each machine.
    Raises:
        MissingExtraError: Ray is not installed. ClusterError: no such cluster, or what a worker raised.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--on ray: needs Ray. Install it: pip install 'sppnet[ray]'.") from error
    if not items:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody unasked
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    mine = not ray.is_initialized()
    with redirect_stdout(sys.stderr):  # Ray prints what becomes of its workers, where answers are printed
        try:
            ray.init(cluster.address, ignore_reinit_error=True, logging_level=logging.ERROR, log_to_driver=False)
            ray.data.DataContext.get_current().enable_progress_bars = False
            workers = cluster.workers or _room(ray.cluster_resources(), cluster.gpus)
            rows = [{"item": pickle.dumps(item)} for item in items]
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                _Worker,
                fn_constructor_args=(prepare,),
                concurrency=(1, min(workers, len(rows))),
                num_cpus=1,
                num_gpus=cluster.gpus or None,
            )
            for row in done.iter_rows():
                if row["error"]:
                    raise ClusterError(row["error"])
                yield pickle.loads(row["answer"])
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise ClusterError(f"--on ray: {error}. The same command goes on where it was.") from error
        finally:
            if mine:
                ray.shutdown()


class _Worker:
    """What a worker process of a cluster holds: a loaded model's method, perhaps."""

    def __init__(self, prepare: Callable[[], Callable[[Any], Any]]) -> None:
        self.answer = prepared(prepare)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"answer": pickle.dumps(self.answer(pickle.loads(row["item"]))), "error": ""}
        except (SppnetError, OSError) as error:  # trying it again would not help
            return {"answer": b"", "error": str(error) or type(error).__name__}


def _room(resources: Mapping[str, float], gpus: float) -> int:
    """Return how many workers a cluster of these resources has room for, at least one."""
    return max(1, int(resources.get("GPU", 0) / gpus) if gpus else int(resources.get("CPU", 1)))
