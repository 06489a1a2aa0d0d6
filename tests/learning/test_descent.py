"""What an optimiser remembers, through a file and back: it goes on as if it had never stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sppnet.learning.descent import optimiser_tensors, restore_optimiser
from sppnet.storage import read_tensors, write_tensors

MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "momentum": lambda parameters: torch.optim.SGD(parameters, 0.1, 0.9),
    "plain": lambda parameters: torch.optim.SGD(parameters, 0.1),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 0.1),
}


def _steps(network: nn.Module, optimiser: torch.optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        torch.manual_seed(seed)
        optimiser.zero_grad()
        torch.autograd.backward(network(torch.randn(4, 3)).square().sum())
        optimiser.step()


def _weights(network: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_it_goes_on_with_the_same_bits(make: Callable[[Any], torch.optim.Optimizer], tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    optimiser = make(network.parameters())
    _steps(network, optimiser, range(3))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    write_tensors(tmp_path / "state.safetensors", optimiser_tensors(optimiser), metadata={})
    _steps(network, optimiser, range(3, 6))

    again = nn.Linear(3, 2)
    again.load_state_dict(state)
    other = make(again.parameters())
    restore_optimiser(other, read_tensors(tmp_path / "state.safetensors")[0])
    _steps(again, other, range(3, 6))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(_weights(network), _weights(again), strict=True))


def test_nothing_remembered_is_nothing_written() -> None:
    assert optimiser_tensors(torch.optim.SGD(nn.Linear(3, 2).parameters(), 0.1)) == {}
