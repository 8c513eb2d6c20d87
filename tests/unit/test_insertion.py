"""The place of a second instance, by boxes whose place is known."""

from itertools import pairwise

import numpy as np
import pytest

from avipipe.manifests import rle
from avipipe.manifests.insertion import beside, has_room

SIZE = (40, 100)


def boxes_of(counts: list[str]) -> list[tuple[int, int, int, int] | None]:
    return [rle.box(each, SIZE) for each in counts]


def track(*columns: tuple[int, int]) -> list[str]:
    masks = []
    for first, last in columns:
        mask_HW = np.zeros(SIZE, np.bool_)
        mask_HW[10:30, first:last] = True
        masks.append(rle.encode(mask_HW))
    return masks


def test_it_moves_as_the_first_one_on_the_side_with_more_room() -> None:
    first = track((10, 30), (15, 35), (20, 38))
    assert boxes_of(beside(first, first, SIZE)) == [
        (x0 + 20, 10, x1 + 20, 30) for x0, _, x1, _ in filter(None, boxes_of(first))
    ]
    mirrored = track((70, 90), (65, 85))
    assert boxes_of(beside(mirrored, mirrored, SIZE)) == [(50, 10, 70, 30), (45, 10, 65, 30)]


def test_it_is_never_on_the_first_one_and_is_cut_at_the_edge() -> None:
    first = track((20, 80))
    level = [rle.encode(np.ones(SIZE, np.bool_))]
    (moved,) = beside(first, level, SIZE)
    mask_HW, instance_HW = rle.decode(moved, SIZE), rle.decode(first[0], SIZE)
    assert not (mask_HW & instance_HW).any()
    assert mask_HW[:, 80:].all()
    assert not mask_HW[:, :20].any()
    (narrow,) = boxes_of(beside(first, first, SIZE))  # moved by half of 60 px
    assert narrow == (80, 10, 100, 30)


def test_frames_without_an_instance_have_no_place_and_pictures_without_any_none() -> None:
    gone = [rle.encode(np.zeros(SIZE, np.bool_))]
    assert boxes_of(beside(track((10, 30)) + gone, track((10, 30)) + gone, SIZE))[1] is None
    assert boxes_of(beside(gone, gone, SIZE)) == [None]


@pytest.mark.parametrize(
    ("boxes", "fits"),
    [
        ([(0.4, 0, 0.6, 1)], True),
        ([(0.1, 0, 0.9, 1)], False),
        ([(0.35, 0, 0.9, 1)], True),
        ([(0.0, 0, 0.3, 1), (0.7, 0, 1.0, 1)], False),
        ([], False),
    ],
)
def test_room_is_for_half_of_a_second_one_in_every_frame(
    boxes: list[tuple[float, ...]], fits: bool
) -> None:
    assert has_room(boxes, 1.0) is fits


def test_wider_ones_need_more_room() -> None:
    found = [has_room([(0.0, 0, width, 1)], 1.0) for width in np.linspace(0.1, 1.0, 19)]
    assert all(before or not after for before, after in pairwise(found))
    assert found[0]
    assert not found[-1]
