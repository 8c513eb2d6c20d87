"""Tests whether a mouth moves with the sound, apart from whether it looks like speaking.

A network that was trained to tell speaking faces says "speaking" of a dubbed one too. So the motion
of the mouth, beyond that of the rest of the face, is correlated with the level and the onsets of
the sound over lags of up to 0.2 s; and then the same is done with the sound shifted by a second or
more or played backwards, where any agreement is an accident.

Source: Hershey and Movellan, Audio vision: using audio-visual synchrony to locate sounds, NIPS
1999; circular-shift surrogates as in the statistics of time series.
"""

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.faces.detect import Points
from avipipe.annotators.signal import onset_strength, rms_envelope, to_db

Curve = npt.NDArray[np.float64]
Pictures = npt.NDArray[np.float32]

MAX_LAG_S = 0.2
"""Lag of sound and lips that counts as synchronous. A choice, just beyond the 0.185 s of late sound
that ITU-R BT.1359 calls acceptable."""
MIN_DURATION_S = 3.5
"""Shortest test: of less there are so few shifts that the best p-value is 0.1."""
_MIN_SHIFT_S = 1.0
"""Least shift of the sound that makes agreement an accident: several syllables. A choice."""
_LEVEL_RANGE_DB = 50.0
"""Under the loudest frame: quieter ones count as equally quiet, so that the noise floor moves
nothing. A choice."""
_TREND_S = 1.0
"""Standard deviation of the Gaussian mean that is taken away: drifts agree by accident. A
choice."""
# Standard deviations of the smoothing in time: of the curves, of landmarks, which jitter, and of
# pixels. Choices.
_BLUR_FRAMES = 1.0
_LANDMARK_BLUR_FRAMES = 2.0
_MOTION_BLUR_FRAMES = 0.6
_LEAST_CHANGE = 0.01
"""Mean change of the mouth from frame to frame over the contrast of the face."""
_LEAST_LEVEL_DB = 1.0
"""Range of levels under which a sound is steady, and nothing can be told; a choice."""
_SIZE_PX = 64
"""Side of the picture in which the face is held still; a choice, enough for lips to be seen."""
_FACE = np.array([(20, 20), (44, 20), (32, 34), (23, 46), (41, 46)], np.float64)
"""Where the landmarks of `detect.Face` are in a picture of 64 x 64."""
# Parts of that picture, as frames, rows and columns: around the mouth corners of `_FACE`, and above
# the nose.
_MOUTH = np.s_[:, 36:62, 12:52]
_REST = np.s_[:, 6:34, 6:58]


@dataclass(frozen=True, slots=True)
class MouthSync:
    """How the motion of a mouth goes with the sound.

    Attributes:
        correlation: mean of those with level and onsets, in [-1, 1], at the best lag.
        p_value: share of shifted and reversed sound that does at least as well.
        lag_s: positive where the sound is late.
    """

    correlation: float
    p_value: float
    lag_s: float


def mouth_sync(motion_T: Curve, sound_TK: Curve, *, fps: Fraction) -> MouthSync | None:
    """Compare the motion of a mouth with curves of the sound in the same frames.

    Returns:
        None where nothing can be told: a still mouth, a steady sound, or less than 3.5 s.
    """
    num_frames = len(motion_T)
    if num_frames < MIN_DURATION_S * fps or motion_T.std() == 0 or not sound_TK.std(axis=0).all():
        return None
    motion_T1 = _normal(motion_T[:, None], fps)
    sound_TK = _normal(sound_TK, fps)
    reach = round(MAX_LAG_S * fps)
    true_T = _at_every_shift(motion_T1, sound_TK)
    best_T, backwards_T = (
        np.max([np.roll(curve_T, -lag) for lag in range(-reach, reach + 1)], axis=0)
        for curve_T in (true_T, _at_every_shift(motion_T1, sound_TK[::-1]))
    )
    apart = round(_MIN_SHIFT_S * fps)
    accidents = np.concatenate([best_T[apart : num_frames - apart + 1], backwards_T])
    # One peak is the best in a whole window of shifts; so the true sound counts as such a window.
    own = 2 * reach + 1
    as_good = own + int((accidents >= best_T[0]).sum())
    lag = int(np.argmax(np.roll(true_T, reach)[:own])) - reach
    return MouthSync(
        correlation=float(best_T[0]),
        p_value=as_good / (own + accidents.size),
        lag_s=float(lag / fps),
    )


