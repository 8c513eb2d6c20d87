"""Finds what sounds by its motion: the blocks of the picture that move when it is heard.

Impacts, barks and syllables have sudden onsets; engines, bows and voices have a level that goes
with how fast something moves. Both are correlated with the motion of every block over a few frames
of lag. Some block always correlates somewhat; so the same search is made with the sound shifted in
time by a second or more, and with the sound played backwards, where any agreement is an accident.
What counts is how seldom accidents do as well as the true sound.

Source: Kidron et al., Pixels that sound, CVPR 2005 (motion that explains sound); circular-shift
surrogates as in the statistics of time series.
"""

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Box, Frames, Localization, Wave
from avipipe.annotators.embedded.flow import Array
from avipipe.annotators.embedded.linear import product
from avipipe.annotators.embedded.motion import BlockMotion, block_motion
from avipipe.annotators.embedded.opencv import OpenCvAnnotator
from avipipe.annotators.signal import check_wave, onset_strength, rms_envelope, to_db
from avipipe.errors import AnnotatorError

Curves = npt.NDArray[np.float32]

MAX_LAG_S = 0.125
"""Lag of the sound within which it counts as that of the motion: 3 frames at 24 fps."""
MAX_OFFSET_S = 0.5
"""Lag up to which sound that comes late is looked for; a choice."""
_MIN_SHIFT_S = 1.0
"""Least shift of the sound that makes agreement an accident; a choice."""
# Accidents of each kind: together with the true sound they make p-values in steps of 1/161, or
# larger ones in short clips.
_NUM_SHIFTED = 80
_NUM_REVERSED = 80
_MIN_DURATION_S = 1.5
"""Shortest clip in which agreement is told from accident; a choice."""
_TREND_S = 1.0
"""Standard deviation of the Gaussian mean that is taken away: drifts agree by accident. A
choice."""
_LEVEL_RANGE_DB = 50.0
"""Under the loudest frame: quieter ones count as equally quiet, so that the noise floor moves
nothing. A choice."""
# Standard deviations of the smoothing in time: onsets are sharp, levels change more slowly.
# Choices.
_ONSET_BLUR_FRAMES = 0.6
_LEVEL_BLUR_FRAMES = 1.0
_MIN_SPEED_PX = 0.03
"""Mean speed of a block, px/frame, under which it is still; a choice."""
_MIN_SPEED_SHARE = 0.1
"""The same over the speed that 2 % of the blocks exceed; a choice."""
_MIN_BLOCKS = 3
"""Blocks up to which a place is no thing but a glint, or the flash of a shot; read off the
synthetic kinds pack and two_sources."""
_MOVING_PX = 0.1
"""Speed in 2 % of the blocks, px/frame, from which something moves in a frame; a choice."""
_REGION_SHARE = 0.6
"""Heat over the hottest from which a block belongs to a place; a choice."""
_MOVER_SPEED_SHARE = 0.25
"""Speed over that which 2 % of the blocks exceed, from which a block is of a mover; a choice."""


class MotionLocalizer(OpenCvAnnotator):
    """Localizes sound by correlating it with motion; the null distribution is shifted sound."""

    name = "motion"
    version = 2

    def localize(
        self, frames_THWC: Frames, *, fps: Fraction, wav_N: Wave, sample_rate_hz: int
    ) -> Localization:
        """Find the region whose motion goes with the sound.

        `details` always has `motion_px`, `motion_peak_px` (2 % of the picture move more),
        `moving_ratio` (share of frames in which something does), `camera_px`, `mover_share` (of all
        motion, what the largest connected part of the picture that moves has); where the test could
        be made also `onset_z`, `level_z` (against the null), `num_regions` (disjoint ones that
        pass it by themselves), `rival_share` (heat of the second hottest place over that of the
        hottest), and `offset_s`, `offset_z`: where the best lag within half a second
        lies and how far it stands out.

        Raises:
            AnnotatorError: no frames, or broken audio.
        """
        if frames_THWC.shape[0] == 0:
            raise AnnotatorError(message="expected at least one frame, got none")
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        motion = block_motion(frames_THWC)
        details = _motion_details(motion)
        size = (frames_THWC.shape[1], frames_THWC.shape[2])
        search = _Search.of(motion, wav_N, sample_rate_hz=sample_rate_hz, fps=fps)
        if search is None:
            return Localization(
                None, None, None, None, np.zeros(size, np.float32), None, None, details
            )
        return search.localization(size, details)


