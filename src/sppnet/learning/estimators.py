"""The linear learners as scikit-learn has them, for its pipelines, searches and cross-validation; they need it.

What learns is ``train_svm`` and ``ridge``, as in the detector and the classifier. Those take one matrix and a target of
1, -1 or 0 for each class and example; here a label or a number an example is enough.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sppnet.errors import MissingExtraError, check_that
from sppnet.learning.ridge import ridge
from sppnet.learning.svm import MAX_PASSES, TOLERANCE, one_vs_rest, train_svm

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise MissingExtraError("estimators: need scikit-learn. Install it: pip install 'sppnet[sklearn]'.") from error


class SvmClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Linear SVMs, one a class against all others; of two classes a single one.

    Args:
        cost, positive_weight, bias, squared, tolerance, max_passes: see ``train_svm``.
    After ``fit``: ``classes_`` (K,), sorted; ``coef_`` (K, D) and ``intercept_`` (K,) float32, of two classes one row;
    ``n_features_in_``.
    """

    def __init__(
        self,
        *,
        cost: float = 1.0,
        positive_weight: float = 1.0,
        bias: float = 1.0,
        squared: bool = False,
        tolerance: float = TOLERANCE,
        max_passes: int = MAX_PASSES,
    ) -> None:
        self.cost, self.positive_weight, self.bias = cost, positive_weight, bias
        self.squared, self.tolerance, self.max_passes = squared, tolerance, max_passes

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803 (scikit-learn's)
        """Learn from examples X (N, D), finite, and their labels y (N,), of two classes at least.

        Raises:
            ArgumentError: one class only, or a parameter out of its range. ValueError: scikit-learn's, of X and y.
        """
        features, labels = validate_data(self, X, y, dtype=np.float32, force_writeable=True)
        check_classification_targets(labels)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        count = len(self.classes_)
        check_that(count > 1, "SvmClassifier.fit", "y", "of 2 classes or more", f"{count} class", advice="Give others")
        targets = one_vs_rest(indices, count)[:, 1 if count == 2 else 0 :]
        svm = train_svm(features, targets, **self.get_params())
        self.coef_, self.intercept_ = svm.weights.numpy(), svm.bias.numpy()
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return the scores (N, K) of examples X (N, D); of two classes (N,), above 0 for the second."""
        check_is_fitted(self)
        scores = _applied(self, X)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the class (N,) with the best score of each example; of equal ones, the first."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(np.int64) if scores.ndim == 1 else scores.argmax(axis=1)
        named: NDArray[Any] = self.classes_[best]
        return named


class RidgeRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares with a penalty on the weights, the constant left free.

    Args:
        penalty: above 0, see ``ridge``.
    After ``fit``: ``coef_`` (T, D) float32 and ``intercept_`` (T,) float32, of targets (N,) their only row;
    ``n_features_in_``.
    """

    def __init__(self, *, penalty: float = 1.0) -> None:
        self.penalty = penalty

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Learn from examples X (N, D), finite, and their targets y, (N, T) or (N,).

        Raises:
            ArgumentError: a penalty that is not above 0. ValueError: scikit-learn's, of X and y.
        """
        features, targets = validate_data(self, X, y, dtype=np.float32, multi_output=True, y_numeric=True)
        weights, constants = ridge(features, targets.reshape(len(targets), -1), penalty=self.penalty)
        of_one = targets.ndim == 1
        self.coef_: NDArray[np.float32] = weights[0] if of_one else weights
        self.intercept_: NDArray[np.float32] = constants[0] if of_one else constants
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return what is expected of examples X (N, D): (N, T) or (N,), as the targets were."""
        check_is_fitted(self)
        return _applied(self, X)


def _applied(learner: SvmClassifier | RidgeRegressor, examples: ArrayLike) -> NDArray[np.float64]:
    """Return ``examples @ coef_.T + intercept_``, in float64: a row alone gets what it gets among others."""
    rows = validate_data(learner, examples, dtype=np.float64, reset=False)
    values: NDArray[np.float64] = rows @ learner.coef_.T.astype(np.float64) + learner.intercept_
    return values
