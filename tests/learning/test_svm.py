"""Linear SVMs and ridge regression against scikit-learn's, and against what duality proves."""

from typing import Any

import numba
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC

from sppnet.errors import ArgumentError, ShapeError
from sppnet.learning import svm as svm_module
from sppnet.learning.ridge import RidgeSums, ridge
from sppnet.learning.svm import TOLERANCE, LinearSvm, _started, one_vs_rest, train_svm

Features = NDArray[np.float32]
Targets = NDArray[np.int8]
Vector = NDArray[np.float64]

RELATIVE = 1e-4
FLOAT32 = 1e-4  # of a margin of 1: what rounding of scores may add
TALL, WIDE = (160, 20), (60, 150)  # more examples than features, and fewer: each has its own solver
both_solvers = pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])


def _features(shape: tuple[int, int], seed: int) -> Features:
    """Return examples of length 1."""
    values = np.random.default_rng(seed).normal(size=shape)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def _targets(features: Features, seed: int, classes: int = 1) -> Targets:
    """Return noisy signs of the first features, so that no class is separable in few dimensions."""
    noise = np.random.default_rng(seed + 1000).normal(size=(len(features), classes)) * 0.1
    return np.where(features[:, :classes] + noise > 0.05, 1, -1).astype(np.int8)


def _primal(features: Features, targets: Targets, svm: LinearSvm, *, cost: float, **options: float) -> Vector:
    """Return the objective of every class, computed from the weights in float64."""
    bias, positive_weight = options.get("bias", 1.0), options.get("positive_weight", 1.0)
    weights, constants = svm.weights.double().numpy(), svm.bias.double().numpy()
    margins = targets * (features.astype(np.float64) @ weights.T + constants)
    costs = cost * np.where(targets == 1, positive_weight, targets != 0)
    hinge = (costs * np.maximum(0, 1 - margins)).sum(axis=0)
    return ((weights**2).sum(axis=1) + (constants / bias) ** 2) / 2 + hinge


def _dual(features: Features, svm: LinearSvm, bias: float = 1.0) -> Vector:
    """Return the dual objective, which never exceeds the least possible primal one."""
    duals = svm.duals.astype(np.float64)
    weights, constants = duals.T @ features, bias * duals.sum(axis=0)
    return np.abs(duals).sum(axis=0) - ((weights**2).sum(axis=1) + constants**2) / 2


def _violations(features: Features, targets: Targets, svm: LinearSvm, **options: float) -> Vector:
    """Return by how much of a margin each example (N, K) misses the conditions that hold at the optimum alone."""
    limits = options["cost"] * np.where(targets == 1, options.get("positive_weight", 1.0), 1.0)
    scores = features.astype(np.float64) @ svm.weights.double().numpy().T + svm.bias.double().numpy()
    missing, duals = 1 - targets * scores, np.abs(svm.duals)
    short = np.where(duals < limits * (1 - 1e-6), np.maximum(missing, 0), 0)
    far = np.where(duals > 0, np.maximum(-missing, 0), 0)
    return np.where(targets == 0, 0, short + far)


def _columns(svm: LinearSvm, classes: list[int]) -> LinearSvm:
    return LinearSvm(svm.weights[classes], svm.bias[classes], svm.duals[:, classes])


def _assert_optimal(features: Features, targets: Targets, svm: LinearSvm, **options: float) -> None:
    assert _violations(features, targets, svm, **options).max() <= TOLERANCE + FLOAT32


def _independent(features: Features, targets: Targets, *, cost: float, **options: float) -> LinearSvm:
    """Return scikit-learn's solution of one class in the form of ours."""
    positive_weight = options.get("positive_weight", 1.0)
    model = LinearSVC(
        loss="hinge",
        dual=True,
        C=cost,
        class_weight={1: positive_weight, -1: 1},
        intercept_scaling=options.get("bias", 1.0),
        tol=1e-6,
        max_iter=1_000_000,
        random_state=0,
    ).fit(features.astype(np.float64), targets[:, 0])
    return LinearSvm(torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_), np.zeros((0, 1), np.float32))


# The optimum


