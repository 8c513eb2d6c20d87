"""Localization, detection and segmentation of a hopping square that knocks when it lands."""

from fractions import Fraction

import numpy as np
import pytest

from avipipe.annotators.base import Frames, Localization, Mask, Wave
from avipipe.annotators.embedded.detect import MotionDetector
from avipipe.annotators.embedded.flow import DenseFlow, camera_flow, grey
from avipipe.annotators.embedded.localize import MotionLocalizer
from avipipe.annotators.embedded.segment import GrabCutSegmenter
from avipipe.errors import AnnotatorError
from tests.pictures import SIZE, hops, overlap, square_on_wall, still, swing, texture
from tests.sounds import RATE_HZ, knocks, noise

FPS = Fraction(24)
LANDINGS_S = (0.5, 1.2, 1.9, 2.61, 3.7, 4.4)
NUM_FRAMES = 120


def hopping() -> tuple[Frames, Mask]:
    return square_on_wall(hops(NUM_FRAMES, [round(at * FPS) for at in LANDINGS_S]))


def localize(frames: Frames, wav_N: Wave) -> Localization:
    localizer = MotionLocalizer()
    localizer.setup()
    return localizer.localize(frames, fps=FPS, wav_N=wav_N, sample_rate_hz=RATE_HZ)


def test_knocks_are_found_where_the_square_lands() -> None:
    frames, masks = hopping()
    found = localize(frames, knocks(LANDINGS_S))
    assert found.p_value is not None
    assert found.p_value < 0.02
    assert found.correlation is not None
    assert found.correlation > 0.5
    assert abs(found.details["offset_s"]) <= 0.09
    assert found.box is not None
    x0, y0, x1, y1 = found.box
    reach = np.asarray(masks.any(axis=0))
    assert reach[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))].mean() > 0.3
    assert found.heat_HW[reach].mean() > 10 * found.heat_HW[~reach].mean()


def test_late_knocks_are_heard_to_be_late() -> None:
    frames, _ = hopping()
    found = localize(frames, knocks([at + 0.25 for at in LANDINGS_S]))
    assert found.details["offset_s"] == pytest.approx(0.25, abs=0.09)
    assert found.details["offset_z"] > 2


def test_sound_at_other_times_is_not_believed() -> None:
    frames, _ = hopping()
    found = localize(frames, knocks((0.95, 1.6, 2.2, 3.1, 3.3, 4.05)))
    assert found.p_value is not None
    assert found.p_value > 0.1


def test_p_values_of_unrelated_noise_are_spread_evenly() -> None:
    frames, _ = square_on_wall(swing(72, period_frames=17))
    values = [localize(frames, noise(0.1, duration_s=3.0, seed=seed)).p_value for seed in range(12)]
    assert sum(value is not None and value <= 0.1 for value in values) <= 4
    assert sum(value is not None and value > 0.5 for value in values) >= 2


@pytest.mark.parametrize(
    ("frames", "wav_N"),
    [
        (still(NUM_FRAMES), knocks()),
        (hopping()[0], np.zeros(5 * RATE_HZ, np.float32)),
        (hopping()[0][:12], knocks()[: RATE_HZ // 2]),
        (hopping()[0][:1], knocks()),
    ],
    ids=["still", "silent", "short", "one frame"],
)
def test_what_cannot_be_told_is_unknown(frames: Frames, wav_N: Wave) -> None:
    found = localize(frames, wav_N)
    assert (found.correlation, found.p_value, found.margin, found.box) == (None,) * 4
    assert found.confidence is None
    assert found.heat_HW.shape == SIZE
    assert not found.heat_HW.any()
    assert found.details["motion_px"] >= 0.0


def test_motion_is_measured_without_the_camera() -> None:
    wall = texture(3, (200, 260), hue=(90, 90, 90))
    panned = np.stack([wall[20:140, 20 + 2 * n : 180 + 2 * n] for n in range(30)])
    found = localize(panned, knocks()[: 30 * RATE_HZ // 24])
    unit = 180 / 120
    assert found.details["camera_px"] == pytest.approx(2 * unit, rel=0.1)
    assert found.details["motion_px"] < 0.15


def test_the_camera_is_found_behind_a_moving_thing() -> None:
    wall = texture(3, (200, 260), hue=(90, 90, 90))
    here, there = wall[20:140, 20:180].copy(), wall[20:140, 23:183].copy()
    patch = texture(4, (50, 50), hue=(200, 80, 60))
    here[30:80, 30:80], there[30:80, 34:84] = patch, patch
    camera = camera_flow(DenseFlow()(grey(here), grey(there)))
    assert camera[..., 0].mean() == pytest.approx(-3.0, abs=0.3)
    assert np.abs(camera[..., 1]).mean() < 0.3


def test_no_frames_and_broken_sound_are_refused() -> None:
    with pytest.raises(AnnotatorError, match="at least one frame"):
        localize(still(1)[:0], knocks())
    with pytest.raises(AnnotatorError, match="finite"):
        localize(still(2), np.full(RATE_HZ, np.nan, np.float32))


def test_the_square_is_boxed_and_cut_out() -> None:
    frames, masks = hopping()
    found = localize(frames, knocks(LANDINGS_S))
    detections = MotionDetector().detect(frames, fps=FPS, prompts=["square"], localization=found)
    assert len({detection.frame for detection in detections}) >= 4
    assert [d.score for d in detections] == sorted((d.score for d in detections), reverse=True)
    best = detections[0]
    assert best.label == "square"
    segment = GrabCutSegmenter().segment(frames[best.frame], box=best.box, rough_HW=best.rough_HW)
    assert overlap(segment.mask_HW, masks[best.frame]) > 0.9


def test_nothing_is_boxed_without_a_place() -> None:
    frames = still(NUM_FRAMES)
    unknown = localize(frames, knocks())
    for localization in (None, unknown):
        assert not MotionDetector().detect(frames, fps=FPS, prompts=[], localization=localization)


def test_grabcut_cuts_the_square_out_of_a_box() -> None:
    frames, masks = square_on_wall([(40.0, 50.0)])
    segment = GrabCutSegmenter().segment(frames[0], box=(36, 46, 74, 84))
    assert overlap(segment.mask_HW, masks[0]) > 0.9
    assert segment.score is not None
    assert segment.score > 0.7


def test_grabcut_survives_boxes_without_anything_in_them() -> None:
    flat = np.full((*SIZE, 3), 128, np.uint8)
    for box in ((10.0, 10.0, 60.0, 60.0), (0.0, 0.0, 160.0, 120.0), (-5.0, -5.0, 3.0, 3.0)):
        segment = GrabCutSegmenter().segment(flat, box=box)
        assert segment.mask_HW.shape == SIZE
    with pytest.raises(AnnotatorError, match="expected a box inside"):
        GrabCutSegmenter().segment(flat, box=(200.0, 10.0, 260.0, 60.0))
