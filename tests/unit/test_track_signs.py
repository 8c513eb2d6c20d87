"""Signs of good and of bad tracks, on a square whose mask is known."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from avipipe.annotators.base import Detection, FrameMask, Frames, Mask, PropagatedMasks
from avipipe.annotators.embedded.propagate import FlowPropagator
from avipipe.annotators.instance import Instance, Seed, cycle_consistency
from avipipe.annotators.mask_quality import bounding_box
from avipipe.annotators.track_signs import predicted_jf, signs
from tests.pictures import square_on_wall, swing

NUM_FRAMES = 36
STEP = 6


def sights(masks: Mask) -> list[Detection]:
    boxes = [(n, bounding_box(masks[n])) for n in range(0, len(masks), STEP)]
    return [Detection(n, box, "square", 0.8) for n, box in boxes if box is not None]


def told(frames: Frames, masks: Mask, seen: Sequence[Detection]) -> dict[str, float | None]:
    quality = np.where(masks.any(axis=(1, 2)), 0.8, 0.0).astype(np.float32)
    seed = Seed(seen[0], FrameMask(masks[0], 0.9))
    instance = Instance(seed, PropagatedMasks(masks, quality, 0.8), None)
    returned = cycle_consistency(frames, instance, FlowPropagator(), stretch=48)
    return signs(frames, instance, seen, returned)


def test_a_true_track_is_predicted_to_be_better_than_a_lost_one() -> None:
    frames, truth = square_on_wall(swing(NUM_FRAMES, period_frames=48.0))
    stuck = truth.copy()
    stuck[10:] = truth[9]
    late = truth.copy()
    late[24:] = truth[23]
    predictions = [predicted_jf(told(frames, each, sights(truth))) for each in (truth, late, stuck)]
    assert predictions[0] > 0.8
    assert all(better > worse + 0.03 for better, worse in pairwise(predictions))


def test_each_sign_tells_its_own_trouble() -> None:
    frames, truth = square_on_wall(swing(NUM_FRAMES, period_frames=48.0))
    good = told(frames, truth, sights(truth))
    gone = truth.copy()
    gone[12:24] = False
    flickering = truth.copy()
    flickering[::2, :, :80] = False
    elsewhere = truth.copy()
    elsewhere[6:] = np.roll(truth[6:], (-40, 60), axis=(1, 2))
    for bad, names in (
        (gone, ("persistence", "low_trust")),
        (flickering, ("steadiness", "return")),
        (elsewhere, ("likeness", "low_likeness", "fit", "low_fit")),
    ):
        signs_of_bad = told(frames, bad, sights(truth))
        for name in names:
            worse, better = signs_of_bad[name], good[name]
            assert worse is not None
            assert better is not None
            assert worse < better - 0.1, name


def test_what_cannot_be_told_says_nothing() -> None:
    frames, truth = square_on_wall(swing(NUM_FRAMES))
    seen = sights(truth)[:1]
    known = told(frames, truth, seen)
    assert known["agreement"] is None
    assert predicted_jf(known) == predicted_jf({k: v for k, v in known.items() if v is not None})
    only = truth.copy()
    only[1:] = False
    lone = told(frames, only, seen)
    assert lone["return"] is None
    assert lone["steadiness"] is None
    assert 0.0 <= predicted_jf(lone) <= 1.0


def test_predictions_stay_in_range() -> None:
    assert predicted_jf(dict.fromkeys(known_signs(), 100.0)) == 1.0
    assert predicted_jf(dict.fromkeys(known_signs(), -100.0)) == 0.0


def known_signs() -> list[str]:
    frames, truth = square_on_wall(swing(6))
    return list(told(frames, truth, sights(truth)))
