"""What each bin adds lies where the bins lie."""

import numpy as np
import torch

from sppnet.features.contributions import window_contributions
from sppnet.features.maps import FeatureMap
from sppnet.geometry import AxisGrid, CellGrid


def test_bins_lie_on_the_cells_they_pool() -> None:
    cells = torch.zeros(1, 6, 6)
    cells[0, 4, 1] = 1.0  # the lower left bin of level 2 of the window of rows 2..5, columns 1..4
    grid = CellGrid(AxisGrid(8.0, 4.0), AxisGrid(8.0, 4.0))
    feature_map = FeatureMap(cells, grid, (96, 48), (48, 48))
    regions = np.array([[5.0, 34.0, 42.0, 96.0]])
    (each,) = window_contributions(feature_map, regions, (2, 1), torch.tensor([[1, 1, 1, 1, 2.0]]), torch.tensor([-1]))
    assert each.window.tolist() == [1, 2, 5, 6]
    assert each.bins.tolist() == [0, 0, 1, 0, 2]
    assert each.score == 2.0
    left, top, right, bottom = each.boxes[2]
    assert left < 4 + 8 * 1 < right  # the centre of column 1, and 96 rows of image were scaled to 48
    assert top < 2 * (4 + 8 * 4) < bottom
    assert each.boxes[4, 3] == 96  # the window ends with the map
    assert (each.boxes[4] == [each.boxes[0, 0], each.boxes[0, 1], each.boxes[3, 2], each.boxes[3, 3]]).all()
