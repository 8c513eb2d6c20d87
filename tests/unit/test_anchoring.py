"""Tracks that go astray, corrected by what is detected, on a square whose mask is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from avipipe.annotators.anchoring import Anchor, Anchoring
from avipipe.annotators.base import Detection, Frames, Mask, PropagatedMasks
from avipipe.annotators.embedded.propagate import FlowPropagator
from avipipe.annotators.embedded.segment import GrabCutSegmenter
from avipipe.annotators.mask_quality import bounding_box
from tests.pictures import SIZE, SQUARE_PX, overlap, square_on_wall, swing, texture

NUM_FRAMES = 48
STEP = 6


def sight(frame: int, mask_HW: Mask, label: str = "square", score: float = 0.8) -> Detection:
    box = bounding_box(mask_HW)
    assert box is not None
    return Detection(frame, box, label, score)


def sights(masks: Mask) -> list[Detection]:
    return [sight(n, masks[n]) for n in range(0, len(masks), STEP) if masks[n].any()]


def corrected(
    frames: Frames, carried: Mask, seen: Sequence[Detection], seed: int = 0
) -> tuple[Mask, list[Anchor]]:
    anchoring = Anchoring(
        frames,
        seen,
        seed=sight(seed, carried[seed]),
        seed_mask_HW=carried[seed],
        segmenter=GrabCutSegmenter(),
        propagator=FlowPropagator(),
    )
    quality = np.full(len(carried), 0.7, np.float32)
    track, anchors = anchoring.correct(PropagatedMasks(carried.copy(), quality, 0.7))
    assert np.all(track.quality_T[~track.masks_THW.any(axis=(1, 2))] == 0.0)
    return track.masks_THW, anchors


def mean_overlap(found: Mask, truth: Mask) -> float:
    return float(np.mean([overlap(a, b) for a, b in zip(found, truth, strict=True)]))


@pytest.fixture(scope="module")
def swinging() -> tuple[Frames, Mask]:
    return square_on_wall(swing(NUM_FRAMES, period_frames=48.0))


def with_another(frames: Frames, truth: Mask, *, hue: tuple[int, int, int]) -> tuple[Frames, Mask]:
    """A second square that stands still, well above the swinging one's path."""
    frames, other = frames.copy(), np.zeros_like(truth)
    other[:, 2 : 2 + SQUARE_PX, 10 : 10 + SQUARE_PX] = True
    patch = texture(2, SIZE, hue=hue)
    frames[other & ~truth] = np.broadcast_to(patch, frames.shape)[other & ~truth]
    return frames, other & ~truth


def test_a_mask_that_stays_behind_is_brought_back(swinging: tuple[Frames, Mask]) -> None:
    frames, truth = swinging
    drifted = truth.copy()
    drifted[13:] = truth[12]
    found, anchors = corrected(frames, drifted, sights(truth))
    assert anchors[0].detection.frame in (18, 24)
    assert mean_overlap(drifted, truth) < 0.6
    assert mean_overlap(found, truth) > 0.85


def test_so_it_is_before_the_seed(swinging: tuple[Frames, Mask]) -> None:
    frames, truth = swinging
    drifted = truth.copy()
    drifted[:35] = truth[36]
    found, anchors = corrected(frames, drifted, sights(truth), seed=47)
    assert anchors
    assert mean_overlap(found, truth) > 0.85


def test_a_track_that_fits_is_left_as_it_is(swinging: tuple[Frames, Mask]) -> None:
    frames, truth = swinging
    found, anchors = corrected(frames, truth, sights(truth))
    assert anchors == []
    assert np.array_equal(found, truth)


def test_another_thing_is_not_taken_for_the_lost_one(swinging: tuple[Frames, Mask]) -> None:
    frames, truth = swinging
    frames, other = with_another(frames, truth, hue=(60, 170, 60))
    drifted = truth.copy()
    drifted[13:] = truth[12]
    found, anchors = corrected(frames, drifted, sights(other))
    assert anchors == []
    # What has none of the square's colours is no mask of it.
    assert not found[24].any()


def test_of_two_alike_none_is_taken(swinging: tuple[Frames, Mask]) -> None:
    """The track is empty from early on, and both are equally far from where it ended."""
    frames, truth = square_on_wall([(65.0, 45.0)] * NUM_FRAMES)
    lost = truth.copy()
    lost[6:] = False
    frames = frames.copy()
    twins = np.zeros_like(truth)
    patch = frames[0][truth[0]].reshape(SQUARE_PX, SQUARE_PX, 3).copy()
    wall = square_on_wall([(-90.0, -90.0)])[0][0]
    for n in range(6, NUM_FRAMES):
        frames[n] = wall
        for x in (35, 95):
            frames[n, 45 : 45 + SQUARE_PX, x : x + SQUARE_PX] = patch
            twins[n, 45 : 45 + SQUARE_PX, x : x + SQUARE_PX] = True
    both = []
    for n in range(6, NUM_FRAMES, STEP):
        for half in (np.s_[:, :80], np.s_[:, 80:]):
            one = np.zeros_like(twins[n])
            one[half] = twins[n][half]
            both.append(sight(n, one))
    found, anchors = corrected(frames, lost, both)
    assert anchors == []
    assert not found[6:].any()


def test_identity_is_kept_through_a_crossing(swinging: tuple[Frames, Mask]) -> None:
    """The carried mask goes on with a green one that passes; both are seen all the time."""
    frames, truth = square_on_wall([(5.0 + 2.2 * n, 45.0) for n in range(NUM_FRAMES)])
    frames, other = frames.copy(), np.zeros_like(truth)
    green = texture(2, (SQUARE_PX, SQUARE_PX), hue=(60, 170, 60))
    for n in range(NUM_FRAMES):
        x = round(115 - 2.2 * n)
        frames[n, 45 : 45 + SQUARE_PX, x : x + SQUARE_PX] = green
        other[n, 45 : 45 + SQUARE_PX, x : x + SQUARE_PX] = True
    visible = truth & ~other
    swapped = visible.copy()
    swapped[25:] = other[25:]
    found, anchors = corrected(frames, swapped, sights(visible) + sights(other))
    assert anchors
    assert mean_overlap(found[36:], visible[36:]) > 0.8
    assert mean_overlap(swapped[36:], visible[36:]) < 0.1


def test_a_gap_is_a_gap(swinging: tuple[Frames, Mask]) -> None:
    """Hidden by a green wall for a while; the carried mask takes the wall for the thing."""
    frames, truth = square_on_wall([(65.0, 45.0)] * NUM_FRAMES)
    frames = frames.copy()
    hidden = slice(15, 30)
    frames[hidden, :, 50:110] = texture(4, (SIZE[0], 60), hue=(60, 170, 60))
    visible = truth.copy()
    visible[hidden] = False
    found, anchors = corrected(frames, truth, sights(visible))
    assert anchors == []
    assert np.array_equal(found, visible)


def test_weak_sights_of_another_name_do_not_count(swinging: tuple[Frames, Mask]) -> None:
    frames, truth = swinging
    drifted = truth.copy()
    drifted[13:] = truth[12]
    weak = [sight(n, truth[n], "chair", 0.25) for n in range(0, NUM_FRAMES, STEP)]
    assert corrected(frames, drifted, weak)[1] == []
