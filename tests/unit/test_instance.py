"""From detections to one track, on a square whose mask is known in every frame."""

import numpy as np

from avipipe.annotators.base import Detection, Frames, Mask, PropagatedMasks
from avipipe.annotators.embedded.propagate import FlowPropagator
from avipipe.annotators.embedded.segment import GrabCutSegmenter
from avipipe.annotators.instance import (
    CycleConsistency,
    Instance,
    Seed,
    cycle_consistency,
    find_instance,
)
from tests.pictures import SIZE, overlap, square_on_wall, swing, texture

NUM_FRAMES = 60
SEED = 20


def detection(frame: int, mask_HW: Mask, score: float) -> Detection:
    rows, columns = np.nonzero(mask_HW)
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    x0, y0, x1, y1 = (float(edge) for edge in box)
    return Detection(frame, (x0, y0, x1, y1), "square", score, mask_HW)


def elsewhere(mask_HW: Mask) -> Mask:
    """As large, on the wall."""
    return np.roll(mask_HW, (-40, 60), axis=(0, 1))


def follow(frames_THWC: Frames, detections: list[Detection]) -> Instance:
    found = find_instance(
        frames_THWC,
        detections,
        segmenter=GrabCutSegmenter(),
        propagator=FlowPropagator(),
        max_seeds=3,
        min_agreement=0.8,
    )
    assert found is not None
    return found


def returned(frames_THWC: Frames, masks_THW: Mask, *, stretch: int = 12) -> CycleConsistency | None:
    """What comes back of a track, whoever has made it."""
    track = PropagatedMasks(masks_THW, np.ones(len(masks_THW), np.float32), 1.0)
    segment = GrabCutSegmenter().segment(frames_THWC[SEED], box=(0, 0, 40, 40))
    seed = Seed(detection(SEED, masks_THW[SEED], 1.0), segment)
    return cycle_consistency(
        frames_THWC, Instance(seed, track, None), FlowPropagator(), stretch=stretch
    )


def test_detections_count_as_far_as_they_can_be_believed() -> None:
    frames, masks = square_on_wall(swing(NUM_FRAMES))
    other_HW = np.zeros(SIZE, np.bool_)
    other_HW[90:114, 6:36] = True
    frames[:, other_HW] = texture(3, SIZE, hue=(60, 160, 60))[other_HW]
    good = [detection(frame, masks[frame], 0.8) for frame in (10, 30)]

    def agreement(score: float) -> float:
        wrong = [detection(frame, other_HW, score) for frame in (5, 50)]
        instance = follow(frames, good + wrong)
        assert instance.seed.detection.frame in (10, 30)
        assert overlap(instance.track.masks_THW[40], masks[40]) > 0.85
        assert instance.agreement is not None
        return instance.agreement

    assert agreement(0.02) > agreement(0.7) + 0.1


def test_a_track_that_keeps_to_its_thing_comes_back() -> None:
    frames, masks = square_on_wall(swing(NUM_FRAMES))
    back = returned(frames, masks)
    assert back is not None
    assert back.worst > 0.8
    assert back.mean > 0.8


def test_a_track_that_is_lost_on_the_way_does_not() -> None:
    """Though it was right for long, and is still where it is."""
    frames, masks = square_on_wall(swing(NUM_FRAMES))
    lost = masks.copy()
    lost[50:] = elsewhere(masks[50])
    assert overlap(lost[50], masks[50]) == 0.0
    back = returned(frames, lost)
    assert back is not None
    assert back.worst < 0.2
    assert back.mean < 0.9


def test_what_is_away_at_one_end_of_a_stretch_is_not_asked_back() -> None:
    frames, masks = square_on_wall(swing(NUM_FRAMES))
    gone = masks.copy()
    gone[:10] = gone[44:] = False
    back = returned(frames, gone, stretch=10)
    assert back is not None
    assert back.worst > 0.8
    gone[:SEED] = gone[SEED + 1 :] = False
    assert returned(frames, gone) is None
