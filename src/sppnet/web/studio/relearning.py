"""All labels learnt again on another network, beside what goes on: the page waits for nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sppnet.errors import SppnetError
from sppnet.evaluation.matching import Judged
from sppnet.progress import Progress
from sppnet.web.studio.said import Said, said_of
from sppnet.web.studio.store import Store

if TYPE_CHECKING:
    from sppnet.backbones import Backbone
    from sppnet.detection.detector import Detector
    from sppnet.web.studio.learner import StudioLearner

Item = TypeVar("Item")
Told = Callable[[str, int, int], None]  # what goes on, and how many of how many are done


@dataclass(frozen=True)
class Relearnt:
    """What came of it.

    Args:
        estimator: on ``network``; it has learnt ``said``, images by their ids, of classes ``ids``: none, where nothing
            is boxed. judged: how good it is, where it learnt from two images.
        prepared: which version of each image, by id, has its features computed.
    """

    network: "Backbone"
    estimator: "Detector"
    prepared: Mapping[int, str]
    said: Mapping[int, Said]
    ids: tuple[int, ...]
    judged: Judged | None

    def fits(self, side: int, store: Store) -> bool:
        """Tell whether images are still scaled as they were, and the classes still the same."""
        return side == self.estimator.short_side and (
            not self.ids or self.ids == tuple(each.id for each in store.classes())
        )


def relearn(learner: "StudioLearner", network: "Backbone", told: Told) -> None:
    """Learn all labels again on a network, and have the learner go on with it.

    Args:
        told: called before each image with how far it is; what it raises ends this, and nothing has changed.
    """
    while not learner.take(_relearnt(learner, network, told)):
        pass  # images are scaled otherwise since, or there are other classes


def _relearnt(learner: "StudioLearner", network: "Backbone", told: Told) -> Relearnt:
    def telling(text: str, *, counted: bool) -> Progress:
        def progress(_: str, items: Sequence[Item], /) -> Iterable[Item]:
            for place, item in enumerate(items):
                learner.give_way()
                told(text, place * counted, len(items) * counted)
                yield item

        return progress

    estimator, images, prepared = learner.unlearnt(network), dict(learner.images), {}
    for image in telling("Computing features", counted=True)("", [*images.values()]):
        with suppress(SppnetError, OSError):  # the studio tells of it
            estimator.prepare_image(learner.folder.path(image.name))
            prepared[image.id] = image.version
    classes, learning = learner.store.classes(), telling("Learning your labels again", counted=False)
    said, known = said_of(learner.store, images.values()), {}
    for key in learning("", sorted(said)):
        with suppress(SppnetError, OSError):
            estimator.update(learner.folder.path(images[key].name), said[key].labels, key=key)
            known[key] = said[key]
    relearnt = partial(Relearnt, network, prepared=prepared)
    if not any(one.labels.classes for one in known.values()):
        return relearnt(learner.unlearnt(network), said={}, ids=(), judged=None)
    estimator.learn([each.name for each in classes], progress=learning)
    judged = estimator.calibrate(progress=learning) if len(known) > 1 else None
    return relearnt(estimator, said=known, ids=tuple(each.id for each in classes), judged=judged)
