"""The changes that a person can make, as the page sends them, and what each writes."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sppnet.detection.drawing import colour_of
from sppnet.errors import ArgumentError, message
from sppnet.geometry import check_boxes
from sppnet.web.studio.offers import SAME_EDGES, outline_of, text_of
from sppnet.web.studio.store import Box, Class, Kind, Missing, Step, Store, Values

RESIZED: Final = 0.3  # pixels: the page rounds each edge to a tenth
LONGEST_NAME: Final = 80


def _name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= LONGEST_NAME or any(ord(letter) < 32 for letter in name):
        actual = f"{len(name)} characters" if len(name) > LONGEST_NAME else repr(name)
        expected = f"1 to {LONGEST_NAME} characters in one line"
        raise ValueError(message("studio", "name", expected, actual, "Choose another name"))
    return name


def _colour(text: str) -> str:
    if len(text) != 7 or text[0] != "#" or any(digit not in "0123456789abcdefABCDEF" for digit in text[1:]):
        raise ValueError(message("studio", "colour", "# and six hexadecimal digits", repr(text), "Choose another one"))
    return text


def _key(text: str) -> str:
    key = text.lower()
    if key and (len(key) > 1 or not key.isprintable() or key.isspace() or key.isdigit()):
        raise ValueError(message("studio", "key", "a letter or sign, or none", repr(text), "Choose another key"))
    return key


Edges = tuple[float, float, float, float]
Name = Annotated[str, AfterValidator(_name)]
Colour = Annotated[str, AfterValidator(_colour)]
Row = Annotated[int, Field(ge=1, lt=2**53)]
Note = Annotated[str, Field(max_length=2000)]
Key = Annotated[str, Field(max_length=4), AfterValidator(_key)]


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AddBox(_Change):
    """Draw a box, or accept a detection; kind "rejected": there is no object of the class.

    A box that is there already is not drawn again: the answer names the one that is there.
    """

    do: Literal["add"]
    image: Row
    label: Row
    edges: Edges
    kind: Kind = "object"
    difficult: bool = False
    crowd: bool = False


class Suggest(_Change):
    """Suggest an object, to be accepted or rejected: what a person saw alike elsewhere."""

    do: Literal["suggest"]
    image: Row
    label: Row
    edges: Edges


class EditBox(_Change):
    """Move a box, give it another class, flags or a note.

    An outline that came with it moves with it; one whose box is resized is dropped.
    """

    do: Literal["edit"]
    box: Row
    edges: Edges | None = None
    label: Row | None = None
    difficult: bool | None = None
    crowd: bool | None = None
    note: Note | None = None


class RemoveBox(_Change):
    """Remove a box."""

    do: Literal["remove"]
    box: Row


class SetComplete(_Change):
    """Say that every object of an image is boxed, or no longer so."""

    do: Literal["complete"]
    image: Row
    complete: bool


class SetNote(_Change):
    """Write a note on an image."""

    do: Literal["note"]
    image: Row
    note: Note


class TakeOver(_Change):
    """Give the labels of the image that a file replaced to the one that is there now, scaled to it; or remove them."""

    do: Literal["take over"]
    image: Row
    keep: bool


class AddClass(_Change):
    """Add a class; its colour is the next of the palette."""

    do: Literal["add class"]
    name: Name


class EditClass(_Change):
    """Give a class another name, colour, place among the classes, or a key of its own ("" for none)."""

    do: Literal["edit class"]
    label: Row
    name: Name | None = None
    colour: Colour | None = None
    place: Annotated[int, Field(ge=0, lt=10_000)] | None = None
    key: Key | None = None


class MergeClass(_Change):
    """Give all boxes of a class to another one, and remove it. What is boxed as both becomes one box."""

    do: Literal["merge class"]
    label: Row
    into: Row


class RemoveClass(_Change):
    """Remove a class with all its boxes."""

    do: Literal["remove class"]
    label: Row


Change = Annotated[
    AddBox
    | Suggest
    | EditBox
    | RemoveBox
    | SetComplete
    | SetNote
    | TakeOver
    | AddClass
    | EditClass
    | MergeClass
    | RemoveClass,
    Field(discriminator="do"),
]


class Changes(_Change):
    """What one step does: together or not at all."""

    what: Annotated[str, Field(min_length=1, max_length=200)]
    changes: Annotated[list[Change], Field(min_length=1, max_length=1000)]
    image: Row | None = None


def apply(store: Store, asked: Changes, *, person: str = "") -> tuple[list[int], set[int]]:
    """Write changes as one step.

    Returns:
        The ids of the rows that were added, in order, and of the images whose labels changed. In place of a box that
        was there already stands the id of that one.
    Raises:
        Missing: an image, class or box that there is not. ArgumentError: a box outside its image, a name twice.
    """
    added: list[int] = []
    touched: set[int] = set()
    with store.step(asked.what, asked.image, person=person) as step:
        if asked.image is not None:
            store.image(asked.image)
        for change in asked.changes:
            row, images = _apply(store, step, change)
            touched |= images
            added += [] if row is None else [row]
    return added, touched


def _apply(store: Store, step: Step, change: Change) -> tuple[int | None, set[int]]:
    match change:
        case AddBox():
            return _add_box(store, step, change), {change.image}
        case Suggest():
            _check_class(store, change.label)
            row = {"image": change.image, "class": change.label, "score": 1.0}
            return step.add("suggestion", row | _within(store, change.image, change.edges)), {change.image}
        case EditBox():
            return None, {_edit_box(store, step, change)}
        case RemoveBox():
            box = store.box(change.box)
            step.remove("box", change.box)
            return None, {box.image}
        case SetComplete():
            step.change("image", change.image, {"complete": int(change.complete)})
            return None, {change.image}
        case SetNote():
            step.change("image", change.image, {"note": change.note})
            return None, {change.image}
        case TakeOver():
            return None, _take_over(store, step, change)
        case AddClass():
            return _add_class(store, step, change.name), set()
        case EditClass():
            return None, _edit_class(store, step, change)
        case MergeClass():
            return None, _merge_class(store, step, change)
        case RemoveClass():
            boxes = store.boxes_of_class(change.label)
            for box in boxes:
                step.remove("box", box.id)
            step.remove("class", change.label)
            return None, {box.image for box in boxes}


def _add_box(store: Store, step: Step, change: AddBox) -> int:
    edges = _within(store, change.image, change.edges)
    _check_class(store, change.label)
    twin = _twin(store.boxes(change.image), change.label, change.kind, tuple(edges.values()))
    if twin is not None:
        step.change("box", twin.id, {})  # still a step, so that undo takes back this request and not the one before
        return twin.id
    flags = {"difficult": int(change.difficult), "crowd": int(change.crowd)}
    row = edges | flags | {"image": change.image, "class": change.label, "kind": change.kind}
    return step.add("box", row)


def _twin(boxes: Iterable[Box], label: int, kind: Kind, edges: Sequence[float]) -> Box | None:
    """Return the box that a person would call the same as one of this class, kind and place."""
    for box in boxes:
        apart = max(abs(a - b) for a, b in zip(box.edges, edges, strict=True))
        if (box.label, box.kind) == (label, kind) and apart < SAME_EDGES:
            return box
    return None


def _edit_box(store: Store, step: Step, change: EditBox) -> int:
    box = store.box(change.box)
    values: Values = {}
    if change.edges is not None:
        edges = _within(store, box.image, change.edges)
        values |= edges | {"outline": _moved(box, tuple(edges.values()))}
    if change.label is not None:
        _check_class(store, change.label)
        values["class"] = change.label
    flags = {"difficult": change.difficult, "crowd": change.crowd}
    values |= {name: int(flag) for name, flag in flags.items() if flag is not None}
    if change.note is not None:
        values["note"] = change.note
    step.change("box", change.box, values)
    return box.image


def _take_over(store: Store, step: Step, change: TakeOver) -> set[int]:
    image = store.image(change.image)
    old = store.replaced_by(image.name)
    if old is None:
        raise Missing(f"there are no labels kept aside for image {change.image}")
    scale = (image.width / max(1, old.width), image.height / max(1, old.height))
    for box in store.boxes(old.id):
        if change.keep:
            left, top, right, bottom = (edge * scale[place % 2] for place, edge in enumerate(box.edges))
            edges = _within(store, image.id, (left, top, right, bottom))
            outline = text_of(tuple(polygon * scale for polygon in outline_of(box.outline)))
            step.change("box", box.id, edges | {"image": image.id, "outline": outline})
        else:
            step.remove("box", box.id)
    step.change("image", old.id, {"complete": 0})
    if change.keep:
        values = {"complete": int(image.complete or old.complete), "note": image.note or old.note}
        step.change("image", image.id, values)
    return {image.id}


def _moved(box: Box, edges: Sequence[float]) -> str:
    """Return the outline that a box has at other edges: moved with it, or none where it was resized."""
    shifts = [after - before for after, before in zip(edges, box.edges, strict=True)]
    if max(abs(shifts[0] - shifts[2]), abs(shifts[1] - shifts[3])) > RESIZED:
        return ""
    return text_of(tuple(polygon + shifts[:2] for polygon in outline_of(box.outline)))


def _add_class(store: Store, step: Step, name: str) -> int:
    _check_new(store, name)
    classes = store.classes()
    place = 1 + max((each.place for each in classes), default=-1)
    return step.add("class", {"name": name, "colour": colour_of(len(classes)), "place": place})


def _edit_class(store: Store, step: Step, change: EditClass) -> set[int]:
    _check_class(store, change.label)
    classes = {each.id: each for each in store.classes()}
    values: Values = {}
    if change.name is not None and change.name != classes[change.label].name:
        _check_new(store, change.name)
        values["name"] = change.name
    if change.colour is not None:
        values["colour"] = change.colour
    if change.key is not None:
        _check_key(classes.values(), change)
        values["key"] = change.key
    step.change("class", change.label, values)
    if change.place is not None:
        rest = [each for each in classes if each != change.label]
        for place, row in enumerate([*rest[: change.place], change.label, *rest[change.place :]]):
            step.change("class", row, {"place": place})
    return {box.image for box in store.boxes_of_class(change.label)} if "name" in values else set()


def _merge_class(store: Store, step: Step, change: MergeClass) -> set[int]:
    if change.label == change.into:
        raise ArgumentError(message("studio", "into", "another class", "the same one", "Choose another class"))
    _check_class(store, change.into)
    boxes = store.boxes_of_class(change.label)
    into = store.boxes_of_class(change.into)
    there = {image: list(others) for image, others in groupby(sorted(into, key=_image_of), key=_image_of)}
    for box in boxes:
        if _twin(there.get(box.image, ()), change.into, box.kind, box.edges) is None:
            step.change("box", box.id, {"class": change.into})
        else:  # one object was boxed as both
            step.remove("box", box.id)
    for offered in (each for each in store.offered() if each.label == change.label):
        step.change("suggestion", offered.id, {"class": change.into})
    step.remove("class", change.label)
    return {box.image for box in boxes}


def _image_of(box: Box) -> int:
    return box.image


def _within(store: Store, image: int, edges: Edges) -> dict[str, float]:
    """Return the edges cut to the image, by column."""
    size = store.image(image)
    ((left, top, right, bottom),) = check_boxes("studio", [edges], (size.height, size.width)).tolist()
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def _check_class(store: Store, row: int) -> None:
    if row not in (each.id for each in store.classes()):
        raise Missing(f"there is no class {row}")


def _check_key(classes: Iterable[Class], change: EditClass) -> None:
    for each in classes:
        if each.key and each.key == change.key and each.id != change.label:
            actual = f"{change.key!r}, the key of {each.name}"
            raise ArgumentError(message("studio", "key", "one that no other class has", actual, "Choose another key"))


def _check_new(store: Store, name: str) -> None:
    if name in (each.name for each in store.classes()):
        raise ArgumentError(f"studio: there is a class named {name} already. Choose another name.")
