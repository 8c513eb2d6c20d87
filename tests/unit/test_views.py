"""Parts of a frame that a network is shown."""

import numpy as np
import pytest

from avipipe.annotators.views import box_of, pad_box, tiles
from avipipe.errors import AnnotatorError


def test_parts_cover_the_picture_whatever_its_size() -> None:
    for size in [(1, 1), (7, 5), (240, 432), (721, 404)]:
        assert len(tiles(np.zeros((*size, 3), np.uint8))) == 7
        covered = np.zeros(size, np.int64)
        for part in tiles(np.zeros((*size, 3), np.uint8))[1:]:
            covered[part] += 1
        assert covered.min() >= 1


def test_boxes_grow_inside_the_frame() -> None:
    frame = np.zeros((100, 200, 3), np.uint8)
    assert pad_box((10.0, 20.0, 50.0, 40.0), 0.5, frame) == np.s_[10:50, 0:70]
    assert pad_box((150.0, 90.0, 260.0, 140.0), 0.1, frame) == np.s_[85:100, 139:200]
    with pytest.raises(AnnotatorError, match="expected a box inside"):
        pad_box((210.0, 10.0, 260.0, 40.0), 0.1, frame)


def test_a_view_is_a_box_again() -> None:
    assert box_of(np.s_[10:50, 0:70]) == (0.0, 10.0, 70.0, 50.0)
