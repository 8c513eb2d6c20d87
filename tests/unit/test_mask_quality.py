"""Measures of mask tracks whose values are plain to see."""

from fractions import Fraction

import numpy as np
import pytest

from avipipe.annotators import mask_quality as quality
from avipipe.annotators.base import Box, Mask

SIZE = (40, 60)
FPS = Fraction(24)


def rectangle(x: int, y: int, width: int = 10, height: int = 8) -> Mask:
    mask_HW = np.zeros(SIZE, np.bool_)
    mask_HW[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = True
    return mask_HW


def empty(num_frames: int) -> Mask:
    return np.zeros((num_frames, *SIZE), np.bool_)


def still(num_frames: int) -> Mask:
    return np.repeat(rectangle(20, 10)[None], num_frames, axis=0)


def test_overlap_of_masks_and_boxes() -> None:
    assert quality.overlap(rectangle(0, 0), rectangle(5, 0)) == pytest.approx(1 / 3)
    assert quality.overlap(empty(1)[0], empty(1)[0]) == 1.0
    assert quality.box_overlap((0, 0, 10, 8), (5, 0, 15, 8)) == pytest.approx(1 / 3)
    assert quality.box_overlap((0, 0, 10, 8), (20, 0, 30, 8)) == 0.0
    assert quality.box_overlap((4, 4, 4, 4), (4, 4, 4, 4)) == 0.0


def test_a_still_track_is_steady_and_a_moving_one_only_when_aligned() -> None:
    assert quality.temporal_iou(still(4)) == 1.0
    moving = np.stack([rectangle(3 + 5 * n, 4 + 2 * n) for n in range(5)])
    assert quality.temporal_iou(moving) == pytest.approx(30 / 130)
    assert quality.aligned_iou(moving) == 1.0
    assert quality.aligned_iou(moving[::-1]) == 1.0


def test_a_changing_outline_shows_after_alignment() -> None:
    swelling = np.stack([rectangle(20, 10), rectangle(18, 10, width=14)])
    assert quality.aligned_iou(swelling) == pytest.approx(10 / 14)


def test_alignment_helps_by_half_where_the_edge_cuts_the_thing() -> None:
    leaving = np.stack([rectangle(0, 10), rectangle(-4, 10)])
    assert quality.temporal_iou(leaving) == pytest.approx(6 / 10)
    assert quality.aligned_iou(leaving) == pytest.approx(6 / 8)


def test_area_jumps() -> None:
    track = np.stack(
        [rectangle(5, 5, 12), rectangle(5, 5, 12), rectangle(5, 5, 24), rectangle(5, 5, 6)]
    )
    assert quality.area_changes(track) == pytest.approx([0.0, 1.0, 0.75])
    assert quality.area_jump_ratio(track) == pytest.approx(2 / 3)
    assert quality.largest_area_jump(track) == pytest.approx(1.0)
    assert quality.area_jump_ratio(np.stack([rectangle(5, 5, 12), rectangle(5, 5, 15)])) == 0.0
    np.testing.assert_allclose(quality.area_ratios(track), np.array([12, 12, 24, 6]) * 8 / 2400)


def test_empty_frames_are_no_jumps() -> None:
    track = np.concatenate([still(2), empty(3), still(1)])
    assert quality.area_changes(track) == [0.0]
    assert quality.temporal_iou(track) == 1.0
    assert quality.area_ratios(track).shape == (3,)


def test_gaps_are_between_masks_only() -> None:
    track = np.concatenate([empty(6), still(2), empty(3), still(1), empty(5), still(4), empty(9)])
    assert quality.longest_gap_s(track, fps=FPS) == pytest.approx(5 / 24)
    assert quality.persistence(track) == pytest.approx(7 / 30)
    assert quality.longest_gap_s(still(3), fps=FPS) == 0.0


@pytest.mark.parametrize("corner", [(0, 10), (50, 10), (20, 0), (20, 32)])
def test_touching_the_edge(corner: tuple[int, int]) -> None:
    track = np.stack([rectangle(*corner), rectangle(20, 10), empty(1)[0]])
    assert quality.edge_ratio(track) == 0.5
    inside = np.stack([rectangle(1, 1, 58, 38)])
    assert quality.edge_ratio(inside) == 0.0


def test_parts_without_specks() -> None:
    track = np.stack(
        [rectangle(2, 2) | rectangle(30, 20) | rectangle(50, 38, 1, 1), rectangle(2, 2)]
    )
    assert quality.mean_parts(track) == 1.5


def test_nothing_to_measure_is_none() -> None:
    for track in (empty(3), empty(0)):
        assert quality.persistence(track) == 0.0
        assert quality.longest_gap_s(track, fps=FPS) == 0.0
        assert quality.temporal_iou(track) is None
        assert quality.aligned_iou(track) is None
        assert quality.area_jump_ratio(track) is None
        assert quality.largest_area_jump(track) is None
        assert quality.edge_ratio(track) is None
        assert quality.mean_parts(track) is None
        assert quality.disagreement(track, track) is None
    assert quality.agreement(still(3), {}) is None
    assert quality.agreement(still(3), {1: []}) is None
    assert quality.agreements([], {0: [rectangle(0, 0)]}) == []


def test_forward_and_backward() -> None:
    other = still(4)
    other[3] = rectangle(25, 10)
    assert quality.disagreement(still(4), other) == pytest.approx(1 - (3 + 1 / 3) / 4)
    gone = np.concatenate([still(2), empty(2)])
    assert quality.disagreement(gone, gone) == 0.0
    assert quality.disagreement(gone, still(4)) == 0.5


def test_agreement_takes_the_best_match_of_each_frame() -> None:
    found = {0: [rectangle(40, 20), rectangle(20, 10)], 2: [rectangle(25, 10)], 3: []}
    assert quality.agreement(still(4), found) == pytest.approx((1 + 1 / 3) / 2)
    assert quality.agreement(np.concatenate([still(2), empty(2)]), found) == 0.5


def test_boxes_are_compared_with_the_masks_box() -> None:
    cross = rectangle(20, 14, 10, 1) | rectangle(24, 10, 2, 8)
    box: Box = (20.0, 10.0, 30.0, 18.0)
    assert quality.bounding_box(cross) == box
    assert quality.agreement(cross[None], {0: [box]}) == 1.0
    assert quality.agreement(empty(1), {0: [box]}) == 0.0


def test_two_tracks_cannot_agree_with_the_same_thing() -> None:
    right = np.repeat(rectangle(40, 20)[None], 2, axis=0)
    drifted = np.stack([rectangle(40, 20), rectangle(21, 10)])
    found = {0: [rectangle(40, 20), rectangle(20, 10)], 1: [rectangle(20, 10), rectangle(40, 20)]}
    assert quality.agreements([still(2), right], found) == [1.0, 1.0]
    assert quality.agreements([still(2), drifted], found) == pytest.approx([1.0, 0.5])
    assert quality.agreement(drifted, found) == pytest.approx((1 + 9 / 11) / 2)


def test_a_track_without_a_match_agrees_with_nothing() -> None:
    assert quality.agreements([still(1), empty(1)], {0: [rectangle(20, 10)]}) == [1.0, 0.0]
