"""Work is one item ahead, in its order; errors come where their item would."""

import threading
from collections.abc import Iterator

import pytest

from sppnet.features.ahead import ahead


def test_the_next_item_is_worked_on_while_one_is_looked_at() -> None:
    begun = [threading.Event() for _ in range(4)]

    def work(item: int) -> int:
        begun[item].set()
        return 10 * item

    seen = []
    for item, done in ahead(work, range(4)):
        seen.append((item, done))
        assert all(each.wait(20) for each in begun[: item + 2])
        assert not any(each.is_set() for each in begun[item + 2 :])
    assert seen == [(0, 0), (1, 10), (2, 20), (3, 30)]
    assert list(ahead(work, [])) == []


def test_an_error_comes_in_the_place_of_its_item() -> None:
    pairs = ahead(lambda item: 6 // item, [3, 2, 0, 1])
    assert (next(pairs), next(pairs)) == ((3, 2), (2, 3))
    with pytest.raises(ZeroDivisionError):
        next(pairs)


def test_items_are_asked_for_in_the_thread_of_who_looks() -> None:
    asked = []

    def items() -> Iterator[int]:
        for item in range(3):
            asked.append(threading.current_thread())
            yield item

    worked = {done for _, done in ahead(lambda _: threading.current_thread(), items())}
    assert threading.current_thread() not in worked
    assert set(asked) == {threading.current_thread()}
