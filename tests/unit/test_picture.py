"""Bars, overlays, panels and the camera, on pictures that are put together here."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import cv2
import numpy as np
import pytest

from avipipe.annotators.base import Box, Frames
from avipipe.annotators.picture.bars import content_bounds
from avipipe.annotators.picture.measure import PictureLayout, blanked, measure_picture
from tests.pictures import square_on_wall, swing

HEIGHT, WIDTH, NUM_FRAMES = 180, 320, 48
WHOLE = (0.0, 0.0, 320.0, 180.0)
FPS = Fraction(24)


def measured(frames: Frames) -> PictureLayout:
    return measure_picture(frames, fps=FPS)


def noisy(frames: Frames) -> Frames:
    """With what a camera and a codec add."""
    rng = np.random.default_rng(9)
    grain = rng.normal(0.0, 1.5, (2 * HEIGHT, 2 * WIDTH, 1)).astype(np.float32)
    height, width = frames.shape[1:3]
    tops, lefts = rng.integers(0, HEIGHT, len(frames)), rng.integers(0, WIDTH, len(frames))
    return np.stack(
        [
            np.clip(frame + grain[top : top + height, left : left + width], 0, 255)
            for frame, top, left in zip(frames, tops, lefts, strict=True)
        ]
    ).astype(np.uint8)


@cache
def wall(seed: int, height: int, width: int) -> Frames:
    """Leaves of all sizes over each other, which is what natural pictures are like."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 128, np.uint8)
    base = rng.uniform(80, 170, 3)
    for radius in np.sort(4.0 * (1.0 - rng.uniform(0.0, 0.99, 2500)) ** -0.5)[::-1]:
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        axes = int(radius), max(1, int(radius * rng.uniform(0.4, 1.0)))
        colour = np.clip(base + rng.normal(0.0, 45.0) + rng.normal(0.0, 15.0, 3), 0, 255)
        cv2.ellipse(picture, centre, axes, rng.uniform(0, 180), 0, 360, colour.tolist(), -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.7))


@cache
def panned(
    *, seed: int = 1, size: tuple[int, int] = (HEIGHT, WIDTH), step_px: float = 2.0
) -> Frames:
    """A camera that goes over a wall, to the right and a little down."""
    height, width = size
    reach = int(abs(step_px) * NUM_FRAMES) + 2
    seen = wall(seed, height + reach, width + reach)
    frames = np.empty((NUM_FRAMES, height, width, 3), np.uint8)
    for number in range(NUM_FRAMES):
        x = step_px * number if step_px >= 0 else reach + step_px * number
        at = np.array([[1.0, 0.0, -x], [0.0, 1.0, -abs(step_px) * number / 4]])
        frames[number] = cv2.warpAffine(seen, at, (width, height))
    return frames


def room() -> Frames:
    """A camera that keeps still, and a square that moves before a wall with a post and a sign."""
    frames = square_on_wall(swing(NUM_FRAMES))[0]
    frames = np.stack([cv2.resize(frame, (WIDTH, HEIGHT)) for frame in frames])
    frames[:, :, 250:262] = (60, 40, 20)
    for frame in frames:
        cv2.putText(frame, "EXIT", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (250, 250, 250), 2)
    return frames


def night() -> Frames:
    """A black sky over a skyline, lit windows, a car that passes."""
    frames = np.full((NUM_FRAMES, HEIGHT, WIDTH, 3), 6, np.uint8)
    rng = np.random.default_rng(3)
    for left in range(0, WIDTH, 20):
        top = int(rng.integers(60, 140))
        frames[:, top:, left : left + 20] = 22
        frames[:, top + 6 : top + 10, left + 4 : left + 8] = (220, 200, 120)
    for number, frame in enumerate(frames):
        cv2.circle(frame, (4 * number, 165), 5, (255, 250, 220), -1)
    return noisy(frames)


