"""The mover that stands out from the background, on made-up pictures."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from avipipe.annotators.base import Detection, Frames, Localization, Mask
from avipipe.annotators.embedded.background import find_front
from avipipe.annotators.embedded.detect import MotionDetector
from avipipe.annotators.embedded.foreground import detect_mover
from avipipe.annotators.embedded.register import displacement_px, register

FPS = Fraction(24)
HEIGHT, WIDTH, SIDE = 120, 200, 30
NUM_FRAMES = 60
Place = Callable[[float], tuple[float, float]]


def texture(height: int, width: int, seed: int) -> Frames:
    """Smooth blotches of all colours."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (height // 6, width // 6, 3))
    fine = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(fine, 0, 255), np.uint8)


def film(*places: Place, pan_px: float = 0.0) -> tuple[Frames, list[Mask]]:
    """Squares on a wall; `places` take the time, from 0 to 1, to the upper left corner of each."""
    wall = texture(HEIGHT, WIDTH + 300, 1) // 2 + 40
    squares = [np.roll(texture(SIDE, SIDE, 5 + n) // 2, n, axis=-1) for n in range(len(places))]
    for n, square in enumerate(squares):
        square[..., n % 3] = 255
    frames, masks = [], [np.zeros((NUM_FRAMES, HEIGHT, WIDTH), np.bool_) for _ in places]
    for frame in range(NUM_FRAMES):
        moved = np.array([[1, 0, -pan_px * frame], [0, 1, 0]], np.float32)
        picture = cv2.warpAffine(wall, moved, (WIDTH, HEIGHT))
        for square, mask_THW, place in zip(squares, masks, places, strict=True):
            x, y = (round(value) for value in place(frame / (NUM_FRAMES - 1)))
            x0, y0, x1, y1 = max(0, x), max(0, y), min(WIDTH, x + SIDE), min(HEIGHT, y + SIDE)
            if x1 > x0 and y1 > y0:
                picture[y0:y1, x0:x1] = square[y0 - y : y1 - y, x0 - x : x1 - x]
                mask_THW[frame, y0:y1, x0:x1] = True
        noise = np.random.default_rng(frame).normal(0, 2, picture.shape)
        frames.append(np.clip(picture + noise, 0, 255).astype(np.uint8))
    return np.stack(frames), masks


def heat_at(*boxes: tuple[int, int, int, int]) -> Localization:
    heat_HW = np.zeros((HEIGHT, WIDTH), np.float32)
    for x0, y0, x1, y1 in boxes:
        heat_HW[y0:y1, x0:x1] = 1.0
    return Localization(0.5, 0.01, 0.2, 0.0, heat_HW, None, 0.99)


def detect(frames_THWC: Frames, localization: Localization) -> list[Detection]:
    return detect_mover(frames_THWC, fps=FPS, label="square", localization=localization)


def overlaps(detections: list[Detection], masks_THW: Mask) -> list[float]:
    return [
        float((found.rough_HW & masks_THW[found.frame]).sum())
        / float((found.rough_HW | masks_THW[found.frame]).sum())
        for found in detections
        if found.rough_HW is not None
    ]


def across(time: float) -> tuple[float, float]:
    return 10 + 150 * time, 30 + 20 * time


def below(time: float) -> tuple[float, float]:
    return 160 - 150 * time, 85.0


FRINGE = heat_at((0, 20, 60, 30), (150, 80, 190, 86))
"""Heat beside the path of the square that goes across, and hardly on it."""


def test_a_square_that_moves_over_a_wall_is_found_in_several_frames() -> None:
    frames, (masks,) = film(across)
    found = detect(frames, FRINGE)
    assert len({detection.frame for detection in found}) == len(found) >= 4
    assert min(overlaps(found, masks)) > 0.85
    assert found[0].score == max(detection.score for detection in found) > 0.8
    x0, y0, x1, y1 = found[0].box
    assert (x1 - x0, y1 - y0) == pytest.approx((SIDE, SIDE), abs=4)


def test_the_motion_detector_says_the_same() -> None:
    frames, _ = film(across)
    found = MotionDetector().detect(frames, fps=FPS, prompts=["square"], localization=FRINGE)
    assert [detection.box for detection in found] == [
        detection.box for detection in detect(frames, FRINGE)
    ]


def test_a_square_is_found_while_the_camera_pans() -> None:
    frames, (masks,) = film(across, pan_px=3.0)
    found = detect(frames, FRINGE)
    assert len(found) >= 2
    assert min(overlaps(found, masks)) > 0.7


@pytest.mark.parametrize("which", [0, 1])
def test_of_two_movers_the_one_at_the_heat_is_found(which: int) -> None:
    frames, masks = film(lambda time: (10 + 150 * time, 5.0), below)
    found = detect(frames, heat_at([(0, 0, WIDTH, 15), (0, 105, WIDTH, HEIGHT)][which]))
    assert len(found) >= 3
    assert len({detection.frame for detection in found}) == len(found)
    assert min(overlaps(found, masks[which])) > 0.8


def test_two_movers_at_the_heat_are_rivals() -> None:
    frames, _ = film(lambda time: (10 + 150 * time, 5.0), below)
    found = detect(frames, heat_at((0, 0, WIDTH, HEIGHT)))
    assert len(found) == 2 * len({detection.frame for detection in found})


def test_a_square_that_leaves_and_comes_back_is_one_mover() -> None:
    frames, (masks,) = film(lambda time: (20 + 260 * (1 - abs(2 * time - 1)), 40.0))
    away = [frame for frame in range(NUM_FRAMES) if not masks[frame].any()]
    found = detect(frames, heat_at((60, 30, 160, 40)))
    assert away
    assert min(overlaps(found, masks)) > 0.8
    assert min(d.frame for d in found) < away[0] < away[-1] < max(d.frame for d in found)


def test_a_square_that_stays_in_its_place_is_no_mover() -> None:
    frames, _ = film(lambda time: (80 + 6 * np.sin(20 * time), 40.0))
    assert detect(frames, heat_at((70, 30, 120, 80))) == []


def test_nothing_is_said_where_nothing_moves() -> None:
    frames, _ = film(lambda _: (80.0, 40.0))
    assert detect(frames, heat_at((80, 40, 110, 70))) == []


def test_nothing_is_said_where_everything_changes() -> None:
    frames = np.stack([texture(HEIGHT, WIDTH, frame) for frame in range(NUM_FRAMES)])
    assert detect(frames, FRINGE) == []


@pytest.mark.parametrize("num_frames", [1, 2, 12])
def test_nothing_is_said_of_too_few_frames(num_frames: int) -> None:
    frames, _ = film(across)
    assert detect(frames[:num_frames], FRINGE) == []


def test_a_mover_far_from_what_sounds_is_not_taken() -> None:
    frames, _ = film(lambda time: (80 + 6 * np.sin(20 * time), 60.0), lambda t: (150 * t, 0.0))
    assert detect(frames, heat_at((75, 70, 120, 95))) == []


def test_nothing_is_said_where_nothing_moves_near_the_heat() -> None:
    frames, _ = film(lambda time: (10 + 150 * time, 5.0))
    far = heat_at((0, 110, 20, HEIGHT))
    assert detect(frames, replace(far, confidence=1.0)) == []


def test_pictures_are_registered_on_what_fills_most_of_them() -> None:
    wall = cv2.cvtColor(texture(HEIGHT, WIDTH + 60, 1), cv2.COLOR_RGB2GRAY)
    here, there = wall[:, :WIDTH].copy(), wall[:, 7 : WIDTH + 7].copy()
    thing = cv2.cvtColor(texture(60, 60, 2), cv2.COLOR_RGB2GRAY)
    here[30:90, 60:120], there[30:90, 80:140] = thing, thing
    matrix = register(here, there)
    assert matrix is not None
    assert matrix @ np.array([100.0, 50.0, 1.0]) == pytest.approx([93.0, 50.0, 1.0], abs=0.3)
    assert displacement_px(matrix, WIDTH, HEIGHT) == pytest.approx(7.0, abs=0.5)
    assert register(np.zeros_like(here), there) is None


def test_the_front_is_the_thing_and_not_the_place_that_it_left() -> None:
    frames, (masks,) = film(across)
    front = find_front(frames[::3], window=12)
    assert front is not None
    for gap_HW, mask_HW in zip(front.gap_THW, masks[::3], strict=True):
        assert (gap_HW[mask_HW] > 1.0).mean() > 0.75
        assert (gap_HW[~mask_HW] > 1.0).mean() < 0.03