@dataclass(frozen=True, slots=True)
class _Search:
    """What is correlated: curves of B active blocks with curves of the sound, T frames each.

    `kinds` pairs them: onsets with sudden motion, levels with speed. In every sound array row 0 is
    the true sound and the others are accidents.
    """

    active_YX: npt.NDArray[np.bool_]
    kinds: tuple[tuple[Curves, Curves], ...]
    fps: Fraction

    @classmethod
    def of(
        cls, motion: BlockMotion, wav_N: Wave, *, sample_rate_hz: int, fps: Fraction
    ) -> "_Search | None":
        """Prepare a search; None for a still picture, a silent or a very short clip."""
        num_frames = motion.speed_TYX.shape[0]
        onset, level = _sound_curves(wav_N, num_frames, sample_rate_hz=sample_rate_hz, fps=fps)
        mean_speed = motion.speed_TYX.mean(axis=0)
        least_px = max(_MIN_SPEED_PX, _MIN_SPEED_SHARE * float(np.percentile(mean_speed, 98)))
        active_YX = mean_speed > least_px
        audible = float(onset.std()) > 1e-6 and float(level.std()) > 1e-6
        if num_frames < _MIN_DURATION_S * fps or active_YX.sum() < _MIN_BLOCKS or not audible:
            return None
        trend = _TREND_S * float(fps)
        sudden = [
            _curves(values, active_YX, blur=_ONSET_BLUR_FRAMES, trend=trend)
            for values in (motion.acceleration_TYX, motion.change_TYX)
        ]
        speed = _curves(motion.speed_TYX, active_YX, blur=_LEVEL_BLUR_FRAMES, trend=trend)
        kinds = (
            (
                np.asarray((sudden[0] + sudden[1] + speed) / 3, np.float32),
                _surrogates(_detrend(onset, trend), fps),
            ),
            (speed, _surrogates(_detrend(level, trend), fps)),
        )
        return cls(active_YX, kinds, fps)

    def localization(self, size: tuple[int, int], details: dict[str, float]) -> Localization:
        reach = round(MAX_LAG_S * self.fps)
        maps = [_correlate(motion, sound, reach) for motion, sound in self.kinds]
        peaks = [values_LBS.max(axis=(0, 1)) for values_LBS in maps]
        scores = [_standardise(peak_S) for peak_S in peaks]
        total_S = scores[0] + scores[1]
        # The true sound is one of the outcomes that chance could have given.
        p_value = float((total_S >= total_S[0]).mean())
        best_LB = sum(
            values_LBS[:, :, 0] / max(float(peak_S[1:].mean()), 0.05)
            for values_LBS, peak_S in zip(maps, peaks, strict=True)
        )
        lag_index, block = np.unravel_index(int(np.argmax(best_LB)), np.shape(best_LB))
        heat_YX = self._on_grid(np.maximum(np.max(best_LB, axis=0), 0.0))
        heat_YX /= max(float(heat_YX.max()), 1e-6)
        region_YX = _region(heat_YX, self._where(int(block)))
        mean_YX = self._on_grid(np.mean([m[lag_index, :, 0] for m in maps], axis=0))
        correlation = float(max(m[lag_index, block, 0] for m in maps))
        elsewhere = mean_YX[~_grown(region_YX) & self.active_YX]
        margin = float(mean_YX[region_YX].max() - elsewhere.max()) if elsewhere.size else None
        passing_YX = self._passing(maps)
        details |= {
            "onset_z": float(scores[0][0]),
            "level_z": float(scores[1][0]),
            "num_regions": float(_num_things(passing_YX)),
            "region_ratio": float(region_YX.mean()),
            "rival_share": max(
                _rival_share(heat_YX, heat_YX >= _REGION_SHARE), _rival_share(heat_YX, passing_YX)
            ),
            **self._offset(),
        }
        return Localization(
            correlation=correlation,
            p_value=p_value,
            margin=margin,
            lag_s=float((int(lag_index) - reach) / self.fps),
            heat_HW=_enlarge(heat_YX, size),
            box=_box(region_YX, size),
            confidence=1.0 - p_value,
            details=details,
        )

    def _offset(self) -> dict[str, float]:
        """Search lags up to half a second, for sound that comes with the motion but late."""
        reach = min(round(MAX_OFFSET_S * self.fps), self.kinds[0][0].shape[0] // 4)
        each_LS = [_correlate(motion, sound, reach).max(axis=1) for motion, sound in self.kinds]
        totals_LS = np.sum([_standardise(values, across=(0, 1)) for values in each_LS], axis=0)
        best = int(np.argmax(totals_LS[:, 0]))
        peaks_S = totals_LS.max(axis=0)
        return {
            "offset_s": float((best - reach) / self.fps),
            "offset_z": float(_standardise(peaks_S)[0]),
        }

    def _passing(self, maps: list[Curves]) -> npt.NDArray[np.bool_]:
        """The blocks that do better than 95 % of the best of all accidents, on the grid."""
        passed_B = np.zeros(int(self.active_YX.sum()), np.bool_)
        for values_LBS in maps:
            chance = np.percentile(values_LBS[:, :, 1:].max(axis=(0, 1)), 95)
            passed_B |= values_LBS[:, :, 0].max(axis=0) > chance
        return self._on_grid(passed_B.astype(np.float32)) > 0

    def _on_grid(self, values_B: npt.NDArray[np.floating]) -> Array:
        grid = np.zeros(self.active_YX.shape, np.float32)
        grid[self.active_YX] = values_B
        return grid

    def _where(self, block: int) -> tuple[int, int]:
        row, column = np.argwhere(self.active_YX)[block]
        return int(row), int(column)


def _motion_details(motion: BlockMotion) -> dict[str, float]:
    mean_speed = motion.speed_TYX.mean(axis=0)
    fast_T = np.percentile(motion.speed_TYX, 98, axis=(1, 2))[1:]
    return {
        "motion_px": float(mean_speed.mean()),
        "motion_peak_px": float(np.percentile(mean_speed, 98)),
        "moving_ratio": float((fast_T > _MOVING_PX).sum() / max(1, fast_T.size)),
        "camera_px": float(motion.camera_T.mean()),
        "mover_share": _mover_share(mean_speed),
    }


def _mover_share(speed_YX: Array) -> float:
    """Share of all motion that the largest connected part of the picture that moves has."""
    least_px = max(_MIN_SPEED_PX, _MOVER_SPEED_SHARE * float(np.percentile(speed_YX, 98)))
    parts, count = scipy.ndimage.label(speed_YX > least_px)
    if not count:
        return 0.0
    sums = [speed_YX[parts == n + 1].sum() for n in range(count)]
    return float(max(sums) / speed_YX.sum())


def _sound_curves(
    wav_N: Wave, num_frames: int, *, sample_rate_hz: int, fps: Fraction
) -> tuple[Array, Array]:
    """Onset strength, and level (half amplitude, half decibels), per frame."""
    onset = _fit(onset_strength(wav_N, sample_rate_hz=sample_rate_hz, fps=fps), num_frames)
    rms = _fit(rms_envelope(wav_N, sample_rate_hz=sample_rate_hz, fps=fps), num_frames)
    level_db = to_db(rms**2)
    level_db = np.maximum(level_db, level_db.max() - _LEVEL_RANGE_DB)
    level = _unit(rms) + _unit(level_db)
    return (
        scipy.ndimage.gaussian_filter1d(onset, _ONSET_BLUR_FRAMES),
        scipy.ndimage.gaussian_filter1d(level, _LEVEL_BLUR_FRAMES),
    )


def _fit(curve_T: Array, num_frames: int) -> Array:
    return np.pad(curve_T, (0, max(0, num_frames - curve_T.size)), mode="edge")[:num_frames]


def _unit(curve_T: Array) -> Array:
    return np.asarray((curve_T - curve_T.mean()) / (curve_T.std() + 1e-9), np.float32)


def _detrend(curves: Array, trend: float) -> Array:
    """Take away what changes slowly; along the first axis."""
    return np.asarray(curves - scipy.ndimage.gaussian_filter1d(curves, trend, axis=0), np.float32)


def _curves(
    values_TYX: Array, active_YX: npt.NDArray[np.bool_], *, blur: float, trend: float
) -> Curves:
    """Curves (T, B) of the active blocks, smooth, without trend, of length 1 each."""
    smooth = np.stack([cv2.GaussianBlur(values, (0, 0), 1.0) for values in values_TYX])
    chosen_TB = scipy.ndimage.gaussian_filter1d(smooth[:, active_YX], blur, axis=0)
    centred = _detrend(chosen_TB, trend)
    centred -= centred.mean(axis=0)
    return np.asarray(centred / (np.linalg.norm(centred, axis=0) + 1e-9))


def _surrogates(sound_T: Array, fps: Fraction) -> Curves:
    """The sound, shifted copies and reversed ones: (S, T), each of mean 0 and length 1."""
    sound_T = sound_T - sound_T.mean()
    sound_T /= np.linalg.norm(sound_T) + 1e-9
    num_frames = sound_T.size
    first = round(_MIN_SHIFT_S * fps)
    shifts = np.unique(np.linspace(first, num_frames - first, _NUM_SHIFTED).astype(int))
    if num_frames < 2.5 * first:
        shifts = shifts[:0]
    turns = np.unique(np.linspace(0, num_frames, _NUM_REVERSED, endpoint=False).astype(int))
    accidents = [np.roll(sound_T, shift) for shift in shifts]
    accidents += [np.roll(sound_T[::-1], turn) for turn in turns]
    return np.stack([sound_T, *accidents])


def _correlate(motion_TB: Curves, sound_ST: Curves, reach: int) -> Curves:
    """Correlation (L, B, S) at lags -reach … reach; at a positive one the sound comes later."""
    motion_BT = np.ascontiguousarray(motion_TB.T, np.float32)
    sound_TS = np.asarray(sound_ST.T, np.float32)
    return np.stack(
        [product(motion_BT, np.roll(sound_TS, -lag, axis=0)) for lag in range(-reach, reach + 1)]
    )


def _standardise(values: Curves, *, across: tuple[int, ...] = (0,)) -> Curves:
    """Distance from the mean of the accidents (all but the first along the last axis)."""
    chance = values[..., 1:]
    return np.asarray((values - chance.mean(axis=across)) / (chance.std(axis=across) + 1e-9))


def _region(heat_YX: Array, seed: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The blocks connected to the best one that are not much worse."""
    parts, _ = scipy.ndimage.label(heat_YX >= _REGION_SHARE)
    return np.asarray(parts == parts[seed]) if parts[seed] else heat_YX >= heat_YX.max()


def _rival_share(heat_YX: Array, hot_YX: npt.NDArray[np.bool_]) -> float:
    """Heat of the second hottest place over that of the hottest; places lie well apart."""
    places, count = scipy.ndimage.label(_grown(hot_YX))
    sums = np.sort([heat_YX[hot_YX & (places == n + 1)].sum() for n in range(count)])
    return float(sums[-2] / sums[-1]) if count > 1 else 0.0


def _num_things(hot_YX: npt.NDArray[np.bool_]) -> int:
    """Places that lie well apart; a few blocks (a glint, the flash of a shot) are no thing."""
    places, count = scipy.ndimage.label(_grown(hot_YX))
    return sum(int((hot_YX & (places == n + 1)).sum()) > _MIN_BLOCKS for n in range(count))


def _grown(region_YX: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(cv2.dilate(region_YX.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)


def _enlarge(grid_YX: Array, size: tuple[int, int]) -> Array:
    height, width = size
    heat = cv2.resize(grid_YX, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(heat, 0.0, 1.0), dtype=np.float32)


def _box(region_YX: npt.NDArray[np.bool_], size: tuple[int, int]) -> Box:
    rows, columns = np.flatnonzero(region_YX.any(axis=1)), np.flatnonzero(region_YX.any(axis=0))
    down, across = size[0] / region_YX.shape[0], size[1] / region_YX.shape[1]
    return (
        float(columns[0] * across),
        float(rows[0] * down),
        float((columns[-1] + 1) * across),
        float((rows[-1] + 1) * down),
    )
