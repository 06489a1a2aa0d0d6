"""The network tuned beside the studio: better it takes its place, stopped it goes on, and it ends with the studio."""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from benchmarks.driving import Studio
from fastapi.testclient import TestClient
from tests.web.studio import quick_tuner

from sppnet.backbones import backbone
from sppnet.data import DetectionData, load_detection
from sppnet.detection import deep
from sppnet.detection.deep import DeepPlan
from sppnet.detection.detector import Detector
from sppnet.errors import CorruptFileError
from sppnet.geometry import iou
from sppnet.web.studio import tuner, tuning
from sppnet.web.studio.app import studio_app
from sppnet.web.studio.networks import read_network
from sppnet.web.studio.session import Session

ADDRESS = "http://127.0.0.1:8770"
QUICK = Path(__file__).with_name("quick_tuner.py")


@pytest.fixture
def root(shapes: Path, tmp_path: Path) -> Path:
    """Return a folder of twelve images, all complete."""
    shutil.copytree(shapes, tmp_path / "shapes")
    return tmp_path / "shapes"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "COMMAND", (sys.executable, str(QUICK)))


def _does(root: Path, what: str) -> None:
    """Have the process do, or come to, something from now on; see ``quick_tuner``."""
    (root / ".sppnet").mkdir(exist_ok=True)
    (root / ".sppnet" / "quick.txt").write_text(what)


@contextmanager
def _opened(root: Path) -> Iterator[tuple[TestClient, Session]]:
    session = Session(root)
    with TestClient(studio_app(session), base_url=ADDRESS, headers={"Origin": ADDRESS}) as page:
        yield page, session


