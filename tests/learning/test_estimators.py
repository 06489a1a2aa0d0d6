"""The learners in scikit-learn's hands: its own checks, and the same answers as from the solvers below them."""

import sys
from importlib import reload
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sppnet.errors import ArgumentError, MissingExtraError
from sppnet.learning import estimators
from sppnet.learning.estimators import RidgeRegressor, SvmClassifier
from sppnet.learning.ridge import ridge
from sppnet.learning.svm import one_vs_rest, train_svm


# Some of its checks learn random labels of features far from 0, which no SVM does in a few passes.
@pytest.mark.filterwarnings("ignore:train_svm. stopped after 1000 passes")
@parametrize_with_checks(
    [SvmClassifier(max_passes=1000), SvmClassifier(squared=True, max_passes=1000), RidgeRegressor()]
)
def test_scikit_learn_finds_an_estimator_of_its_own_kind(estimator: Any, check: Any) -> None:
    check(estimator)


def _examples(classes: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=90)
    return (np.eye(classes, 6)[labels] + rng.normal(scale=0.4, size=(90, 6))).astype(np.float32), labels


def test_of_several_classes_the_scores_are_those_of_one_svm_each() -> None:
    features, labels = _examples(4)
    names = np.array(["ant", "bee", "cat", "dog"])[labels]
    learner = SvmClassifier(cost=3.0, positive_weight=2.0).fit(features, names)
    svm = train_svm(features, one_vs_rest(labels, 4), cost=3.0, positive_weight=2.0)
    assert np.array_equal(learner.coef_, svm.weights.numpy())
    assert np.array_equal(learner.intercept_, svm.bias.numpy())
    scores = learner.decision_function(features)
    np.testing.assert_allclose(scores, features @ svm.weights.numpy().T + svm.bias.numpy(), atol=1e-5)
    assert learner.predict(features).tolist() == learner.classes_[scores.argmax(axis=1)].tolist()


def test_of_two_classes_one_svm_tells_the_second() -> None:
    features, labels = _examples(2)
    learner = SvmClassifier(positive_weight=5.0).fit(features, labels)
    svm = train_svm(features, one_vs_rest(labels, 2)[:, 1:], cost=1.0, positive_weight=5.0)
    assert np.array_equal(learner.coef_, svm.weights.numpy())
    assert learner.predict(features).tolist() == (learner.decision_function(features) > 0).astype(int).tolist()


@pytest.mark.parametrize("targets", [1, 3])
def test_regression_is_ridge(targets: int) -> None:
    features, _ = _examples(3)
    wanted = np.random.default_rng(0).normal(size=(90, targets))
    weights, constants = ridge(features, wanted, penalty=2.0)
    learner = RidgeRegressor(penalty=2.0).fit(features, wanted)
    assert np.array_equal(learner.coef_, weights)
    assert np.array_equal(learner.intercept_, constants)
    flat = RidgeRegressor(penalty=2.0).fit(features, wanted[:, 0]).predict(features)
    np.testing.assert_allclose(flat, learner.predict(features)[:, 0] if targets == 1 else flat, atol=1e-6)


def test_searches_and_pipelines_take_them() -> None:
    features, labels = _examples(3)
    pipeline = make_pipeline(StandardScaler(), SvmClassifier())
    search = GridSearchCV(pipeline, {"svmclassifier__cost": [0.1, 1.0]}, cv=2).fit(features, labels)
    assert search.best_params_["svmclassifier__cost"] in (0.1, 1.0)
    copied = clone(SvmClassifier(cost=7.0).fit(features, labels))
    assert copied.get_params()["cost"] == 7.0
    assert not hasattr(copied, "coef_")


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(ArgumentError) as refused:
        SvmClassifier().fit([[1.0], [2.0]], [3, 3])
    assert str(refused.value) == "SvmClassifier.fit: y must be of 2 classes or more, got 1 class. Give others."


def test_without_scikit_learn_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(MissingExtraError, match=r"need scikit-learn. Install it: pip install 'sppnet\[sklearn\]'"):
        reload(estimators)
