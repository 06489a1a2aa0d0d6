"""What lies in a folder is taken into the store: images that are new, changed, renamed or gone, and labels at first.

Labels belong to what an image shows, which its bytes tell. A file that is renamed or moved keeps its labels. Of one
that is gone they stay in the store, and come back with it. A file that is replaced by another of the same name is a
new image: the labels of the old one are set aside as if it were gone.
"""

from dataclasses import dataclass, field

from sppnet.errors import DataError, ImageDecodeError
from sppnet.images import read_size
from sppnet.progress import Progress, silent
from sppnet.web.studio.folder import Folder
from sppnet.web.studio.offers import Offer, compare, read_labels, write_labels
from sppnet.web.studio.store import Step, Store, StoredImage, Values


@dataclass
class TakenIn:
    """What became of the folder's images, by their ids, and what a person should know of it."""

    fresh: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    problems: tuple[str, ...] = ()
    different: bool = False  # whether any file came, went or was written since the last look


def take_in(folder: Folder, store: Store, *, progress: Progress = silent) -> TakenIn:
    """Bring the store up to what lies in the folder now.

    At the first opening the labels that lie in the folder are taken in too.
    """
    different = folder.look_again()
    known = {image.name: image for image in store.images()}  # none until a first opening is done as a whole
    if not known:
        return _first(folder, store, progress)
    stale = [image for name, image in known.items() if name in folder.files and _is_stale(folder, image)]
    fresh = [name for name in folder.files if name not in known]
    gone = [image for name, image in known.items() if name not in folder.files]
    taken = TakenIn(different=different)
    if not stale and not fresh:
        return taken
    told = {image for image, *_ in store.counts()} | {image.id for image in known.values() if image.complete}
    looked = {name: _looked_at(folder, name) for name in progress("Looking at images", fresh)}
    replaced: list[StoredImage] = []
    with store.step("Look at the folder", undoable=False) as step:
        for image in stale:
            values = _looked_at(folder, image.name)
            digest = _digest(folder, image.name) if image.digest or image.id in told else ""
            if _is_another(image, values, digest):
                step.change("image", image.id, {"name": f"{image.name}#{image.id}"})
                looked[image.name] = values | {"digest": digest}
                replaced.append(image)
            else:
                step.change("image", image.id, values)
                taken.changed.add(image.id)
        spare = {image.name: image.id for image in replaced if image.id not in told}
        _place(folder, step, looked, [*gone, *replaced], spare, taken)
    replaced = [image for image in replaced if image.id in told and store.image(image.id).name not in folder.files]
    if replaced:
        names = ", ".join(image.name for image in replaced[:3]) + (", …" if len(replaced) > 3 else "")
        what = "was replaced by another image" if len(replaced) == 1 else "were replaced by other images"
        taken.problems = (f"{names} {what}. The old labels are kept aside: open the image to keep or clear them.",)
    return taken


def _is_stale(folder: Folder, image: StoredImage) -> bool:
    return image.version != folder.files[image.name].version


def _is_another(image: StoredImage, values: Values, digest: str) -> bool:
    """Tell whether a file that was written since shows another image than the labels were made for."""
    if image.digest and digest:
        return image.digest != digest
    return (image.height, image.width) != (values["height"], values["width"])


def _place(
    folder: Folder,
    step: Step,
    looked: dict[str, Values],
    away: list[StoredImage],
    spare: dict[str, int],
    taken: TakenIn,
) -> None:
    """Give new files the rows of images that are away, where their bytes are the same; rows of their own otherwise.

    ``spare`` holds, by name, rows of replaced images that nobody said anything of: they serve for the new ones.
    """
    by_digest = {image.digest: image.id for image in away if image.digest}
    digests = {
        name: values.get("digest") or (_digest(folder, name) if by_digest else "") for name, values in looked.items()
    }
    same = {name: by_digest.pop(digest) for name, digest in digests.items() if digest in by_digest}
    for name, values in looked.items():
        row = values | {"digest": digests[name]}
        known = same.get(name) or (spare.get(name) if spare.get(name) not in same.values() else None)
        if known is None:
            taken.fresh.add(step.add("image", row))
        else:
            step.change("image", known, row)
            taken.changed.add(known)


def _digest(folder: Folder, name: str) -> str:
    return folder.digest(name, version=folder.files[name].version)


def _looked_at(folder: Folder, name: str) -> Values:
    found: Values = {"name": name, "height": 0, "width": 0, "fault": "", "version": folder.files[name].version}
    try:
        found["height"], found["width"] = read_size(folder.path(name))
    except ImageDecodeError as error:
        found["fault"] = error.reason
    return found


# The first opening


def _first(folder: Folder, store: Store, progress: Progress) -> TakenIn:
    """Write all images, and the labels that lie in the folder; an image that has boxes counts as complete."""
    rows = [_looked_at(folder, name) for name in progress("Looking at images", folder.names)]
    try:
        offer = read_labels(folder.root, {folder.path(name).resolve(): name for name in folder.names})
    except DataError:  # the usual case: images and no labels
        offer = Offer()
    with store.step("Open the folder", undoable=False) as step:
        fresh = {step.add("image", row) for row in rows}
        images = {image.name: image for image in store.images()}
        write_labels(store, step, offer, compare(offer, store, images))
    return TakenIn(fresh=fresh, problems=(*offer.unmatched, *offer.problems), different=bool(fresh))
