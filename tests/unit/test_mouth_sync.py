"""Mouths against sound: in step, out of step, still; on curves and on drawn faces."""

from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.faces.detect import Points
from avipipe.annotators.faces.sync import (
    MAX_LAG_S,
    MouthSync,
    mouth_motion,
    mouth_sync,
    sound_curves,
)
from tests.pictures import texture
from tests.sounds import RATE_HZ, noise

FPS = Fraction(24)
SIZE = (120, 120)
LANDMARKS = np.array([(45, 45), (75, 45), (60, 60), (48, 76), (72, 76)], np.float64)

Curve = npt.NDArray[np.float64]


def syllables(num_frames: int, *, seed: int = 0) -> Curve:
    """How far a mouth is open (T,), in [0, 1]: some four syllables a second, with pauses."""
    rng = np.random.default_rng(seed)
    opening = np.zeros(num_frames)
    at = 3.0
    while at < num_frames:
        height, width = rng.uniform(0.4, 1.0), rng.uniform(1.2, 2.2)
        opening += height * np.exp(-(((np.arange(num_frames) - at) / width) ** 2))
        at += rng.uniform(4.0, 8.0) if rng.random() < 0.8 else rng.uniform(10.0, 18.0)
    return np.asarray(np.clip(opening, 0.0, 1.0), np.float64)


def voice_of(opening_T: Curve, *, late_frames: int = 0) -> Wave:
    """Noise that is as loud as the mouth is open."""
    num_samples = round(len(opening_T) / FPS * RATE_HZ)
    times = np.arange(num_samples) / RATE_HZ * float(FPS) - 0.5 - late_frames
    loudness_N = np.interp(times, np.arange(len(opening_T)), opening_T)
    duration_s = num_samples / RATE_HZ
    voiced_N = loudness_N * noise(0.2, duration_s=duration_s, seed=1)
    return np.asarray(voiced_N + noise(duration_s=duration_s), np.float32)


def faces(
    opening_T: Curve, *, sway_px: Curve | None = None, grain: float = 1.0
) -> tuple[Frames, Points]:
    """A drawn face whose mouth opens, in a slightly noisy picture, and its landmarks."""
    rng = np.random.default_rng(2)
    skin = texture(4, SIZE, hue=(190, 150, 130))
    frames, landmarks = [], []
    for number, opening in enumerate(opening_T.tolist()):
        frame = skin.copy()
        for x, y in ((45, 45), (75, 45)):
            cv2.circle(frame, (x, y), 5, (40, 30, 30), -1)
        axes = (160, round(16 * (1 + 9 * opening)))
        cv2.ellipse(frame, (960, 76 * 16), axes, 0, 0, 360, (70, 20, 20), -1, cv2.LINE_AA, 4)
        shift = 0.0 if sway_px is None else float(sway_px[number])
        move = np.array([[1.0, 0.0, shift], [0.0, 1.0, 0.0]])
        frame = cv2.warpAffine(frame, move, SIZE[::-1], borderMode=cv2.BORDER_REPLICATE)
        grainy = frame + rng.normal(0.0, grain, frame.shape)
        frames.append(np.clip(grainy, 0, 255).astype(np.uint8))
        landmarks.append(LANDMARKS + np.array([shift, 0.0]))
    return np.stack(frames), np.stack(landmarks)


def compare(motion_T: Curve, wav_N: Wave) -> MouthSync | None:
    sound_TK = sound_curves(wav_N, sample_rate_hz=RATE_HZ, fps=FPS, num_frames=len(motion_T))
    return mouth_sync(motion_T, sound_TK, fps=FPS)


def found(motion_T: Curve, wav_N: Wave) -> MouthSync:
    sync = compare(motion_T, wav_N)
    assert sync is not None
    return sync


@pytest.fixture(scope="module")
def opening() -> Curve:
    return syllables(192)


@pytest.fixture(scope="module")
def motion(opening: Curve) -> Curve:
    return mouth_motion(*faces(opening))


def test_a_mouth_that_drives_the_sound(opening: Curve, motion: Curve) -> None:
    sync = found(motion, voice_of(opening))
    assert sync.p_value < 0.05
    assert sync.correlation > 0.3
    assert abs(sync.lag_s) <= 2 / FPS


@pytest.mark.parametrize("late_frames", [-3, 3])
def test_the_lag_is_positive_where_sound_is_late(
    opening: Curve, motion: Curve, late_frames: int
) -> None:
    in_time = found(motion, voice_of(opening))
    sync = found(motion, voice_of(opening, late_frames=late_frames))
    assert sync.p_value < 0.05
    assert sync.lag_s - in_time.lag_s == pytest.approx(late_frames / FPS, abs=1.01 / FPS)
    assert abs(sync.lag_s) <= MAX_LAG_S + 0.5 / FPS


def test_sound_of_the_other_half_of_the_clip(opening: Curve, motion: Curve) -> None:
    wav_N = voice_of(opening)
    sync = found(motion, np.roll(wav_N, len(wav_N) // 2))
    assert sync.p_value > 0.1


def test_chance_is_as_rare_as_it_says() -> None:
    """Of mouths and voices that have nothing to do with each other few seem to."""
    chances = []
    for seed in range(60):
        motion_T = np.abs(np.gradient(syllables(192, seed=seed)))
        chances.append(found(motion_T, voice_of(syllables(192, seed=1000 + seed))).p_value)
    assert np.mean(np.array(chances) <= 0.1) < 0.2
    assert 0.3 < np.mean(chances) < 0.7


def test_a_head_that_sways_to_the_sound_is_no_mouth(opening: Curve) -> None:
    sway_px = 6.0 * opening
    shut = np.zeros_like(opening)
    swaying, landmarks = faces(shut, sway_px=sway_px)
    sync = compare(mouth_motion(swaying, landmarks), voice_of(opening))
    assert sync is None or sync.correlation < 0.3


def test_a_speaking_head_may_sway(opening: Curve) -> None:
    sway_px = 5.0 * np.sin(np.arange(len(opening)) / 7.0)
    sync = found(mouth_motion(*faces(opening, sway_px=sway_px)), voice_of(opening))
    assert sync.p_value < 0.05


def test_what_cannot_be_told_is_none(opening: Curve, motion: Curve) -> None:
    still = mouth_motion(*faces(np.full(192, 0.4)))
    assert compare(still, voice_of(opening)) is None
    assert compare(motion, np.zeros(8 * RATE_HZ, np.float32)) is None
    assert compare(motion, np.full(8 * RATE_HZ, 0.5, np.float32)) is None
    assert compare(motion[:72], voice_of(opening[:72])) is None


def test_sound_may_be_shorter_or_longer_than_the_picture(motion: Curve, opening: Curve) -> None:
    wav_N = voice_of(opening)
    for length in (1, RATE_HZ, 20 * RATE_HZ):
        sound_TK = sound_curves(
            np.resize(wav_N, length), sample_rate_hz=RATE_HZ, fps=FPS, num_frames=192
        )
        assert sound_TK.shape == (192, 2)
        assert np.isfinite(sound_TK).all()