@both_solvers
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [
        {"cost": 1.0},
        {"cost": 0.05, "positive_weight": 3.0},
        {"cost": 1.0, "positive_weight": 0.5, "bias": 2.0},
        {"cost": 0.5, "bias": 0.1},
    ],
    ids=str,
)
@pytest.mark.slow
def test_the_objective_is_that_of_scikit_learn(shape: tuple[int, int], seed: int, options: dict[str, float]) -> None:
    features = _features(shape, seed)
    targets = _targets(features, seed)
    ours = train_svm(features, targets, **options)
    best = _primal(features, targets, _independent(features, targets, **options), **options)
    np.testing.assert_allclose(_primal(features, targets, ours, **options), best, rtol=RELATIVE)
    np.testing.assert_allclose(_dual(features, ours, options.get("bias", 1.0)), best, rtol=RELATIVE)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1.0, 1e25])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_rows_of_any_precision_and_length_that_may_only_be_read_are_learnt_from(dtype: type, scale: float) -> None:
    features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5]], dtype=dtype) * dtype(scale)
    features.flags.writeable = False
    svm = train_svm(features, np.array([[1], [-1], [1]], dtype=np.int8), cost=1.0)
    assert svm.weights[0, 0] > 0 > svm.weights[0, 1]


@pytest.mark.parametrize("bias", [1.0, 10.0])
@both_solvers
def test_a_hard_problem_is_solved_to_the_end(shape: tuple[int, int], bias: float) -> None:
    features = _features(shape, 0)
    targets = _targets(features, 0)
    svm = train_svm(features, targets, cost=10, bias=bias)
    _assert_optimal(features, targets, svm, cost=10, bias=bias)


@pytest.mark.parametrize("seed", range(3))
def test_both_solvers_agree(seed: int) -> None:
    features = _features((40, 30), seed)
    targets = _targets(features, seed, classes=3)
    widened = np.concatenate([features, np.zeros((40, 60), np.float32)], axis=1)
    by_weights, by_products = (train_svm(matrix, targets, cost=1) for matrix in (features, widened))
    _assert_optimal(features, targets, by_weights, cost=1)
    _assert_optimal(widened, targets, by_products, cost=1)
    assert not by_products.weights[:, 30:].any()
    first, second = _primal(features, targets, by_weights, cost=1), _primal(widened, targets, by_products, cost=1)
    np.testing.assert_allclose(first, second, rtol=RELATIVE)


def test_inner_products_that_are_known_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    features = _features(WIDE, 3)
    targets = _targets(features, 3)
    targets[::7] = 0
    expected = train_svm(features, targets, cost=1.0)
    products = features @ features.T
    products[::7], products[:, ::7] = np.nan, np.nan  # of examples that nobody uses: not looked at
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", lambda left, right: mm(left, right) if len(left) == 1 else pytest.fail("computed"))
    svm = train_svm(features, targets, cost=1.0, products=products)
    torch.testing.assert_close(svm.weights, expected.weights, atol=1e-4, rtol=0)


@both_solvers
def test_half_precision_is_widened_as_far_as_it_is_looked_at(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svm_module, "BLOCK", 16)  # the last block is a part of one
    half = _features(shape, 6).astype(np.float16)
    whole, targets = half.astype(np.float32), _targets(half.astype(np.float32), 6, classes=3)
    first, second = (train_svm(features, targets, cost=1) for features in (half, whole))
    assert torch.equal(first.weights, second.weights)
    assert torch.equal(first.bias, second.bias)
    assert np.array_equal(first.duals, second.duals)
    _assert_optimal(whole, targets, first, cost=1)


@both_solvers
def test_classes_are_solved_one_by_one(shape: tuple[int, int]) -> None:
    features = _features(shape, 5)
    targets = one_vs_rest(np.random.default_rng(5).integers(0, 6, len(features)), 6)
    svm = train_svm(features, targets, cost=1)
    assert (svm.weights.shape, svm.bias.shape, svm.duals.shape) == ((6, shape[1]), (6,), (shape[0], 6))
    assert svm.weights.dtype == svm.bias.dtype == torch.float32
    assert svm.duals.dtype == np.float32
    _assert_optimal(features, targets, svm, cost=1)
    for k in range(6):
        best = _primal(features, targets[:, [k]], _independent(features, targets[:, [k]], cost=1), cost=1)
        np.testing.assert_allclose(_primal(features, targets, svm, cost=1)[k], best[0], rtol=RELATIVE)