def mouth_motion(frames_THWC: Frames, landmarks_T52: Points) -> Curve:
    """How much the mouth moves in each frame (T,), beyond what goes with the rest of the face.

    All zero where it stands still. The face is held still by its landmarks first.
    """
    face_TYX = _steady_face(frames_THWC, landmarks_T52)
    contrast = float(face_TYX.std(axis=(1, 2)).mean()) + 1.0
    mouth_T, rest_T = (_change(face_TYX[part]) / contrast for part in (_MOUTH, _REST))
    if mouth_T.mean() < _LEAST_CHANGE:
        return np.zeros_like(mouth_T)
    mouth_T, rest_T = (np.log(change_T + _LEAST_CHANGE) for change_T in (mouth_T, rest_T))
    rest_T = rest_T - rest_T.mean()
    shared = float(mouth_T @ rest_T) / (float(rest_T @ rest_T) + 1e-9)
    return np.asarray(mouth_T - shared * rest_T, np.float64)


def sound_curves(wav_N: Wave, *, sample_rate_hz: int, fps: Fraction, num_frames: int) -> Curve:
    """Level in dB and onset strength in each video frame (T, 2); constant where all is silent."""
    level_db = to_db(rms_envelope(wav_N, sample_rate_hz=sample_rate_hz, fps=fps) ** 2)
    level_db = np.maximum(level_db, level_db.max() - _LEVEL_RANGE_DB)
    onset = onset_strength(wav_N, sample_rate_hz=sample_rate_hz, fps=fps)
    sound_TK = np.stack([level_db, onset], axis=1).astype(np.float64)
    if np.ptp(level_db) < _LEAST_LEVEL_DB:
        sound_TK[:] = 0.0
    return np.pad(sound_TK, ((0, max(0, num_frames - len(sound_TK))), (0, 0)), mode="edge")[
        :num_frames
    ]


def _at_every_shift(motion_T1: Curve, sound_TK: Curve) -> Curve:
    """Mean correlation (T,) when the sound is turned back by 0 … T - 1 frames."""
    spectrum_TK = np.fft.rfft(motion_T1, axis=0).conj() * np.fft.rfft(sound_TK, axis=0)
    return np.asarray(np.fft.irfft(spectrum_TK, len(motion_T1), axis=0).mean(axis=1), np.float64)


def _normal(curves_TK: Curve, fps: Fraction) -> Curve:
    """Smooth, without slow trends, of mean 0 and length 1 each."""
    smooth_TK = scipy.ndimage.gaussian_filter1d(curves_TK, _BLUR_FRAMES, axis=0)
    smooth_TK = smooth_TK - scipy.ndimage.gaussian_filter1d(
        smooth_TK, _TREND_S * float(fps), axis=0
    )
    smooth_TK -= smooth_TK.mean(axis=0)
    return np.asarray(smooth_TK / (np.linalg.norm(smooth_TK, axis=0) + 1e-9), np.float64)


def _steady_face(frames_THWC: Frames, landmarks_T52: Points) -> Pictures:
    """The face in grey (T, 64, 64), its landmarks in the same place in every frame."""
    smooth_T52 = scipy.ndimage.gaussian_filter1d(
        landmarks_T52, _LANDMARK_BLUR_FRAMES, axis=0, mode="nearest"
    )
    faces = []
    for frame_HWC, landmarks_52 in zip(frames_THWC, smooth_T52, strict=True):
        turn_23 = _similarity(landmarks_52, 2 * _FACE)
        size = 2 * _SIZE_PX, 2 * _SIZE_PX
        large = cv2.warpAffine(frame_HWC, turn_23, size, borderMode=cv2.BORDER_REPLICATE)
        small = cv2.resize(large, (_SIZE_PX, _SIZE_PX), interpolation=cv2.INTER_AREA)
        faces.append(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
    return np.stack(faces).astype(np.float32)


def _similarity(from_N2: Points, to_N2: Points) -> Points:
    """Rotation, scale and shift (2, 3) that bring points nearest to others (Umeyama 1991)."""
    middle, goal = from_N2.mean(axis=0), to_N2.mean(axis=0)
    centred, aimed = from_N2 - middle, to_N2 - goal
    # Points as complex numbers: one factor turns and scales them.
    before, after = centred @ (1, 1j), aimed @ (1, 1j)
    factor = np.vdot(before, after) / np.vdot(before, before)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.hstack([turn, (goal - turn @ middle)[:, None]])


def _change(pictures_TYX: Pictures) -> Curve:
    """Mean change of a pixel since the frame before (T,); that of the second frame comes first."""
    smooth_TYX = scipy.ndimage.gaussian_filter1d(pictures_TYX, _MOTION_BLUR_FRAMES, axis=0)
    change = np.abs(np.diff(smooth_TYX, axis=0)).mean(axis=(1, 2))
    return np.concatenate([change[:1], change]).astype(np.float64)