def spotlit() -> Frames:
    """One thing that moves in the light, before a black ground."""
    frames = np.full((NUM_FRAMES, HEIGHT, WIDTH, 3), 3, np.uint8)
    for number, frame in enumerate(frames):
        cv2.ellipse(frame, (160 + number % 20, 100), (50, 70), 0, 0, 360, (180, 150, 120), -1)
    return noisy(frames)


def barred(box: tuple[int, int, int, int], *, colour: int = 0, seed: int = 1) -> Frames:
    """A moving picture within bars, scaled into place as a converter does."""
    left, top, right, bottom = box
    frames = np.full((NUM_FRAMES, HEIGHT, WIDTH, 3), colour, np.uint8)
    frames[:, top:bottom, left:right] = panned(seed=seed, size=(bottom - top, right - left))
    return frames


def lettered(frames: Frames, text: str, at: tuple[int, int], *, opacity: float = 1.0) -> Frames:
    drawn = frames.copy()
    for frame in drawn:
        over = frame.copy()
        cv2.putText(over, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 5, cv2.LINE_AA)
        cv2.putText(over, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2, cv2.LINE_AA)
        frame[:] = cv2.addWeighted(over, opacity, frame, 1 - opacity, 0)
    return drawn


@pytest.mark.parametrize(
    "box",
    [
        (0, 22, 320, 158),
        (40, 0, 280, 180),
        (110, 0, 210, 180),
        (48, 27, 272, 153),
        (30, 0, 320, 180),
    ],
    ids=["letterbox", "pillarbox", "upright", "window box", "one side"],
)
def test_bars_are_left_out(box: tuple[int, int, int, int]) -> None:
    assert measured(noisy(barred(box))).content == pytest.approx(box, abs=1)


def test_a_coloured_border_is_one_too() -> None:
    box = (24, 20, 296, 160)
    assert measured(noisy(barred(box, colour=200))).content == pytest.approx(box, abs=1)


