"""Linear SVMs, one a class, over one shared matrix: dual coordinate descent (Hsieh et al. 2008).

scikit-learn's LinearSVC solves the same problem and is the oracle of the tests. Here the matrix is shared by all
classes and may be in half precision, which is widened as a whole only while that is small (``WIDENED``), and examples
can be left out class by class: what a detector needs.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.errors import check_shape, check_that

MAX_PASSES: Final = 100_000
MAX_TURNS: Final = 1000  # each takes in examples that were outside, so that a few are enough
MOST_TAKEN: Final = 1000  # examples taken in at a turn, or twice as many as there are
WIDENED: Final = 50_000_000  # numbers, up to which all rows in half precision are widened at once: 200 MB
BLOCK: Final = 1024  # examples that are scored at a time
TOLERANCE: Final = 2e-4  # largest violation of the optimality conditions, relative to a margin of 1


@dataclass(frozen=True)
class LinearSvm:
    """What was learnt: ``scores = features @ weights.T + bias``.

    Args:
        weights: (K, D) float32. bias: (K,) float32, minus infinity for a class without positives.
        duals: (N, K) float32, the part of every example in each class's weights, signed; warm starts need them.
    """

    weights: Tensor
    bias: Tensor
    duals: NDArray[np.float32]

    def parted(self, count: int) -> "list[LinearSvm]":
        """Return as many solutions, each of an equal share of the classes, in their order."""
        shares = self.weights.chunk(count), self.bias.chunk(count), np.split(self.duals, count, axis=1)
        return [LinearSvm(*share) for share in zip(*shares, strict=True)]


def one_vs_rest(labels: NDArray[np.int64], classes: int) -> NDArray[np.int8]:
    """Return targets (N, K) int8: 1 for the example's own class, -1 for all others.

    >>> one_vs_rest(np.array([1, 0]), 2).tolist()
    [[-1, 1], [1, -1]]
    """
    return np.where(labels[:, None] == np.arange(classes), 1, -1).astype(np.int8)


def train_svm(
    features: NDArray[np.floating],
    targets: NDArray[np.int8],
    *,
    cost: float,
    positive_weight: float = 1.0,
    bias: float = 1.0,
    start: LinearSvm | None = None,
    products: NDArray[np.float32] | None = None,
    squared: bool = False,
    tolerance: float = TOLERANCE,
    max_passes: int = MAX_PASSES,
) -> LinearSvm:
    """Minimise ``|w|^2 / 2 + cost * sum of hinge losses`` for every class.

    The constant is one more feature of value ``bias`` and is regularised with the rest, as in liblinear.

    Args:
        features: (N, D) float32, or float16 where they are many; finite.
        targets: (N, K) int8: 1 positive, -1 negative, 0 not used by the class.
        cost: of one negative's hinge loss; a positive's is ``positive_weight`` times that.
        bias: the larger, the less the constant is regularised.
        squared: square the hinge losses, which punishes the worst examples more.
        tolerance: largest violation of the optimality conditions, relative to a margin of 1.
        max_passes: over a class's examples, after which it is left as it is, with a warning.
        start: an earlier solution whose examples are the first of these; rows may be new, targets changed.
        products: (N, N) inner products of the features, where they are known and are what is ``solved_by_products``.
    Returns:
        The same bits for the same input on the same machine.
    Raises:
        ShapeError, ArgumentError: naming the argument.
    """
    check_shape("train_svm", "features", features.shape, ("N", "D"), advice="Give one row an example")
    rows = len(features)
    check_shape("train_svm", "targets", targets.shape, (rows, "K"), advice="Give one column a class")
    check_that(cost > 0, "train_svm", "cost", "above 0", cost, advice="Try 1 on features of length 1")
    check_that(positive_weight > 0, "train_svm", "positive_weight", "above 0", positive_weight, advice="Try 1")
    known = targets.shape[1] if start is None else start.duals.shape[1]
    advice = "Start from a solution for the same classes"
    check_that(known == targets.shape[1], "train_svm", "start", f"for {targets.shape[1]} classes", known, advice=advice)
    half = features.dtype == np.float16 and features.size > WIDENED
    # Writable: PyTorch, which looks at the same memory, warns of what is not.
    shared: NDArray[np.floating] = np.require(features, None if half else np.float32, ["C", "W"])
    signs = np.ascontiguousarray(targets.T, dtype=np.int8)
    trained = (signs == 1).any(axis=1)
    signs[~trained] = 0
    costs = np.array([cost, cost * positive_weight], dtype=np.float64)
    # Squared losses take the bounds off the duals and add to the diagonal of their inner products.
    limits, damping = (np.full(2, np.inf), 0.5 / costs) if squared else (costs, np.zeros(2))
    duals = _started(signs, limits, start)
    squares = _squares(shared) + bias * bias
    finite = bool(np.isfinite(squares).all())
    check_that(finite, "train_svm", "features", "finite", "NaN or infinity", advice="Look for a broken image")
    solve = _solve_by_products if solved_by_products(rows, features.shape[1]) else _solve_by_weights
    threads = torch.get_num_threads()
    limiting = float(bias), float(tolerance), max_passes  # of one type each: the solvers are compiled once
    weights, constant, converged = solve(_Problem(shared, signs, duals, limits, damping, squares, *limiting), products)
    torch.set_num_threads(threads)  # numba's start undoes it, and networks on more threads have other bits
    if not converged.all():
        advice = "Lower the cost, or scale the features to a smaller length."
        warnings.warn(f"train_svm: stopped after {max_passes} passes, short of the optimum. {advice}", stacklevel=2)
    offsets = torch.where(torch.from_numpy(trained), constant * bias, -torch.inf)
    return LinearSvm(weights, offsets.float(), np.ascontiguousarray(signs * duals, dtype=np.float32).T)


def solved_by_products(examples: int, features: int) -> bool:
    """Tell whether each step is cheaper on the matrix of the examples' inner products than on the weights."""
    return 2 * examples < features


