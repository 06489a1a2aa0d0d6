"""Several processes, on one machine or many, that train one network: torch's own means.

Started by ``torchrun``, which comes with torch; Hugging Face's accelerate would wrap the same at the price of a
dependency. Each process has an equal share of every batch, and gradients are added up.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


def rank() -> int:
    """Return the number of this process, from 0; the first one writes the files."""
    return distributed.get_rank() if _several() else 0


def world() -> int:
    """Return how many processes there are."""
    return distributed.get_world_size() if _several() else 1


def summed(values: Tensor) -> Tensor:
    """Add up a tensor over all processes, in place."""
    if _several():
        distributed.all_reduce(values)
    return values


def agreed(value: float) -> float:
    """Return the first process's value in every one, so that all decide alike."""
    told = torch.tensor([value], dtype=torch.float64, device=own_device() if _several() else "cpu")
    if _several():
        distributed.broadcast(told, 0)
    return float(told)


def any_process(*flags: bool, device: torch.device) -> list[bool]:
    """Tell of each flag whether it is set in at least one process."""
    if not _several():
        return list(flags)
    raised = torch.tensor(flags, dtype=torch.int64, device=device)
    distributed.all_reduce(raised)
    return [count > 0 for count in raised.tolist()]


def own_device() -> torch.device:
    """Return the device of this process: a GPU of its own where there are GPUs, otherwise the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def joined_processes() -> Iterator[None]:
    """Join the other processes if ``torchrun`` started this one, and leave them at the end."""
    if "WORLD_SIZE" not in os.environ or _several():
        yield
        return
    device = own_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Both: what is reduced lies on the processor wherever the user did not ask for the GPU.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