def test_a_dark_scene_between_bars_keeps_all_of_itself() -> None:
    frames = np.zeros((NUM_FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    frames[:, 30:150] = noisy(night()[:, 40:160])
    top, bottom = measured(frames).content[1::2]
    assert top <= 31
    assert bottom >= 149


def test_blurred_sides_are_left_out() -> None:
    inner = panned(size=(HEIGHT, 100))
    frames = np.stack(
        [cv2.GaussianBlur(cv2.resize(frame, (WIDTH, HEIGHT)), (0, 0), 12) for frame in inner]
    )
    frames[:, :, 110:210] = inner
    assert measured(noisy(frames)).content == pytest.approx((110, 0, 210, 180), abs=2)


@pytest.mark.parametrize(
    "scene",
    [
        panned,
        room,
        night,
        spotlit,
        lambda: np.zeros((NUM_FRAMES, HEIGHT, WIDTH, 3), np.uint8),
        lambda: np.full((NUM_FRAMES, HEIGHT, WIDTH, 3), 255, np.uint8),
        lambda: 255 - spotlit(),
        lambda: panned()[:1],
    ],
    ids=["panned", "room", "night", "spotlit", "black", "white", "on white", "one frame"],
)
def test_what_has_no_bars_is_left_whole(scene: Callable[[], Frames]) -> None:
    assert measured(scene()).content == WHOLE


def inside(box: Box, other: Box, *, slack_px: float = 6.0) -> bool:
    return all(
        low >= edge - slack_px for low, edge in zip(box[:2], other[:2], strict=True)
    ) and all(high <= edge + slack_px for high, edge in zip(box[2:], other[2:], strict=True))


@pytest.mark.parametrize("opacity", [1.0, 0.6])
@pytest.mark.parametrize(
    ("text", "at", "place"),
    [
        ("TV7", (250, 30), (250, 12, 300, 34)),
        ("he said so", (90, 165), (90, 147, 225, 172)),
    ],
    ids=["logo", "caption"],
)
def test_what_stays_over_a_moving_picture_is_found(
    text: str, at: tuple[int, int], place: Box, opacity: float
) -> None:
    found = measured(noisy(lettered(panned(), text, at, opacity=opacity)))
    assert found.overlays
    assert all(inside(box, place) for box in found.overlays)
    covered = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in found.overlays)
    assert covered > 0.5 * (place[2] - place[0]) * (place[3] - place[1])
    assert found.num_panels == 1


def test_overlays_lie_within_the_bars() -> None:
    frames = noisy(lettered(barred((0, 22, 320, 158)), "TV7", (250, 52)))
    found = measured(frames)
    assert found.overlays
    assert all(inside(box, (250, 34, 300, 56)) for box in found.overlays)


def still() -> Frames:
    return np.repeat(panned()[:1], NUM_FRAMES, axis=0)


def zoomed() -> Frames:
    """A still that is zoomed into."""
    seen = wall(4, HEIGHT, WIDTH)
    zooms = [cv2.getRotationMatrix2D((150, 80), 0, 1 + 0.006 * n) for n in range(NUM_FRAMES)]
    return np.stack([cv2.warpAffine(seen, zoom, (WIDTH, HEIGHT)) for zoom in zooms])


def dimmed() -> Frames:
    """A room in which nothing moves and the light goes out."""
    light = np.linspace(1.0, 0.4, NUM_FRAMES)[:, None, None, None]
    return np.asarray(room()[:1] * light, np.uint8)


@pytest.mark.parametrize(
    "scene",
    [
        panned,
        still,
        zoomed,
        room,
        night,
        spotlit,
        dimmed,
        lambda: lettered(still(), "TV7", (9, 99)),
    ],
    ids=["panned", "still", "zoomed", "room", "night", "spotlit", "dimmed", "lettered still"],
)
def test_a_scene_has_no_overlays_and_is_one_picture(scene: Callable[[], Frames]) -> None:
    found = measured(noisy(scene()))
    assert found.overlays == ()
    assert found.num_panels == 1


def side_by_side() -> Frames:
    return np.concatenate(
        [panned(size=(HEIGHT, 160)), panned(seed=5, size=(HEIGHT, 160), step_px=-1.0)], axis=2
    )


def head(seed: int) -> Frames:
    """Somebody who moves his head before a wall, small."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(wall(seed, 90, 160)[None], NUM_FRAMES, axis=0)
    face, shape = wall(seed + 100, 90, 160), np.zeros((90, 160), np.uint8)
    cv2.ellipse(shape, (80, 55), (25, 32), 0, 0, 360, 1, -1)
    for frame in frames:
        at = np.array([[1.0, 0.0, rng.uniform(-6, 6)], [0.0, 1.0, rng.uniform(-3, 3)]])
        is_face = cv2.warpAffine(shape, at, (160, 90)) > 0
        frame[is_face] = cv2.warpAffine(face, at, (160, 90))[is_face]
    return frames


def call_of_four() -> Frames:
    rows = [np.concatenate([head(n), head(n + 1)], axis=2) for n in (20, 30)]
    frames = np.concatenate(rows, axis=1)
    frames[:, 89:91] = frames[:, :, 159:161] = 10
    return frames


def picture_in_picture() -> Frames:
    frames = panned(step_px=1.0).copy()
    frames[:, 100:160, 200:300] = panned(seed=6, size=(60, 100), step_px=-1.5)
    return frames


def facecam() -> Frames:
    frames = panned(step_px=1.0).copy()
    frames[:, :60, :90] = panned(seed=7, size=(60, 90), step_px=0.5)
    return frames


@pytest.mark.parametrize(
    ("scene", "num_panels"),
    [(side_by_side, 2), (call_of_four, 4), (picture_in_picture, 2), (facecam, 2)],
)
def test_pictures_in_a_picture_are_counted(scene: Callable[[], Frames], num_panels: int) -> None:
    assert measured(noisy(scene())).num_panels == num_panels


def test_a_still_that_is_panned_or_zoomed_leaves_nothing_once_the_camera_is_undone() -> None:
    pan, zoom = measured(noisy(panned())), measured(noisy(zoomed()))
    assert pan.camera.camera_px == pytest.approx(np.hypot(2.0, 0.5), rel=0.05)
    assert pan.camera.residual_ratio is not None
    assert pan.camera.residual_ratio < 0.1
    assert zoom.camera.camera_px > 0.3
    assert zoom.camera.residual_ratio is not None
    assert zoom.camera.residual_ratio < 0.15


def test_what_moves_by_itself_is_left() -> None:
    kept = measured(noisy(room())).camera
    assert kept.camera_px < 0.05
    assert kept.residual_ratio is not None
    assert kept.residual_ratio > 0.9
    frames = panned().copy()
    for number, frame in enumerate(frames):
        cv2.circle(frame, (40 + 5 * number, 90), 30, (255, 255, 255), -1)
    both = measured(noisy(frames)).camera
    assert both.camera_px == pytest.approx(np.hypot(2.0, 0.5), rel=0.1)
    assert both.residual_ratio is not None
    assert 0.15 < both.residual_ratio < 0.8


def test_a_picture_that_stands_still_has_no_change_to_share() -> None:
    found = measured(noisy(still()))
    assert found.changes.still_ratio == 1.0
    assert found.camera.residual_ratio is None
    assert found.camera.camera_px == 0.0


def test_repeated_pictures_are_counted() -> None:
    twice = np.repeat(panned()[::2], 2, axis=0)
    assert measured(twice).changes.still_ratio == pytest.approx(0.5, abs=0.02)
    assert measured(panned()).changes.still_ratio == 0.0


def test_a_missed_cut_is_a_jump() -> None:
    other = panned(seed=8).copy()
    other[:24] = panned()[:24]
    assert measured(other).changes.largest_jump > 2
    assert measured(panned()).changes.largest_jump < 1.3


def test_drawings_are_flat() -> None:
    drawn = np.full((NUM_FRAMES, HEIGHT, WIDTH, 3), (250, 220, 60), np.uint8)
    for number, frame in enumerate(drawn):
        cv2.circle(frame, (60 + 2 * number, 90), 40, (200, 30, 30), -1)
    assert measured(drawn).flat_ratio > 0.9
    assert measured(panned()).flat_ratio < 0.15


def test_pictures_in_which_nothing_can_be_told() -> None:
    found = measured(panned()[:1])
    assert (found.overlays, found.num_panels, found.camera.residual_ratio) == ((), 1, None)
    assert measured(np.zeros((3, 16, 16, 3), np.uint8)).content == (0.0, 0.0, 16.0, 16.0)


def test_blanked_places_stand_still() -> None:
    frames = panned()
    blank = blanked(frames, [(10.0, 20.0, 30.5, 40.0)])
    assert (blank[:, 20:40, 10:31] == 128).all()
    assert (blank[:, :20] == frames[:, :20]).all()
    assert blanked(frames, []) is frames


@pytest.mark.parametrize("num", [1, 2, 3])
@pytest.mark.parametrize("upright", [True, False])
def test_a_thin_line_on_black_is_no_picture_between_bars(num: int, upright: bool) -> None:
    """Such as a progress bar, or a waveform of silence."""
    grey_SHW = np.zeros((8, 90, 160), np.uint8)
    rng = np.random.default_rng(0)
    if upright:
        grey_SHW[:, :, 80 : 80 + num] = rng.integers(60, 255, (8, 90, num))
    else:
        grey_SHW[:, 40 : 40 + num] = rng.integers(60, 255, (8, num, 160))
    assert content_bounds(grey_SHW) == (0, 0, 160, 90)