def _started(signs: NDArray[np.int8], limits: NDArray[np.float64], start: LinearSvm | None) -> NDArray[np.float64]:
    """Return feasible duals (K, N): those of an earlier solution where its targets still hold, else 0."""
    duals = np.zeros(signs.shape, dtype=np.float64)
    if start is not None:
        known = min(len(start.duals), signs.shape[1])
        duals[:, :known] = signs[:, :known] * start.duals[:known].T
    return np.clip(duals, 0, np.where(signs == 1, limits[1], limits[0]))


class _Problem(NamedTuple):
    """What the solvers share; they change ``duals`` (K, N) in place."""

    features: NDArray[np.floating]
    signs: NDArray[np.int8]
    duals: NDArray[np.float64]
    limits: NDArray[np.float64]
    damping: NDArray[np.float64]
    squares: NDArray[np.float64]
    bias: float
    tolerance: float
    max_passes: int

    def of(self, rows: NDArray[np.int64]) -> "_Problem":
        """Return the problem of some examples alone, in single precision; their duals are copies."""
        features, squares = torch.from_numpy(self.features)[torch.from_numpy(rows)].float().numpy(), self.squares[rows]
        signs, duals = self.signs.take(rows, axis=1), self.duals.take(rows, axis=1)
        return self._replace(features=features, squares=squares, signs=signs, duals=duals)


_Solved = tuple[Tensor, Tensor, NDArray[np.bool_]]


def _solve_by_weights(problem: _Problem, _: NDArray[np.float32] | None) -> _Solved:
    """Descend on the few examples that matter, look at all others with one product of matrices, and take in some.

    Most negatives never touch a class's weights. To score them for all classes at once is one pass over the matrix
    by all cores, where looking at each in turn would read it once a class and pass.
    """
    signs, duals, bias = problem.signs, problem.duals, problem.bias
    held = problem.of(np.flatnonzero(duals.any(axis=0)))
    signed = torch.from_numpy(held.signs * held.duals)
    weights = torch.mm(signed.float(), torch.from_numpy(held.features)).double()
    constants = bias * signed.sum(dim=1)
    inside, reached = duals > 0, np.full(len(signs), np.inf)
    for turn in range(MAX_TURNS):
        scores = _scores(problem.features, weights.float(), (constants * bias).float())
        with numba.parallel_chunksize(1):  # classes differ in size: the next goes to whoever is free
            worst = _take_in(scores, signs, inside, problem.tolerance)
            if (np.maximum(worst, reached) <= problem.tolerance).all():
                break
            within = np.where(
                np.maximum(worst, reached) <= problem.tolerance, np.inf, np.maximum(worst / 20, problem.tolerance)
            )
            rows = np.flatnonzero(inside.any(axis=0))
            few = problem.of(rows)
            _descend_on_weights(few, weights.numpy(), constants.numpy(), inside[:, rows], within, reached, turn)
            duals[:, rows] = few.duals
        if (reached > within).any():
            break  # the passes ran out
    return weights.float(), constants, reached <= problem.tolerance