def _until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 600  # ends a test that would hang
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def _status(page: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = page.get("/api/state").json()["tuning"]
    return found


def _wish(page: TestClient, wish: str) -> dict[str, Any]:
    answer = page.post("/api/tuning", json={"do": wish})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _tuned(page: TestClient, wish: str = "begin") -> dict[str, Any]:
    """Wish, wait until nothing goes on, and return what is told then."""
    assert _wish(page, wish)["state"] == "running"
    _until(lambda: _status(page)["state"] != "running")
    return _status(page)


def _taught(page: TestClient) -> None:
    _until(lambda: (now := page.get("/api/state").json()["status"])["taught"] and not now["behind"])


def _change(page: TestClient, *changes: dict[str, Any]) -> None:
    answer = page.post("/api/changes", json={"what": "Change", "changes": list(changes)})
    assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_a_better_network_is_gone_on_with_kept_and_saved_and_there_is_a_way_back(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _does(root, "better")
    image = root / "JPEGImages" / "00.png"
    with _opened(root) as (page, session):
        _taught(page)
        assert _status(page) | {"minutes": 0} == {
            "state": "idle", "text": "", "done": 0, "of": 0, "seconds": None, "said": "", "failed": False,
            "report": None, "fewest": 10, "minutes": 0,
        }  # fmt: skip
        after = _tuned(page)
        figures = (
            "How well objects are found in 2 images held back: 90.0 % before, 95.0 % after; where boxes must fit"
            " closely: 60.0 % before, 70.0 % after. (100 %: every object found, nothing false.)"
        )
        assert (after["state"], after["failed"]) == ("idle", False)
        assert after["said"] == f"The tuned network is better, and in use now. {figures}"
        assert after["report"] == figures
        (file,) = session.folder.hidden.glob("network-*.safetensors")
        network = read_network(file.parent, file.name)
        assert file.stat().st_size < 1e7  # in half precision
        detector = session.learner.detector
        assert detector is not None
        assert detector.model_.encoder.backbone.fingerprint == network.fingerprint != backbone().fingerprint
        assert len(detector.learnt_from_) == 12
        assert session.learner.judged is not None
        assert page.get("/api/state").json()["status"]["ready"] == 12
        assert not (session.folder.hidden / "tuning").exists()
        found = detector.detect(image)
    with _opened(root) as (page, session):  # opened again, it goes on with it
        assert _status(page)["report"] == after["report"]
        _taught(page)
        detector = session.learner.detector
        assert detector is not None
        assert detector.model_.encoder.backbone.fingerprint == network.fingerprint
        again = detector.detect(image)
        assert len(found) == len(again) > 0
        assert (iou(found.boxes, again.boxes).max(axis=1) > 0.9).all()  # in whichever order
        saved = tmp_path / "saved.safetensors"
        saved.write_bytes(page.get("/api/export/model").content)
        mine = detector.relearnt().detect(image, threshold=0)
        theirs = Detector.load(saved).detect(image, threshold=0)
        assert np.array_equal(mine.boxes, theirs.boxes)
        assert np.array_equal(mine.confidence, theirs.confidence)

        back = _tuned(page, "as it came")
        assert (back["said"], back["report"]) == ("The network as it came is in use again.", None)
        detector = session.learner.detector
        assert detector is not None
        assert detector.model_.encoder.backbone.fingerprint == backbone().fingerprint
        assert not file.exists()
        answer = page.post("/api/tuning", json={"do": "as it came"})
        assert answer.status_code == 409
        assert "There is nothing to go back from." in answer.json()["detail"]


def _maps(session: Session) -> dict[str, set[Path]]:
    """Return the files of maps by the network that made them, as the files of tuned ones name it."""
    found: dict[str, set[Path]] = {}
    for folder, _, names in os.walk(session.folder.hidden / "features"):  # which bears that folders go meanwhile
        paths = {Path(folder) / name for name in names if name.endswith(".safetensors")}
        if paths:
            found.setdefault(Path(folder).parent.name.split("-")[0], set()).update(paths)
    return found


def _came() -> str:
    return backbone().fingerprint[:16]


@pytest.mark.slow
def test_only_the_network_in_use_and_the_one_that_came_keep_their_maps(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _does(root, "better")
    with _opened(root) as (page, session):
        _taught(page)
        _until(lambda: page.get("/api/state").json()["status"]["ready"] == 12)
        first, relearn, tuned = _maps(session)[_came()], tuning.relearn, [_came()]
        assert len(first) >= 12
        seen: list[set[str]] = []
        monkeypatch.setattr(tuning, "relearn", lambda *given: (seen.append(set(_maps(session))), relearn(*given)))
        for _ in range(2):
            assert "in use now" in _tuned(page)["said"]
            (file,) = session.folder.hidden.glob("network-*")
            tuned.append(file.stem.removeprefix("network-"))
            assert seen[-1] == {_came(), *tuned[-2:]}  # until the labels are learnt on the new one
            _until(lambda: _maps(session).keys() == {_came(), tuned[-1]})
            assert (len(_maps(session)[tuned[-1]]), _maps(session)[_came()]) == (len(first), first)
            estimator = session.learner._estimator
            assert all(estimator.model_.encoder.is_cached(session.folder.path(name)) for name in session.folder.names)
        _does(root, "worse")
        _tuned(page)
        assert _maps(session).keys() == {_came(), tuned[-1]}
        other = session.folder.hidden / "features" / "of somebody else.txt"
        other.write_text("stays")
        _tuned(page, "as it came")
        _until(lambda: _maps(session) == {_came(): first})
        assert other.read_text() == "stays"


@pytest.mark.slow
def test_a_worse_network_changes_nothing_and_the_figures_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _does(root, "worse")
    with _opened(root) as (page, session):
        _taught(page)
        before, told = session.learner.detector, []
        monkeypatch.setattr(session.events, "tell", lambda name, content: told.append((name, content)))
        after = _tuned(page)
        assert after["said"].startswith("The tuned network is not better, so nothing has changed. How well objects are")
        assert "90.0 % before, 80.0 % after; where boxes must fit closely: 60.0 % before, 50.0 % after" in after["said"]
        assert (after["report"], after["state"], after["failed"]) == (None, "idle", False)
        assert session.learner.detector is before
        assert not list(session.folder.hidden.glob("network-*"))
        texts = [content["tuning"]["text"] for name, content in told if name == "tuning"]
        assert texts[0] == "Getting ready"
        assert (
            "Tuning, round 2 of 2. How well objects are found so far: 61.5 %" in texts
        )  # everybody sees how far it is
        assert told[-1] == ("tuning", {"tuning": after})


@pytest.mark.slow
def test_what_is_said_meanwhile_is_kept_and_learnt(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once after the labels were given to the process, and once after they were learnt on the new network."""
    _does(root, "better")
    with _opened(root) as (page, session):
        _taught(page)
        learner, take, relearn = session.learner, session.learner.take, tuning.relearn
        labels = [each["id"] for each in page.get("/api/state").json()["classes"]]
        images = sorted(learner.images)

        def relearns(*given: Any) -> None:
            _change(page, {"do": "add", "image": images[0], "label": labels[0], "edges": [1, 1, 31, 31]})
            relearn(*given)

        def takes(*given: Any) -> bool:
            _change(page, {"do": "add", "image": images[1], "label": labels[1], "edges": [2, 2, 32, 32]})
            return take(*given)

        monkeypatch.setattr(tuning, "relearn", relearns)
        monkeypatch.setattr(learner, "take", takes)
        assert not _tuned(page)["failed"]
        _taught(page)
        detector = learner.detector
        assert detector is not None
        assert detector._learner is not None
        known = {key: kept.labels.boxes.tolist() for key, kept in detector._learner.images.items()}
        assert known == {image: [list(box.edges) for box in session.store.boxes(image)] for image in images}
        assert [1, 1, 31, 31] in known[images[0]]
        assert [2, 2, 32, 32] in known[images[1]]


@pytest.mark.slow
def test_other_classes_since_have_it_learnt_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _does(root, "better")
    with _opened(root) as (page, session):
        _taught(page)
        take, names = session.learner.take, iter(["one", "two"])

        def takes(*given: Any) -> bool:
            if name := next(names, ""):
                _change(page, {"do": "add class", "name": name})
            return take(*given)

        monkeypatch.setattr(session.learner, "take", takes)
        assert not _tuned(page)["failed"]
        detector = session.learner.detector
        assert detector is not None
        assert detector.classes_ == ("disc", "square", "one", "two")


@pytest.mark.slow
def test_stopped_it_goes_on_from_the_same_labels_also_after_the_studio_was_closed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _does(root, "waits")
    with _opened(root) as (page, session):
        _taught(page)
        assert page.post("/api/tuning", json={"do": "go on"}).json()["detail"] == (
            "There must be a tuning to go on with, got none. Press 'Tune the network'."
        )
        _wish(page, "begin")
        _until(lambda: _status(page)["text"] == "Tuning, round 1 of 2")
        process = session.tuning._process
        assert _wish(page, "begin")["state"] == "running"  # somebody else's: there is one already
        assert session.tuning._process is process
        _wish(page, "stop")
        _until(lambda: _status(page)["state"] == "stopped")
        assert not _status(page)["failed"]
        task = (session.folder.hidden / "tuning" / "task.json").read_bytes()
        _wish(page, "go on")
        _until(lambda: _status(page)["text"] == "Tuning, round 1 of 2")
    assert process is not None
    with _opened(root) as (page, session):
        assert _status(page)["state"] == "stopped"
        first = session.store.boxes()[0]
        _change(page, {"do": "remove", "box": first.id})
        _does(root, "better")
        read, tasks = tuning.relearn, []
        monkeypatch.setattr(tuning, "relearn", lambda *given: (tasks.append(_task_bytes(session)), read(*given)))
        assert "in use now" in _tuned(page, "go on")["said"]
        assert tasks == [task]


def _task_bytes(session: Session) -> bytes:
    return (session.folder.hidden / "tuning" / "task.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "killed",
            "The tuning ended by itself (it was killed, as happens where memory runs out), and nothing has changed."
            " 'Go on' tries again from where it was. Torch: out of memory",
        ),
        (
            "breaks",
            "The tuning ended by itself (code 1), and nothing has changed."
            " 'Go on' tries again from where it was. RuntimeError: it did not converge",
        ),
        ("fails", "a.png: it is gone. Restore it. Nothing has changed."),
    ],
)
def test_why_it_ended_is_told_and_it_can_go_on_or_begin_anew(
    root: Path, what: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _does(root, what)
    with _opened(root) as (page, session):
        ended = _tuned(page)
        assert (ended["state"], ended["failed"], ended["said"]) == ("stopped", True, said)
        _does(root, "worse")
        (session.folder.hidden / "tuning" / "left").write_bytes(b"of the one before")
        assert "not better" in _tuned(page)["said"]
        assert not (session.folder.hidden / "tuning").exists()


def test_it_says_how_many_images_must_be_complete(root: Path) -> None:
    with _opened(root) as (page, session):
        for image in sorted(session.learner.images)[:3]:
            _change(page, {"do": "complete", "image": image, "complete": False})
        answer = page.post("/api/tuning", json={"do": "begin"})
        assert answer.status_code == 409
        assert answer.json()["detail"] == (
            "10 images must be complete and hold objects, got 9."
            " Complete some more: their labels are what it learns from."
        )
        assert _status(page)["state"] == "idle"


def test_it_learns_from_complete_images_alone_some_of_those_with_objects_held_back(root: Path) -> None:
    with _opened(root) as (page, session):
        images = sorted(session.learner.images)
        _change(page, {"do": "complete", "image": images[0], "complete": False})
        empty = [{"do": "remove", "box": box.id} for box in session.store.boxes(images[1])]
        _change(page, {"do": "add class", "name": "never boxed"}, *empty)
        data = session.tuning._task().data
        assert data.classes == ("disc", "square")
        names = [session.learner.images[each].name for each in images]
        assert [str(each.path.relative_to(root)) for each in data.samples] == [*names[2:], names[1]]
        assert [len(each.boxes) for each in data.samples] == [2] * 10 + [0]
        truth = {each.path.name: each for each in load_detection(root, split="all").samples}
        for sample in data.samples[:-1]:
            assert np.array_equal(sample.boxes, truth[sample.path.name].boxes)
            assert sample.size == truth[sample.path.name].size
        assert session.tuning._task().images == [str(root / name) for name in names]


@pytest.mark.slow
def test_a_tuned_network_that_cannot_be_read_is_told_of_and_the_first_one_serves(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _does(root, "better")
    with _opened(root) as (page, session):
        _tuned(page)
        (file,) = session.folder.hidden.glob("network-*")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptFileError):
        read_network(file.parent, file.name)
    with _opened(root) as (page, session):
        _taught(page)
        (problem,) = page.get("/api/state").json()["problems"]
        assert problem.startswith("The tuned network cannot be read, so the network as it came is used: ")
        assert problem.endswith("Your labels are whole; press 'Tune the network' to have one again.")
        assert _status(page)["report"] is None
        detector = session.learner.detector
        assert detector is not None
        assert detector.model_.encoder.backbone.fingerprint == backbone().fingerprint


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs locks of Linux")
def test_it_ends_with_the_studio_however_that_ends(root: Path) -> None:
    _does(root, "waits")
    studio = Studio(root, program=[str(QUICK.with_name("quick_studio.py"))])
    with httpx2.Client(base_url=studio.address, headers={"Origin": studio.address.rstrip("/")}) as page:
        assert page.post("/api/tuning", json={"do": "begin"}).json()["state"] == "running"
        _until(lambda: page.get("/api/state").json()["tuning"]["text"] == "Tuning, round 1 of 2")
    with (root / ".sppnet" / "tuner.lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        studio.kill()
        fcntl.flock(lock, fcntl.LOCK_EX)  # once the process is gone
    with _opened(root) as (page, _):
        assert _status(page)["state"] == "stopped"


def test_a_full_disk_is_told_and_what_was_found_out_is_not_lost(root: Path) -> None:
    with _opened(root) as (_, session):
        task = session.tuning._task()
    shutil.rmtree(root / ".sppnet" / "features", ignore_errors=True)
    (root / ".sppnet" / "features").write_bytes(b"")  # nothing can be written below it
    task.write(root / ".sppnet" / "tuning")
    _does(root, "better")
    calls: list[Any] = []

    def deepen(*given: Any) -> Any:
        calls.append(given)
        return quick_tuner.deepen(*given)

    def tell(**content: Any) -> None:
        assert content["text"]

    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="Nothing more is cached"), pytest.raises(OSError, match="features"):
            tuner.tune(root / ".sppnet" / "tuning", "torch", tell, deepen=deepen)
    assert len(calls) == 1


@pytest.mark.slow
def test_a_tried_network_has_its_maps_in_the_task_and_takes_them_along_where_it_is_better(root: Path) -> None:
    with _opened(root) as (page, session):
        _taught(page)
        task, before = session.tuning._task(), _maps(session)
    folder = root / ".sppnet" / "tuning"
    task.write(folder)
    _does(root, "better")
    tried: dict[str, int] = {}

    def written() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in (folder / "features").rglob("*.safetensors")}

    def deepen(detector: Detector, data: DetectionData, *given: Any) -> Any:
        for sample in data.samples:
            detector.prepare_image(sample.path)
        assert written() == {}  # the maps of the network in use were there
        tuned, report = quick_tuner.deepen(detector, data, *given)
        assert tuned is not None
        network = tuned.model_.encoder.backbone
        for sample in data.samples:
            detector.unlearnt(backbone=network).prepare_image(sample.path)
        tried.update(written())
        return tuned, report

    result = tuner.tune(folder, "torch", lambda **_: None, deepen=deepen)
    assert len(tried) == len(before[_came()])
    after = _maps(session)
    assert after.pop(_came()) == before[_came()]
    ((name, maps),) = after.items()
    assert result["file"] == f"network-{name}.safetensors"
    assert {path.name: path.stat().st_ino for path in maps} == tried  # none was computed again
    assert written() == {}


def test_the_studio_says_what_the_detector_does() -> None:
    assert tuning.FEWEST == deep.FEWEST
    assert DeepPlan().minutes == tuning.MINUTES


def test_the_pace_leaves_the_first_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 104.0])
    monkeypatch.setattr(tuner, "perf_counter", lambda: next(clock))
    pace = tuner._Pace()
    assert [pace.left(done, 10) for done in (0, 1, 2, 5)] == [None, None, 8.0, 5.0]


@pytest.mark.slow
def test_the_process_itself_tunes_and_decides(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _does(root, "really")
    with _opened(root) as (page, session):
        _taught(page)
        first = _maps(session)[_came()]
        after = _tuned(page)
        assert after["failed"] is False, after
        assert _maps(session)[_came()] == first  # what was tried left none there
        assert "How well objects are found in 2 images held back: " in after["said"]
        assert (after["report"] is not None) == after["said"].startswith("The tuned network is better")


@pytest.mark.slow
def test_the_engine_of_the_studio_runs_the_tuned_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    _does(root, "better")
    session = Session(root, engine="onnxruntime")
    with TestClient(studio_app(session), base_url=ADDRESS, headers={"Origin": ADDRESS}) as page:
        _taught(page)
        assert "in use now" in _tuned(page)["said"]
        detector = session.learner.detector
        assert detector is not None
        network: Any = detector.model_.encoder.backbone
        assert network.engine == "onnxruntime"
        assert network.fingerprint != backbone().fingerprint
        encoder = detector.model_.encoder
        assert all(encoder.is_cached(session.folder.path(each.name)) for each in session.store.images())
        assert "onnxruntime" in str(encoder.cache.folder if encoder.cache else "")
