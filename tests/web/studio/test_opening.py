"""Labels follow what an image shows, whatever becomes of its file."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sppnet.web.studio.app import studio_app
from sppnet.web.studio.changes import Changes, apply
from sppnet.web.studio.folder import Folder
from sppnet.web.studio.opening import take_in
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Missing, Store, StoredImage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place, name in enumerate("abc"):
        Image.new("RGB", (100, 50), (place * 60, 0, 0)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    with Store(root / ".sppnet" / "studio.sqlite") as store:
        take_in(Folder(root), store)
        with store.step("Look", undoable=False) as step:
            folder = Folder(root)
            for image in store.images():
                step.change("image", image.id, {"digest": folder.digest(image.name, version=image.version)})
        (label,), _ = apply(store, _asked({"do": "add class", "name": "cell"}))
        image = _of(store, "a.png").id
        apply(store, _asked({"do": "add", "image": image, "label": label, "edges": [1, 2, 30, 40]}))
        apply(store, _asked({"do": "complete", "image": image, "complete": True}))
        yield store


def _asked(*changes: dict[str, object]) -> Changes:
    return Changes.model_validate({"what": "Something", "changes": list(changes)})


def _of(store: Store, name: str) -> StoredImage:
    return next(image for image in store.images() if image.name == name)


def test_a_renamed_file_keeps_its_labels(root: Path, store: Store) -> None:
    before = _of(store, "a.png").id
    (root / "deep").mkdir()
    (root / "a.png").rename(root / "deep" / "z.png")
    taken = take_in(Folder(root), store)
    after = _of(store, "deep/z.png")
    assert (after.id, after.complete, len(store.boxes(after.id)), taken.problems) == (before, True, 1, ())


def test_two_files_that_change_places_keep_their_labels(root: Path, store: Store) -> None:
    for name, other in (("a.png", "t.png"), ("b.png", "a.png"), ("t.png", "b.png")):
        (root / name).rename(root / other)
    _touch(root / "a.png", root / "b.png")
    take_in(Folder(root), store)
    assert (len(store.boxes(_of(store, "b.png").id)), _of(store, "a.png").complete) == (1, False)


def _touch(*paths: Path) -> None:
    for path in paths:
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))


def test_a_replaced_file_is_a_new_image_and_the_old_labels_come_back_with_it(root: Path, store: Store) -> None:
    old = (root / "a.png").read_bytes()
    Image.new("RGB", (30, 20), "blue").save(root / "a.png")
    _touch(root / "a.png")
    folder = Folder(root)
    taken = take_in(folder, store)
    image = _of(store, "a.png")
    assert (image.width, image.height, image.complete, store.boxes(image.id)) == (30, 20, False, [])
    assert (
        "a.png was replaced by another image. The old labels are kept aside: open the image to keep or clear"
        in taken.problems[0]
    )
    (root / "again.png").write_bytes(old)
    take_in(folder, store)
    again = _of(store, "again.png")
    assert (again.width, again.complete, len(store.boxes(again.id))) == (100, True, 1)


@pytest.mark.parametrize("keep", [True, False])
def test_labels_of_a_replaced_file_are_kept_or_cleared_as_the_person_says(root: Path, store: Store, keep: bool) -> None:
    Image.new("RGB", (200, 25), "blue").save(root / "a.png")
    _touch(root / "a.png")
    take_in(Folder(root), store)
    image = _of(store, "a.png")
    old = store.replaced_by("a.png")
    assert old is not None
    assert (old.width, old.height, store.replaced_by("b.png")) == (100, 50, None)
    apply(store, _asked({"do": "take over", "image": image.id, "keep": keep}))
    edges = [(2.0, 1.0, 60.0, 20.0)] if keep else []  # twice as wide, half as high
    assert [box.edges for box in store.boxes(image.id)] == edges
    assert (store.image(image.id).complete, store.replaced_by("a.png"), store.boxes(old.id)) == (keep, None, [])
    with pytest.raises(Missing, match="there are no labels kept aside"):
        apply(store, _asked({"do": "take over", "image": image.id, "keep": keep}))
    store.undo()
    assert (store.replaced_by("a.png"), store.boxes(image.id)) == (old, [])


def test_a_file_that_is_only_touched_changes_nothing(root: Path, store: Store) -> None:
    _touch(root / "a.png")
    take_in(Folder(root), store)
    image = _of(store, "a.png")
    assert (image.complete, len(store.boxes(image.id))) == (True, 1)


def test_a_name_that_is_no_text_is_shown_and_found(root: Path) -> None:
    shutil.copy(root / "a.png", root / "caf\udce9.png")
    with TestClient(studio_app(Session(root)), base_url="http://127.0.0.1:8770") as page:
        images = {each["name"]: each["id"] for each in page.get("/api/state").json()["images"]}
        shown = images[r"caf\xe9.png"]
        assert page.get(f"/api/images/{shown}/image").status_code == 200


def test_exports_leave_out_what_is_gone_and_take_what_is_old(root: Path) -> None:
    os.utime(root / "b.png", (0, 0))  # before 1980, when zips begin
    with TestClient(studio_app(Session(root)), base_url="http://127.0.0.1:8770") as page:
        page.headers["Origin"] = "http://127.0.0.1:8770"
        page.post("/api/changes", json={"what": "x", "changes": [{"do": "add class", "name": "cell"}]})
        images = {each["name"]: each["id"] for each in page.get("/api/state").json()["images"]}
        done = [{"do": "complete", "image": image, "complete": True} for image in images.values()]
        page.post("/api/changes", json={"what": "x", "changes": done})
        (root / "a.png").unlink()
        for name in ("voc", "images"):
            answer = page.get(f"/api/export/{name}")
            assert answer.status_code == 200, answer.text
            # The watch may have noticed by then: an image that is known to be gone is no longer of the folder.
            assert answer.headers["x-left-out"] in ("0", "1")
        split = page.get("/api/export/yolo?val=0.5")
        assert split.status_code == 200


def test_a_folder_that_may_not_be_written_is_said_without_harm(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sppnet.errors import DataError

    (root / ".sppnet").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"the labels need this folder: .*Allow writing there, or copy the images"):
        Store(root / ".sppnet" / "studio.sqlite")


def test_a_folder_that_is_empty_yet_takes_in_what_comes_with_its_labels(tmp_path: Path) -> None:
    session = Session(tmp_path)
    with session.store:
        session.look_again()
        assert (session.summaries(), session.next_image("Ada", None)) == ([], None)
        Image.new("RGB", (100, 50)).save(tmp_path / "a.png")
        (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        session.look_again()
        (image,) = session.summaries()
        assert (image["name"], image["complete"], sum(image["objects"].values())) == ("a.png", True, 1)
        assert list(session.learner.images) == [image["id"]]
