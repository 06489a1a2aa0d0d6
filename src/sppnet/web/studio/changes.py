"""The changes that a person can make, as the page sends them, and what each writes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sppnet.detection.drawing import colour_of
from sppnet.errors import ArgumentError, message
from sppnet.geometry import check_boxes
from sppnet.web.studio.store import Kind, Missing, Step, Store

Edges = tuple[float, float, float, float]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")]
Row = Annotated[int, Field(ge=1, lt=2**53)]
Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AddBox(_Change):
    """Draw a box, or accept a detection; kind "rejected": there is no object of the class."""

    do: Literal["add"]
    image: Row
    label: Row
    edges: Edges
    kind: Kind = "object"


class EditBox(_Change):
    """Move a box, or give it another class."""

    do: Literal["edit"]
    box: Row
    edges: Edges | None = None
    label: Row | None = None


class RemoveBox(_Change):
    """Remove a box."""

    do: Literal["remove"]
    box: Row


class SetComplete(_Change):
    """Say that every object of an image is boxed, or no longer so."""

    do: Literal["complete"]
    image: Row
    complete: bool


class AddClass(_Change):
    """Add a class; its colour is the next of the palette."""

    do: Literal["add class"]
    name: Name


class EditClass(_Change):
    """Give a class another name or colour."""

    do: Literal["edit class"]
    label: Row
    name: Name | None = None
    colour: Colour | None = None


class RemoveClass(_Change):
    """Remove a class with all its boxes."""

    do: Literal["remove class"]
    label: Row


Change = Annotated[
    AddBox | EditBox | RemoveBox | SetComplete | AddClass | EditClass | RemoveClass, Field(discriminator="do")
]


class Changes(_Change):
    """What one step does: together or not at all."""

    what: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    changes: Annotated[list[Change], Field(min_length=1, max_length=1000)]
    image: Row | None = None


def apply(store: Store, asked: Changes) -> tuple[list[int], set[int]]:
    """Write changes as one step.

    Returns:
        The ids of the rows that were added, in order, and of the images whose labels changed.
    Raises:
        Missing: an image, class or box that there is not. ArgumentError: a box outside its image, a name twice.
    """
    added: list[int] = []
    touched: set[int] = set()
    with store.step(asked.what, asked.image) as step:
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
            edges = _within(store, change.image, change.edges)
            _check_class(store, change.label)
            row = step.add("box", edges | {"image": change.image, "class": change.label, "kind": change.kind})
            return row, {change.image}
        case EditBox():
            return None, {_edit_box(store, step, change)}
        case RemoveBox():
            box = store.box(change.box)
            step.remove("box", change.box)
            return None, {box.image}
        case SetComplete():
            step.change("image", change.image, {"complete": int(change.complete)})
            return None, {change.image}
        case AddClass():
            _check_new(store, change.name)
            colour = colour_of(len(store.classes()))
            return step.add("class", {"name": change.name, "colour": colour}), set()
        case EditClass():
            return None, _edit_class(store, step, change)
        case RemoveClass():
            boxes = [box for box in store.boxes() if box.label == change.label]
            for box in boxes:
                step.remove("box", box.id)
            step.remove("class", change.label)
            return None, {box.image for box in boxes}


def _edit_box(store: Store, step: Step, change: EditBox) -> int:
    box = store.box(change.box)
    values = {} if change.edges is None else dict(_within(store, box.image, change.edges))
    if change.label is not None:
        _check_class(store, change.label)
        values["class"] = change.label
    step.change("box", change.box, values)
    return box.image


def _edit_class(store: Store, step: Step, change: EditClass) -> set[int]:
    values = {}
    if change.name is not None and change.name not in (
        each.name for each in store.classes() if each.id == change.label
    ):
        _check_new(store, change.name)
        values["name"] = change.name
    if change.colour is not None:
        values["colour"] = change.colour
    step.change("class", change.label, values)
    return {box.image for box in store.boxes() if box.label == change.label} if "name" in values else set()


def _within(store: Store, image: int, edges: Edges) -> dict[str, float]:
    """Return the edges cut to the image, by column."""
    size = store.image(image)
    ((left, top, right, bottom),) = check_boxes("studio", [edges], (size.height, size.width)).tolist()
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def _check_class(store: Store, row: int) -> None:
    if row not in (each.id for each in store.classes()):
        raise Missing(f"there is no class {row}")


def _check_new(store: Store, name: str) -> None:
    names = [each.name for each in store.classes()]
    if name in names:
        advice = "Choose another name"
        raise ArgumentError(message("studio", "name", f"other than {', '.join(names)}", repr(name), advice))
