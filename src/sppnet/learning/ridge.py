"""Ridge regression: in one go, or by sums that examples are added to and taken from."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.errors import check_shape, check_that


def ridge(
    features: NDArray[np.float32], targets: NDArray[np.float64], *, penalty: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Minimise ``|features @ weights.T + constant - targets|^2 + penalty * |weights|^2``.

    The constant is not penalised.

    Args:
        features: (N, D) float32, N at least 1. targets: (N, T). penalty: above 0.
    Returns:
        (T, D) float32 weights and (T,) float32 constants.
    """
    check_that(penalty > 0, "ridge", "penalty", "above 0", penalty, advice="Try 1000 on features of length 20")
    check_shape("ridge", "targets", targets.shape, (len(features), "T"), advice="Give one row an example")
    check_that(len(features) > 0, "ridge", "features", "of one row at least", "none", advice="Give examples")
    centred, mean, wanted, goal = _centred(features, targets)
    few = len(features) < features.shape[1]
    right = wanted if few else torch.mm(centred.T, wanted.float()).double()
    solved = torch.cholesky_solve(right, _factor(centred if few else centred.T, penalty)).float()
    return _planes((torch.mm(centred.T, solved) if few else solved).T.contiguous(), mean, goal)


def ridge_held_out(
    features: NDArray[np.float32], targets: NDArray[np.float64], *, penalty: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return what ``ridge`` does, and what it would say of each example had it learnt from all other ones.

    Exact, and solved once: leaving an example out of least squares moves its residual by a factor of its own. In
    memory that grows with the square of N.

    Args:
        features, targets, penalty: as of ``ridge``; at least two examples.
    Returns:
        (T, D) float32 weights, (T,) float32 constants and (N, T) float64 answers of those who did not see the example.
    """
    centred, mean, wanted, goal = _centred(features, targets)
    inverse = torch.cholesky_inverse(_factor(centred, penalty))
    solved = torch.mm(inverse, wanted)
    factors = inverse.diagonal() - 1 / (penalty * len(features))  # the constant is learnt too
    held_out: NDArray[np.float64] = targets - (solved / factors[:, None]).numpy()
    return *_planes(torch.mm(solved.float().T, centred), mean, goal), held_out


def _centred(features: NDArray[np.float32], targets: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return features less their mean, that mean, targets less theirs in float64, and that one."""
    # Copied: torch aligns memory, and sums over aligned memory have the same bits each time.
    values, goals = torch.tensor(features), torch.tensor(targets.astype(np.float64))
    mean, goal = values.mean(0), goals.mean(0)
    return values - mean, mean, goals - goal, goal


def _factor(rows: Tensor, penalty: float) -> Tensor:
    """Return the Cholesky factor of the rows' products with each other, the penalty added to the diagonal."""
    system = torch.mm(rows, rows.T).double()
    system.diagonal().add_(penalty)
    factor: Tensor = torch.linalg.cholesky(system)
    return factor


def _planes(weights: Tensor, mean: Tensor, goal: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    constant = goal - torch.mv(weights, mean).double()
    return weights.numpy(), constant.float().numpy()


class RidgeSums:
    """The sums that ridge regression needs of its examples: some can come or go, and none is looked at again.

    ``solve`` gives what ``ridge`` gives for the examples that are in, but for the rounding of float32.

    Args:
        features: D. targets: T.
    """

    def __init__(self, features: int, targets: int) -> None:
        self.count = 0
        self._products = torch.zeros(features, features)
        self._crossed = torch.zeros(features, targets, dtype=torch.float64)
        self._sum = torch.zeros(features, dtype=torch.float64)
        self._goal = torch.zeros(targets, dtype=torch.float64)

    def add(self, features: NDArray[np.float32], targets: NDArray[np.float64], *, sign: int = 1) -> None:
        """Take examples (N, D) and their targets (N, T) in, or with ``sign`` -1 out again."""
        values, goals = torch.tensor(features), torch.tensor(targets)
        self.count += sign * len(features)
        self._products.addmm_(values.T, values, alpha=sign)
        self._crossed.addmm_(values.T.double(), goals, alpha=sign)
        self._sum.add_(values.sum(dim=0, dtype=torch.float64), alpha=sign)
        self._goal.add_(goals.sum(dim=0), alpha=sign)

    def solve(self, *, penalty: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (T, D) float32 weights and (T,) float32 constants; see ``ridge``."""
        check_that(self.count > 0, "RidgeSums", "examples", "at least one", self.count, advice="Add examples")
        mean, goal = self._sum / self.count, self._goal / self.count
        centre = self._sum.float()
        system = torch.addr(self._products, centre, mean.float(), alpha=-1)
        system.diagonal().add_(penalty)
        right = self._crossed - torch.outer(self._sum, goal)
        weights = torch.cholesky_solve(right.float(), torch.linalg.cholesky(system)).T.contiguous()
        constant = goal - torch.mv(weights.double(), mean)
        return weights.numpy(), constant.float().numpy()