@both_solvers
def test_duals_make_up_the_weights_and_stay_within_their_limits(shape: tuple[int, int]) -> None:
    features = _features(shape, 6)
    targets = _targets(features, 6, classes=2)
    svm = train_svm(features, targets, cost=0.3, positive_weight=4, bias=2)
    np.testing.assert_allclose(svm.duals.T @ features, svm.weights, atol=1e-4)
    np.testing.assert_allclose(4 * svm.duals.sum(axis=0), svm.bias, atol=1e-4)
    assert (svm.duals * targets >= 0).all()
    assert (np.abs(svm.duals) <= np.where(targets == 1, np.float32(1.2), np.float32(0.3))).all()


def test_targets_name_the_class_of_each_example() -> None:
    targets = one_vs_rest(np.array([2, 0, 2]), 4)
    assert targets.tolist() == [[-1, -1, 1, -1], [1, -1, -1, -1], [-1, -1, 1, -1]]
    assert targets.dtype == np.int8


# Examples that are left out


@both_solvers
def test_a_target_of_zero_is_as_if_the_example_were_not_there(shape: tuple[int, int]) -> None:
    features = _features(shape, 7)
    targets = _targets(features, 7, classes=2)
    random = np.random.default_rng(7)
    kept = np.sort(np.stack([random.permutation(shape[0])[: shape[0] - 9] for _ in range(2)]), axis=1)
    some = np.zeros_like(targets)
    for k in range(2):
        some[kept[k], k] = targets[kept[k], k]
    svm = train_svm(features, some, cost=1)
    assert not svm.duals[some == 0].any()
    for k in range(2):
        rows = kept[k]
        without = LinearSvm(svm.weights[[k]], svm.bias[[k]], svm.duals[rows][:, [k]])
        _assert_optimal(features[rows], targets[rows][:, [k]], without, cost=1)


@both_solvers
def test_what_an_example_that_no_class_uses_looks_like_changes_no_bit(shape: tuple[int, int]) -> None:
    features = _features(shape, 7)
    targets = _targets(features, 7, classes=2)
    targets[::7] = 0
    before = train_svm(features, targets, cost=1)
    features[::7] = 1000 * np.random.default_rng(7).normal(size=features[::7].shape)
    after = train_svm(features, targets, cost=1)
    assert torch.equal(before.weights, after.weights)
    assert torch.equal(before.bias, after.bias)


@both_solvers
def test_a_class_without_positives_is_untrained_and_never_scores_nan(shape: tuple[int, int]) -> None:
    features = _features(shape, 8)
    targets = _targets(features, 8, classes=3)
    targets[:, 1] = np.where(np.arange(shape[0]) % 2, -1, 0)
    svm = train_svm(features, targets, cost=1)
    assert svm.bias[1] == -torch.inf
    assert torch.isfinite(svm.bias[[0, 2]]).all()
    assert not svm.weights[1].any()
    assert not svm.duals[:, 1].any()
    scores = torch.from_numpy(features) @ svm.weights.T + svm.bias
    assert (scores[:, 1] == -torch.inf).all()
    assert torch.isfinite(scores[:, [0, 2]]).all()
    _assert_optimal(features, targets[:, [0, 2]], _columns(svm, [0, 2]), cost=1)


def test_no_examples_and_no_classes_give_nothing() -> None:
    none = train_svm(np.zeros((0, 3), np.float32), np.zeros((0, 2), np.int8), cost=1)
    assert none.bias.tolist() == [-torch.inf] * 2
    assert not none.weights.any()
    assert train_svm(np.ones((4, 3), np.float32), np.zeros((4, 0), np.int8), cost=1).weights.shape == (0, 3)


# Warm starts