def _scores(features: NDArray[np.floating], weights: Tensor, constants: Tensor) -> NDArray[np.float32]:
    scores = torch.empty(len(features), len(weights))
    for some, rows in _widened(features):
        torch.addmm(constants, rows, weights.T, out=scores[some])
    return scores.numpy()


def _squares(features: NDArray[np.floating]) -> NDArray[np.float64]:
    if features.dtype == np.float32:  # squares of which may be beyond single precision
        squares: NDArray[np.float64] = np.einsum("nd,nd->n", features, features, dtype=np.float64)
        return squares
    lengths = torch.empty(len(features))
    for some, rows in _widened(features):
        torch.linalg.vector_norm(rows, dim=1, out=lengths[some])
    return lengths.numpy().astype(np.float64) ** 2


def _widened(features: NDArray[np.floating]) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows in single precision; if they have to be widened, some at a time and all in one buffer."""
    shared = torch.from_numpy(features)
    if shared.dtype == torch.float32:
        yield slice(None), shared
        return
    buffer = torch.empty(BLOCK, features.shape[1])
    for first in range(0, len(features), BLOCK):
        some = slice(first, min(first + BLOCK, len(features)))
        yield some, buffer[: some.stop - first].copy_(shared[some])


def _solve_by_products(problem: _Problem, products: NDArray[np.float32] | None) -> _Solved:
    rows = np.flatnonzero(problem.signs.any(axis=0))
    used = problem.of(rows)
    shared = torch.from_numpy(used.features)
    known = torch.mm(shared, shared.T) if products is None else torch.from_numpy(products[np.ix_(rows, rows)])
    converged = np.zeros(len(used.signs), dtype=np.bool_)
    with numba.parallel_chunksize(1):
        _descend_on_products(
            known.add_(problem.bias * problem.bias).numpy(),
            used.signs,
            used.duals,
            problem.limits,
            problem.damping,
            converged,
            problem.tolerance / 2,
            problem.max_passes,
        )
    problem.duals[:, rows] = used.duals
    signed = torch.from_numpy(used.signs * used.duals)
    return torch.mm(signed.float(), shared), problem.bias * signed.sum(dim=1), converged


@numba.njit(cache=True)
def _step(gradient: float, dual: float, limit: float, square: float) -> tuple[float, float]:  # pragma: no cover
    """Return the violation of optimality of one dual, and its new value."""
    violation = gradient
    if dual <= 0.0:
        violation = min(gradient, 0.0)
    elif dual >= limit:
        violation = max(gradient, 0.0)
    if violation == 0.0:
        return violation, dual
    if square <= 0.0:  # an example of zeros: no weight changes its loss, and only its dual can be at a bound
        return violation, limit if gradient < 0.0 else 0.0
    return violation, min(max(dual - gradient / square, 0.0), limit)


@numba.njit(cache=True)
def _out_of_play(gradient: float, dual: float, limit: float, low: float, high: float) -> bool:  # pragma: no cover
    """Tell whether a dual sits at a bound with a gradient beyond all violations of the last pass (shrinking)."""
    return (dual <= 0.0 and gradient > high) or (dual >= limit and gradient < low)


@numba.njit(parallel=True, cache=True, nogil=True)
def _take_in(  # pragma: no cover
    scores: NDArray[np.float32], signs: NDArray[np.int8], inside: NDArray[np.bool_], tolerance: float
) -> NDArray[np.float64]:
    """Take the worst of the examples that violate the margin inside, three for one that is there, class by class.

    Returns:
        (K,) by how much the worst that was outside violates it.
    """
    worst = np.zeros(len(signs))
    for k in numba.prange(len(signs)):
        violations = np.zeros(len(scores))
        for i in range(len(scores)):
            if signs[k, i] != 0 and not inside[k, i]:
                violations[i] = max(1.0 - signs[k, i] * np.float64(scores[i, k]), 0.0)
        worst[k] = violations.max()
        if worst[k] > tolerance:
            order = np.argsort(-violations, kind="mergesort")  # the same order of equal ones on every machine
            for i in order[: max(MOST_TAKEN, 2 * inside[k].sum())]:
                inside[k, i] |= violations[i] > tolerance
    return worst


@numba.njit(parallel=True, fastmath={"reassoc", "contract", "nsz"}, cache=True, nogil=True)
def _descend_on_weights(  # pragma: no cover
    problem: _Problem,
    weights: NDArray[np.float64],
    constants: NDArray[np.float64],
    inside: NDArray[np.bool_],
    within: NDArray[np.float64],
    reached: NDArray[np.float64],
    seed: int,
) -> None:
    """Solve for the examples inside, class by class, to the tolerance ``within``; infinity leaves a class alone."""
    features, signs, duals, limits, damping, squares, bias, _, max_passes = problem
    for k in numba.prange(len(signs)):
        if np.isinf(within[k]):
            continue
        np.random.seed(seed)  # noqa: NPY002 (numba knows no Generator; inside it this state is the thread's own)
        order = np.flatnonzero(inside[k])
        active, low, high = len(order), -np.inf, np.inf
        w = weights[k]
        for _ in range(max_passes):
            np.random.shuffle(order[:active])  # noqa: NPY002
            least, most, place = np.inf, -np.inf, 0
            while place < active:
                i = order[place]
                y = np.float64(signs[k, i])
                limit, damp = limits[int(y > 0)], damping[int(y > 0)]
                row = features[i]
                total = 0.0
                for d in range(len(row)):
                    total += w[d] * row[d]
                gradient = y * (total + constants[k] * bias) - 1.0 + damp * duals[k, i]
                if _out_of_play(gradient, duals[k, i], limit, low, high):
                    active -= 1
                    order[place], order[active] = order[active], order[place]
                    continue
                violation, new = _step(gradient, duals[k, i], limit, squares[i] + damp)
                least, most = min(least, violation), max(most, violation)
                if new != duals[k, i]:
                    change = (new - duals[k, i]) * y
                    constants[k] += change * bias
                    for d in range(len(row)):
                        w[d] += change * row[d]
                    duals[k, i] = new
                place += 1
            reached[k] = most - least
            if reached[k] <= within[k]:
                if active == len(order):
                    break
                active, low, high = len(order), -np.inf, np.inf  # all again: what was out of play may be in
            else:
                low = least if least < 0 else -np.inf
                high = most if most > 0 else np.inf


@numba.njit(parallel=True, cache=True, nogil=True)
def _descend_on_products(  # pragma: no cover
    products: NDArray[np.float32],
    signs: NDArray[np.int8],
    duals: NDArray[np.float64],
    limits: NDArray[np.float64],
    damping: NDArray[np.float64],
    converged: NDArray[np.bool_],
    tolerance: float,
    max_passes: int,
) -> None:
    for k in numba.prange(len(signs)):
        np.random.seed(k)  # noqa: NPY002 (numba knows no Generator; inside it this state is the thread's own)
        order = np.flatnonzero(signs[k])
        scores = np.zeros(len(products), dtype=np.float64)
        for i in order:
            if duals[k, i] != 0.0:
                scores += signs[k, i] * duals[k, i] * products[i]
        for _ in range(max_passes):
            np.random.shuffle(order)  # noqa: NPY002
            worst = 0.0
            for i in order:
                y = np.float64(signs[k, i])
                limit, damp = limits[int(y > 0)], damping[int(y > 0)]
                gradient = y * scores[i] - 1.0 + damp * duals[k, i]
                violation, new = _step(gradient, duals[k, i], limit, np.float64(products[i, i]) + damp)
                worst = max(worst, abs(violation))
                if new != duals[k, i]:
                    change = (new - duals[k, i]) * y
                    for j in range(len(scores)):
                        scores[j] += change * products[i, j]
                    duals[k, i] = new
            if worst <= tolerance:  # a pass costs little here
                converged[k] = True
                break
