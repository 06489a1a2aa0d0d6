"""What is kept between two learnings: rows that are used again, and targets of classes that come later."""

import numpy as np
import pytest

from sppnet.detection import kept as module
from sppnet.detection.examples import Examples, ImageLabels
from sppnet.detection.kept import KeptExamples, KeptImage, Matrix


def _examples(*lengths: float) -> Examples:
    count = len(lengths)
    features = np.array([[length, 0.0] for length in lengths], dtype=np.float32).reshape(count, 2)
    return Examples(features, np.ones((count, 1), np.int8), np.zeros((count, 4)))


def test_rows_that_were_dropped_are_used_again() -> None:
    matrix = Matrix(2)
    first, second = matrix.store(_examples(3, 4), ("a",)), matrix.store(_examples(5), ("a",))
    assert first.rows.tolist() == [0, 1]
    assert second.rows.tolist() == [2]
    matrix.drop(first.rows)
    third = matrix.store(_examples(7, 8, 9), ("a",))
    assert third.rows.tolist() == [0, 1, 3]
    assert matrix.values[[0, 1, 2, 3], 0].tolist() == [7, 8, 5, 9]
    assert matrix.lengths[[0, 1, 2, 3]].tolist() == [7, 8, 5, 9]


def test_the_matrix_grows_and_keeps_what_it_has() -> None:
    matrix = Matrix(2)
    first = matrix.store(_examples(3), ("a",))
    assert len(matrix.values) == module.ROWS
    matrix.store(_examples(*range(module.ROWS)), ("a",))
    assert len(matrix.values) == 2 * module.ROWS
    assert matrix.values[first.rows, 0].tolist() == [3]


def test_inner_products_follow_the_rows_until_there_are_too_many() -> None:
    rng = np.random.default_rng(0)
    matrix = Matrix(2 * 2 * module.ROWS + 1, np.float16)

    def stored(count: int) -> KeptExamples:
        features = rng.normal(size=(count, matrix.values.shape[1])).astype(np.float32)
        return matrix.store(Examples(features, np.ones((count, 1), np.int8), np.zeros((count, 4))), ("a",))

    kept = [stored(9)]
    for count, blocks in ((3, 1), (module.ROWS - 1, 2), (20, 2), (1, 2)):  # the second has the matrix grow
        products, rows = matrix.products(), matrix.values.astype(np.float32)
        assert products is not None
        np.testing.assert_allclose(products, rows @ rows.T, atol=2e-3)
        kept.append(stored(count))
        assert len(matrix.values) == blocks * module.ROWS
        matrix.drop(kept.pop(0).rows)
    stored(2 * module.ROWS)
    assert matrix.products() is None


def test_no_examples_take_no_rows() -> None:
    matrix = Matrix(2)
    assert len(matrix.store(_examples(), ("a",)).rows) == 0
    assert len(matrix.values) == 0


def test_a_class_that_comes_later_takes_the_target_of_all_others() -> None:
    targets, other = np.array([[1], [-1]], np.int8), np.array([-1, 0], np.int8)
    group = KeptExamples(np.array([4, 5]), np.zeros((2, 4)), ("a",), targets, other)
    assert group.target("a").tolist() == [1, -1]
    assert group.target("new").tolist() == [-1, 0]
    half = group.only(np.array([False, True]))
    assert (half.rows.tolist(), half.target("a").tolist(), half.target("new").tolist()) == ([5], [-1], [0])


def test_an_image_has_all_of_its_examples() -> None:
    labels = ImageLabels(np.zeros((0, 4)), ())
    image = KeptImage("key", np.zeros((9, 9, 3), np.uint8), labels, (9, 9), "", 0)
    assert image.groups == ()
    group = Matrix(2).store(_examples(1), ("a",))
    image.drawn, image.hard = group, (group, group)
    assert image.groups == (group, group, group)


def test_rows_are_dropped_once() -> None:
    matrix = Matrix(2)
    group = matrix.store(_examples(1, 2), ("a",))
    matrix.drop(group.rows)
    with pytest.raises(ValueError, match=r"Matrix.drop: rows must be in use, got \[0, 1\], some of which are free"):
        matrix.drop(group.rows)
    assert matrix.store(_examples(3, 4), ("a",)).rows.tolist() == [0, 1]


def test_an_image_lacks_a_class_that_its_examples_were_chosen_without() -> None:
    labels = ImageLabels(np.array([[0.0, 0, 4, 4], [5, 5, 9, 9]]), ("a", "b"))
    image = KeptImage("key", np.zeros((9, 9, 3), np.uint8), labels, (9, 9), "", 0)
    assert not image.lacks(["a", "b"])  # nothing was chosen
    matrix = Matrix(2)
    image.drawn = KeptExamples(np.array([0]), np.zeros((1, 4)), ("a", "b"), np.ones((1, 2), np.int8), np.zeros(1))
    assert not image.lacks(["a", "b", "c"])  # of c it holds none
    image.hard = (matrix.store(_examples(1), ("a",)),)  # mined while b was left out
    assert (image.lacks(["a"]), image.lacks(["b"])) == (False, True)
    image.begin_anew()
    assert (image.groups, image.changed, image.lacks(["b"])) == ((), True, False)