@both_solvers
def test_a_start_at_the_optimum_changes_nothing(shape: tuple[int, int]) -> None:
    features = _features(shape, 9)
    targets = _targets(features, 9, classes=2)
    first = train_svm(features, targets, cost=1)
    again = train_svm(features, targets, cost=1, start=first)
    assert torch.linalg.norm(again.weights - first.weights) < 0.01 * torch.linalg.norm(first.weights)
    assert torch.linalg.norm(again.bias - first.bias) < 0.01 * torch.linalg.norm(first.weights)
    _assert_optimal(features, targets, again, cost=1)


@both_solvers
@pytest.mark.parametrize("rows", [1, 50])
def test_a_start_may_know_fewer_examples(shape: tuple[int, int], rows: int) -> None:
    features = _features(shape, 10)
    targets = _targets(features, 10, classes=2)
    start = train_svm(features[:rows], targets[:rows], cost=1)
    _assert_optimal(features, targets, train_svm(features, targets, cost=1, start=start), cost=1)


@both_solvers
def test_a_start_may_have_other_targets_and_costs(shape: tuple[int, int]) -> None:
    features = _features(shape, 11)
    targets = _targets(features, 11, classes=3)
    start = train_svm(features, targets, cost=2, positive_weight=2)
    changed = targets.copy()
    changed[::3, 0] *= -1  # other signs
    changed[::4, 1] = 0  # left out
    changed[:, 2] = -1  # no positives any more
    svm = train_svm(features, changed, cost=0.5, start=start)
    assert svm.bias[2] == -torch.inf
    assert not svm.weights[2].any()
    _assert_optimal(features, changed[:, :2], _columns(svm, [0, 1]), cost=0.5)
    assert not svm.duals[changed == 0].any()


def test_a_start_keeps_what_still_holds() -> None:
    duals = np.array([[0.5, -0.25], [-0.5, 0.25], [2.0, -2.0]], dtype=np.float32)
    start = LinearSvm(torch.zeros(2, 3), torch.zeros(2), duals)
    signs = np.array([[1, 1, 1, -1], [-1, 0, -1, 1]], dtype=np.int8)
    assert _started(signs, np.array([1.0, 1.5]), start).tolist() == [[0.5, 0, 1.5, 0], [0.25, 0, 1, 0]]
    assert not _started(signs, np.array([1.0, 1.5]), None).any()


def test_a_start_is_not_changed() -> None:
    features = _features(TALL, 12)
    start = train_svm(features, _targets(features, 12), cost=1)
    before = start.weights.clone(), start.duals.copy()
    train_svm(features, -_targets(features, 12), cost=3, start=start)
    assert torch.equal(start.weights, before[0])
    np.testing.assert_array_equal(start.duals, before[1])


# Special examples


@pytest.mark.parametrize("width", [3, 30])
@pytest.mark.parametrize("cost", [0.1, 10.0])
def test_one_example_has_a_solution_in_closed_form(width: int, cost: float) -> None:
    features = np.random.default_rng(13).normal(size=(1, width)).astype(np.float32)
    svm = train_svm(features, np.ones((1, 1), np.int8), cost=cost, bias=2)
    dual = min(1 / ((features**2).sum() + 4), cost)
    np.testing.assert_allclose(svm.weights[0], dual * features[0], rtol=1e-5)
    np.testing.assert_allclose(svm.bias[0], 4 * dual, rtol=1e-5)


