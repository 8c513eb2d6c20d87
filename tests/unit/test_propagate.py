"""The propagator on a square whose mask is known in every frame."""

import numpy as np
import pytest

from avipipe.annotators.base import PropagatedMasks
from avipipe.annotators.embedded.propagate import FlowPropagator
from avipipe.errors import AnnotatorError
from tests.pictures import SIZE, SQUARE_PX, overlap, square_on_wall, swing


def propagate(
    corners: list[tuple[float, float]], seed_frame: int
) -> tuple[PropagatedMasks, list[float]]:
    frames, masks = square_on_wall(corners)
    propagator = FlowPropagator()
    propagator.setup()
    track = propagator.propagate(frames, seed_frame=seed_frame, seed_mask_HW=masks[seed_frame])
    return track, [overlap(a, b) for a, b in zip(track.masks_THW, masks, strict=True)]


@pytest.mark.parametrize("seed_frame", [0, 17, 35])
def test_a_swinging_square_is_followed_both_ways(seed_frame: int) -> None:
    track, overlaps = propagate(swing(36), seed_frame)
    assert min(overlaps) > 0.85
    assert overlaps[seed_frame] == 1.0
    assert track.quality_T[seed_frame] == 1.0
    assert track.quality_T.min() > 0.4


def test_the_mask_does_not_drift_in_a_long_clip() -> None:
    _, overlaps = propagate(swing(150, period_frames=36), 0)
    assert min(overlaps[-24:]) > 0.85


def test_a_square_that_leaves_is_gone_and_found_when_it_returns() -> None:
    out = [(65.0 + 7.0 * n, 45.0) for n in range(16)]
    away = [(SIZE[1] + SQUARE_PX * 2.0, 45.0)] * 12
    track, overlaps = propagate(out + away + out[::-1], 0)
    gone = slice(len(out) + 2, len(out) + len(away) - 1)
    assert not track.masks_THW[gone].any()
    assert track.quality_T[gone].max() == 0.0
    assert min(overlaps[-10:]) > 0.8


def test_a_square_that_returns_elsewhere_is_found() -> None:
    out = [(100.0 + 6.0 * n, 20.0) for n in range(12)]
    away = [(400.0, 20.0)] * 30
    back = [(-SQUARE_PX + 6.0 * n, 80.0) for n in range(14)]
    _, overlaps = propagate(out + away + back, 0)
    assert min(overlaps[-5:]) > 0.75


def test_an_empty_seed_gives_an_empty_track_of_unknown_confidence() -> None:
    frames, _ = square_on_wall(swing(4))
    track = FlowPropagator().propagate(frames, seed_frame=1, seed_mask_HW=np.zeros(SIZE, np.bool_))
    assert not track.masks_THW.any()
    assert track.confidence is None


def test_a_seed_of_one_pixel_and_one_of_the_whole_picture_are_carried() -> None:
    frames, _ = square_on_wall(swing(6))
    dot = np.zeros(SIZE, np.bool_)
    dot[60, 80] = True
    for seed in (dot, np.ones(SIZE, np.bool_)):
        track = FlowPropagator().propagate(frames, seed_frame=0, seed_mask_HW=seed)
        assert track.masks_THW.shape == frames.shape[:3]
        assert (track.masks_THW[0] == seed).all()
    assert track.masks_THW.mean() > 0.95


def test_masks_come_at_the_size_of_large_frames() -> None:
    frames, masks = square_on_wall(swing(5))
    large = frames.repeat(5, axis=1).repeat(5, axis=2)
    seed = masks[2].repeat(5, axis=0).repeat(5, axis=1)
    track = FlowPropagator().propagate(large, seed_frame=2, seed_mask_HW=seed)
    truth = masks.repeat(5, axis=1).repeat(5, axis=2)
    assert min(overlap(a, b) for a, b in zip(track.masks_THW, truth, strict=True)) > 0.85


@pytest.mark.parametrize(("seed_frame", "size"), [(9, SIZE), (-1, SIZE), (0, (60, 80))])
def test_a_seed_that_does_not_fit_is_refused(seed_frame: int, size: tuple[int, int]) -> None:
    frames, _ = square_on_wall(swing(4))
    with pytest.raises(AnnotatorError, match="expected a mask of size"):
        FlowPropagator().propagate(
            frames, seed_frame=seed_frame, seed_mask_HW=np.ones(size, np.bool_)
        )
