"""The tables of detection: each runs whole, on little data and a narrow network, and keeps the paper's numbers."""

from pathlib import Path

import numpy as np
import pytest

from sppnet import recipes
from sppnet.errors import DataError
from sppnet.recipes import RecipeRequest, table9, table11

pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache of maps that the tables share, as they do in use."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    ("name", "rows", "paper"),
    [
        ("table9", 14, {"pool5, one scale": 43.0, "ftfc7 bb, five scales": 59.2, "layers s, one scale": 0.089}),
        ("table10", 12, {"ftfc7 bb, R-CNN": 59.2, "times faster, one scale": 102.0, "times faster, five scales": 38.0}),
        ("table11", 6, {"ftfc7, mean": 55.2, "ftfc7 bb, mean": 59.2}),
        ("table12", 9, {"network 2, mean": 59.1, "combined, mean": 60.9}),
        ("table13", 1, {"one network": 31.84}),
    ],
)
@pytest.mark.slow
def test_a_table_runs_whole_in_seconds(
    name: str, rows: int, paper: dict[str, float], shapes: Path, cache: Path, tmp_path: Path
) -> None:
    report = recipes.find(name)(RecipeRequest(shapes, quick=True, cache=cache, work=tmp_path / "work"))
    assert report.quick
    assert len(report.rows) == rows
    published = {row.name: row.paper for row in report.rows}
    assert paper.items() <= published.items()
    assert all(row.measured is not None and np.isfinite(row.measured) and row.measured >= 0 for row in report.rows)


def test_the_papers_classes_have_the_papers_mean() -> None:
    for kind in ("ftfc7", "ftfc7 bb"):
        classes = [value for name, value in table11.PAPER[kind].items() if name != "mean"]
        assert len(classes) == 20
        assert np.mean(classes) == pytest.approx(table11.PAPER[kind]["mean"], abs=0.05)
    assert table9.PAPER["five scales"]["ftfc7"] == table11.PAPER["ftfc7"]["mean"]


@pytest.mark.parametrize("name", ["table9", "table12"])
def test_a_published_run_asks_for_weights(name: str, shapes: Path) -> None:
    with pytest.raises(DataError, match=r"reproduce: --weights must be given [12] times \(zf5 with a pyramid"):
        recipes.find(name)(RecipeRequest(shapes))
