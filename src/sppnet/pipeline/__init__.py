"""Many images: through several processes or the machines of a cluster, into tables that are written in parts."""

from sppnet.pipeline.answers import IN_FLIGHT, Bad, Lazy, WorkerDiedError, each_answer, shard
from sppnet.pipeline.cluster import Cluster, ClusterError, each_on_cluster

__all__ = [
    "IN_FLIGHT",
    "Bad",
    "Cluster",
    "ClusterError",
    "Lazy",
    "WorkerDiedError",
    "each_answer",
    "each_on_cluster",
    "shard",
]
