"""The work on one image is done while the one before it is looked at: two cores, and answers in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def ahead(work: Callable[[Item], Done], items: Iterable[Item]) -> Iterator[tuple[Item, Done]]:
    """Yield each item with what ``work`` gives of it; a thread is at the next one meanwhile.

    An error of the work is raised where its item would be yielded; who stops early waits for the work in hand.

    >>> list(ahead(abs, [-1, 2]))
    [(-1, 1), (2, 2)]
    """
    with ThreadPoolExecutor(1) as thread:
        coming: deque[tuple[Item, Future[Done]]] = deque()
        for item in items:
            coming.append((item, thread.submit(work, item)))
            if len(coming) > 1:
                before, done = coming.popleft()
                yield before, done.result()
        for item, done in coming:
            yield item, done.result()
