"""What an optimiser of torch remembers, as tensors by name: for states on disk that hold no pickle."""

from collections.abc import Mapping

import torch
from torch import Tensor


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser remembers of each parameter (momenta, counts), as ``index.name`` -> tensor."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, remembered in state.items()
        for name, value in remembered.items()
        if value is not None
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Have an optimiser of the same parameters remember what ``optimiser_tensors`` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