@both_solvers
def test_an_example_twice_is_one_of_twice_the_cost(shape: tuple[int, int]) -> None:
    features = _features((shape[0] // 2, shape[1]), 14)
    targets = _targets(features, 14)
    twice, both = np.repeat(features, 2, axis=0), np.repeat(targets, 2, axis=0)
    svm = train_svm(twice, both, cost=0.5)
    _assert_optimal(twice, both, svm, cost=0.5)
    summed = LinearSvm(svm.weights, svm.bias, svm.duals.reshape(-1, 2, 1).sum(axis=1))
    _assert_optimal(features, targets, summed, cost=1)


@both_solvers
@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_examples_of_zeros_do_no_harm(shape: tuple[int, int], bias: float) -> None:
    features = _features(shape, 15)
    targets = _targets(features, 15)
    features[::5] = 0
    svm = train_svm(features, targets, cost=1, bias=bias)
    assert torch.isfinite(svm.weights).all()
    if bias:
        _assert_optimal(features, targets, svm, cost=1)
    else:
        assert svm.bias.tolist() == [0]


@both_solvers
def test_positives_alone_are_a_problem_too(shape: tuple[int, int]) -> None:
    features = _features(shape, 16)
    targets = np.ones((shape[0], 1), np.int8)
    svm = train_svm(features, targets, cost=0.01)
    _assert_optimal(features, targets, svm, cost=0.01)
    assert (torch.from_numpy(features) @ svm.weights.T + svm.bias > 0.5).all()


def test_features_in_another_layout_give_the_same() -> None:
    features = _features(TALL, 17)
    targets = _targets(features, 17, classes=2)
    first = train_svm(features, targets, cost=1)
    again = train_svm(np.asfortranarray(features), np.asfortranarray(targets), cost=1)
    assert torch.equal(first.weights, again.weights)


# The same bits


@both_solvers
def test_the_same_input_gives_the_same_bits_on_any_number_of_threads(shape: tuple[int, int]) -> None:
    features = _features(shape, 18)
    targets = one_vs_rest(np.random.default_rng(18).integers(0, 9, len(features)), 9)
    before = numba.get_num_threads()
    try:
        answers = []
        for threads in (1, numba.config.NUMBA_NUM_THREADS, 1):
            numba.set_num_threads(threads)
            answers.append(train_svm(features, targets, cost=1))
    finally:
        numba.set_num_threads(before)
    for other in answers[1:]:
        assert torch.equal(other.weights, answers[0].weights)
        assert torch.equal(other.bias, answers[0].bias)
        np.testing.assert_array_equal(other.duals, answers[0].duals)


@both_solvers
def test_a_class_alone_gives_what_it_gives_among_others(shape: tuple[int, int]) -> None:
    features = _features(shape, 19)
    targets = _targets(features, 19, classes=3)
    among, alone = train_svm(features, targets, cost=1), train_svm(features, targets[:, :1], cost=1)
    np.testing.assert_allclose(among.weights[0], alone.weights[0], atol=1e-5)


# Messages


@pytest.mark.parametrize(
    ("features", "targets", "cost", "kind", "text"),
    [
        ((5,), (5, 1), 1, ShapeError, "features must be (N, D), got (5,). Give one row an example."),
        ((5, 2), (4, 1), 1, ShapeError, "targets must be (5, K), got (4, 1). Give one column a class."),
        ((5, 2), (5,), 1, ShapeError, "targets must be (5, K), got (5,). Give one column a class."),
        ((5, 2), (5, 1), 0, ArgumentError, "cost must be above 0, got 0. Try 1 on features of length 1."),
        ((5, 2), (5, 1), np.nan, ArgumentError, "cost must be above 0, got nan. Try 1 on features of length 1."),
    ],
)
def test_a_bad_argument_is_named(
    features: tuple[int, ...], targets: tuple[int, ...], cost: float, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        train_svm(np.zeros(features, np.float32), np.ones(targets, np.int8), cost=cost)
    assert str(caught.value) == f"train_svm: {text}"


def test_a_start_of_another_number_of_classes_is_named() -> None:
    features = _features(TALL, 20)
    start = train_svm(features, _targets(features, 20, classes=3), cost=1)
    with pytest.raises(ArgumentError, match="train_svm: start"):
        train_svm(features, _targets(features, 20, classes=2), cost=1, start=start)


# Ridge


def _regression(shape: tuple[int, int], seed: int) -> tuple[Features, Vector]:
    random = np.random.default_rng(seed)
    features = (random.normal(size=shape) + random.normal(size=shape[1]) * 3).astype(np.float32)
    targets = features @ random.normal(size=(shape[1], 4)) + random.normal(size=(shape[0], 4)) + [0, 5, -50, 1]
    return features, targets


@both_solvers
@pytest.mark.parametrize("penalty", [0.5, 30.0, 1000.0])
def test_ridge_is_that_of_scikit_learn(shape: tuple[int, int], penalty: float) -> None:
    features, targets = _regression(shape, 21)
    weights, constants = ridge(features, targets, penalty=penalty)
    model: Any = Ridge(alpha=penalty, solver="svd").fit(features.astype(np.float64), targets)
    assert (weights.dtype, constants.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(weights, model.coef_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(constants, model.intercept_, rtol=1e-4, atol=1e-4 * np.abs(targets).max())
    np.testing.assert_allclose(features @ weights.T + constants, model.predict(features), rtol=1e-4, atol=1e-3)


def test_the_constant_of_ridge_is_free() -> None:
    features, targets = _regression(TALL, 22)
    weights, constants = ridge(features, targets, penalty=10)
    moved, shifted = ridge(features, targets + 100, penalty=10)
    np.testing.assert_allclose(moved, weights, atol=1e-4)
    np.testing.assert_allclose(shifted - constants, 100, rtol=1e-4)
    _, means = ridge(features, targets, penalty=1e12)
    np.testing.assert_allclose(means, targets.mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize("width", [1, 5])
def test_ridge_of_one_example_is_its_target(width: int) -> None:
    weights, constants = ridge(np.ones((1, width), np.float32), np.array([[2.0, -3.0]]), penalty=1)
    assert not weights.any()
    np.testing.assert_allclose(constants, [2, -3])


@pytest.mark.parametrize("penalty", [0, -1.0, np.nan])
def test_ridge_needs_a_penalty(penalty: float) -> None:
    with pytest.raises(ArgumentError) as caught:
        ridge(np.ones((3, 2), np.float32), np.ones((3, 1)), penalty=penalty)
    assert str(caught.value) == (f"ridge: penalty must be above 0, got {penalty}. Try 1000 on features of length 20.")


@pytest.mark.parametrize("seed", range(5))
def test_sums_give_the_ridge_of_the_examples_that_are_in(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sums, inside = RidgeSums(12, 4), list[int]()
    parts = [_regression((rows, 12), 100 * seed + rows) for rows in (1, 4, 9, 14, 20, 28)]
    for part in rng.integers(len(parts), size=12).tolist():  # one that is in goes out, one that is out comes in
        sums.add(*parts[part], sign=-1 if part in inside else 1)
        inside = sorted({*inside} ^ {part})
        if not inside:
            continue
        expected = ridge(*(np.concatenate(side) for side in zip(*(parts[i] for i in inside), strict=True)), penalty=10)
        assert sums.count == sum(len(parts[i][0]) for i in inside)
        for got, wanted in zip(sums.solve(penalty=10), expected, strict=True):
            assert got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_sums_of_no_examples_have_no_ridge() -> None:
    sums = RidgeSums(2, 1)
    features, targets = np.ones((3, 2), np.float32), np.ones((3, 1))
    for change in (lambda: None, lambda: (sums.add(features, targets), sums.add(features, targets, sign=-1))):
        change()
        with pytest.raises(ArgumentError, match=r"RidgeSums: examples must be at least one, got 0\. Add examples\."):
            sums.solve(penalty=1)


# Squared losses


@pytest.mark.parametrize("shape", [(120, 20), (40, 100)], ids=["tall", "wide"])
@pytest.mark.parametrize("cost", [0.1, 1.0, 10.0])
def test_squared_losses_are_those_of_scikit_learn(shape: tuple[int, int], cost: float) -> None:
    features = _features(shape, 1)
    targets = _targets(features, 1)
    ours = train_svm(features, targets, cost=cost, positive_weight=2.0, bias=2.0, squared=True)
    for label in range(targets.shape[1]):
        theirs = LinearSVC(C=cost, intercept_scaling=2.0, class_weight={1: 2.0}, tol=1e-9, max_iter=10**6)
        theirs.fit(features, targets[:, label])
        np.testing.assert_allclose(ours.weights[label], theirs.coef_[0], atol=2e-3 * np.abs(theirs.coef_).max())
        np.testing.assert_allclose(ours.bias[label], theirs.intercept_[0], atol=2e-3)


def test_squared_losses_start_warm() -> None:
    features = _features((60, 20), 2)
    targets = _targets(features, 2)
    first = train_svm(features, targets, cost=1.0, squared=True)
    again = train_svm(features, targets, cost=1.0, squared=True, start=first)
    np.testing.assert_allclose(again.weights, first.weights, atol=TOLERANCE)
