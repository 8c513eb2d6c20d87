"""Boxes what sounds, from the heat of a localization and from what moves with the hot place.

The heat says where motion goes with the sound: at a mouth, or where a ball meets the floor. The
thing itself is larger. So in a few frames of strong motion, motion is summed along the path of each
pixel over half a second before and after; what the pixel shows must stay the same on the way, so
that ground which the thing passes over does not count. The connected part of this map that holds
the hot place is the thing.

All this is for things that keep their place. One that moves about stands out from the background as
a whole: such a mover is looked for first.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import ActiveSpeakers, Box, Detection, Frames, Heat, Localization, Mask
from avipipe.annotators.embedded.flow import (
    Array,
    DenseFlow,
    Size,
    camera_flow,
    fit_size,
    follow,
    grey,
    pixel_grid,
    shrink,
)
from avipipe.annotators.embedded.foreground import detect_mover
from avipipe.annotators.embedded.opencv import OpenCvAnnotator

_SHORT_SIDE_PX = 180
"""Working size, that of `motion.SHORT_SIDE_PX`; lengths and areas in pixels hold at it."""
_NUM_FRAMES = 5
"""Frames in which the thing is boxed, one in each fifth of the clip; a choice."""
_WINDOW_S = 0.5
"""How far before and after a frame motion is summed along paths; a choice."""
_SAME_COLOUR = 40.0
"""Colour gap, in levels of 255, at which a path counts 1/e of one that still shows the same; a
choice."""
_OTHER_COLOUR = 60.0
"""Gap in levels from which the colour is simply another; a choice."""
_COLOUR_NOISE = 6.0
"""Gap in levels that is added for each step, so that noise and coding decide nothing; a choice."""
_MIN_MOTION_PX = 0.05
"""Least speed that is motion, px/frame, where the rest of the picture is quite still; a choice."""
_NOISE_SIGMAS = 4.0
"""Standard deviations over the speed of the stiller half from which something moves: of Gaussian
noise 3 pixels in 100,000 pass."""
_OTSU_ROUNDS = 2
"""How often a part is split from its surroundings, each time from those of what is left; a
choice."""
_MIN_AREA_PX = 30
"""Least area of a part; less is a speck. A choice: 0.05 % of a 16:9 picture."""
_RIVAL_SHARE = 0.5
"""Hot motion of another part over that of the best from which it is a detection too; a choice."""
_CLEARLY_TWO = 0.8
"""Share of the variance of log speed that a split in two must explain: of a Gaussian one it
explains 0.64, of an even spread 0.75."""
_MIN_FAST_SHARE = 0.25
"""Least area of the faster part over the silhouette's: a smaller one is a limb, not the thing. A
choice; leaving dragged ground out raised the mean IoU on synthetic clips from 0.899 to 0.914."""


class MotionDetector(OpenCvAnnotator):
    """Detects the moving thing that holds the place where motion goes with the sound."""

    name = "motion"
    version = 4

    def detect(
        self,
        frames_THWC: Frames,
        *,
        fps: Fraction,
        prompts: Sequence[str],
        localization: Localization | None,
        speakers: ActiveSpeakers | None = None,
    ) -> list[Detection]:
        """Detect it in up to five frames, best first.

        The score is the hot motion in the box's silhouette, over all that there is in the frame
        that has most: where little moves, little is known. A frame has several detections where
        disjoint parts have at least half as much of it as the best. There are none without a
        localization that knows a place.
        """
        if localization is None or not localization.heat_HW.any() or len(frames_THWC) < 2:
            return []
        label = prompts[0] if prompts else "object"
        movers = detect_mover(frames_THWC, fps=fps, label=label, localization=localization)
        if movers:
            return movers
        full = (frames_THWC.shape[2], frames_THWC.shape[1])
        size = fit_size(full, _SHORT_SIDE_PX / min(full))
        heat_HW = cv2.resize(localization.heat_HW, size, interpolation=cv2.INTER_LINEAR)
        window = max(1, round(_WINDOW_S * fps))
        found: list[tuple[int, Mask, float]] = []
        most = 1e-6
        for frame in _sharp_moments(frames_THWC, heat_HW, window):
            motion_HW = _motion_along_paths(frames_THWC, frame, size, window)
            hot_HW = _hot_motion(motion_HW, heat_HW)
            most = max(most, float(hot_HW.sum()))
            for silhouette_HW in _things(motion_HW, hot_HW):
                mass = float(hot_HW[silhouette_HW].sum())
                found.append((frame, _enlarge(silhouette_HW, full), mass))
        detections = [
            Detection(frame, _box(rough_HW), label, mass / most, rough_HW)
            for frame, rough_HW, mass in found
        ]
        return sorted(detections, key=lambda detection: -detection.score)


def _sharp_moments(frames_THWC: Frames, heat_HW: Heat, window: int) -> list[int]:
    """In each fifth of the clip the frame that changes least, in hot places, amid most change.

    Much motion around it shows the thing; in the frame itself it would only be blurred.
    """
    num_frames = len(frames_THWC)
    size = fit_size((heat_HW.shape[1], heat_HW.shape[0]), 0.25)
    hot_HW = shrink(heat_HW, size)
    change = np.zeros(num_frames, np.float32)
    previous = grey(shrink(frames_THWC[0], size))
    for frame in range(1, num_frames):
        current = grey(shrink(frames_THWC[frame], size))
        change[frame] = float((cv2.absdiff(current, previous) * hot_HW).sum())
        previous = current
    around = scipy.ndimage.gaussian_filter1d(change, window / 2)
    worth = around / (scipy.ndimage.gaussian_filter1d(change, 1.0) + change.mean() + 1e-6)
    margin = num_frames // 20
    edges = np.linspace(margin, num_frames - margin, min(_NUM_FRAMES, num_frames) + 1).astype(int)
    return [int(start + worth[start:end].argmax()) for start, end in pairwise(edges) if end > start]


def _motion_along_paths(frames_THWC: Frames, seed: int, size: Size, window: int) -> Array:
    """Mean speed (H, W), camera aside, along the path of each pixel of the seed frame.

    Flow is blurred, so ground beside a thing seems to move along. A step counts as far as the
    colours are found again better along the path than in place.
    """
    flow = DenseFlow()
    colours = _colours(frames_THWC[seed], size)
    total = np.zeros(size[::-1], np.float32)
    num_steps = 0
    for way in (1, -1):
        path, place = pixel_grid(size), pixel_grid(size)
        same = np.ones(size[::-1], np.float32)
        path_gap, place_gap = np.zeros_like(same), np.zeros_like(same)
        here = grey(shrink(frames_THWC[seed], size))
        for step in range(1, window + 1):
            to = seed + way * step
            if not 0 <= to < len(frames_THWC):
                break
            there = grey(shrink(frames_THWC[to], size))
            moved = flow(here, there)
            camera = camera_flow(moved)
            speed = follow(np.linalg.norm(moved - camera, axis=-1), *path)
            path, place = _go_on(path, moved), _go_on(place, camera)
            seen = _colours(frames_THWC[to], size)
            gap = _colour_gap(follow(seen, *path), colours)
            same = np.minimum(same, np.exp(-((gap / _SAME_COLOUR) ** 2)))
            path_gap += np.minimum(gap, _OTHER_COLOUR)
            place_gap += np.minimum(_colour_gap(follow(seen, *place), colours), _OTHER_COLOUR)
            floor = step * _COLOUR_NOISE
            # Plain ground beside a thing leaves both gaps small: it counts a quarter.
            total += same * speed * ((place_gap + floor) / (path_gap + place_gap + 2 * floor)) ** 2
            here = there
            num_steps += 1
    return np.asarray(total / max(1, num_steps))


def _go_on(at: tuple[Array, Array], moved: Array) -> tuple[Array, Array]:
    step = follow(moved, *at)
    return at[0] + step[..., 0], at[1] + step[..., 1]


def _colour_gap(a_HWC: Array, b_HWC: Array) -> Array:
    return np.asarray(np.abs(a_HWC - b_HWC).max(axis=-1))


def _colours(frame_HWC: Frames, size: Size) -> Array:
    return np.asarray(cv2.GaussianBlur(shrink(frame_HWC, size), (0, 0), 1.0), np.float32)


def _hot_motion(motion_HW: Array, heat_HW: Heat) -> Array:
    """Motion (H, W) as far as it is at the hot place."""
    hot_HW = heat_HW * np.minimum(motion_HW, np.percentile(motion_HW, 99))
    return np.asarray(cv2.GaussianBlur(hot_HW, (0, 0), 3.0))


def _things(motion_HW: Array, hot_HW: Array) -> list[Mask]:
    """Silhouettes of what moves at the hot place, best first."""
    if hot_HW.max() <= 0:
        return []
    smooth_HW = np.asarray(cv2.GaussianBlur(motion_HW, (0, 0), 1.0))
    parts, masses = _parts(smooth_HW > _noise_level(motion_HW), hot_HW)
    if not masses:
        return []
    best = _part_at_peak(parts, masses, hot_HW)
    mask_HW = parts == best
    rivals = [
        parts == part
        for part, mass in masses.items()
        if part != best and mass >= _RIVAL_SHARE * masses[best]
    ]
    for _ in range(_OTSU_ROUNDS):
        closer = _tighten(mask_HW, smooth_HW, hot_HW)
        if closer.sum() < _MIN_AREA_PX:
            break
        mask_HW = closer
    return [_without_dragged_ground(mask_HW, smooth_HW, hot_HW), *rivals]


def _noise_level(motion_HW: Array) -> float:
    """Above it something moves; judged by the stiller half of the picture."""
    still = np.sort(motion_HW, axis=None)[: motion_HW.size // 2]
    middle = float(np.median(still))
    spread = 1.4826 * float(np.median(np.abs(still - middle)))
    return max(middle + _NOISE_SIGMAS * spread, _MIN_MOTION_PX)


def _tighten(mask_HW: Mask, motion_HW: Array, hot_HW: Array) -> Mask:
    """Split the surroundings of a part into moving and not, by Otsu's threshold on log motion."""
    x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    pad_x, pad_y = width // 5 + 6, height // 5 + 6
    window = np.s_[max(0, y - pad_y) : y + height + pad_y, max(0, x - pad_x) : x + width + pad_x]
    threshold, _ = _otsu_of_logs(motion_HW[window])
    # Otsu's threshold lets in the blur that flow has around a thing; half way up does not.
    moving = motion_HW[window][motion_HW[window] > threshold]
    threshold = float(np.sqrt(threshold * np.median(moving))) if moving.size else threshold
    closer = np.zeros_like(mask_HW)
    closer[window] = motion_HW[window] > threshold
    parts, masses = _parts(closer, hot_HW)
    return np.asarray(parts == _part_at_peak(parts, masses, hot_HW)) if masses else closer


def _without_dragged_ground(mask_HW: Mask, motion_HW: Array, hot_HW: Array) -> Mask:
    """The faster part, where a silhouette clearly has two and it is not a small one."""
    threshold, separability = _otsu_of_logs(motion_HW[mask_HW])
    faster = mask_HW & (motion_HW > threshold)
    parts, masses = _parts(faster, hot_HW)
    if separability < _CLEARLY_TWO or not masses:
        return mask_HW
    part_HW = parts == _part_at_peak(parts, masses, hot_HW)
    return np.asarray(part_HW) if part_HW.sum() >= _MIN_FAST_SHARE * mask_HW.sum() else mask_HW


def _otsu_of_logs(values: Array) -> tuple[float, float]:
    """Otsu's threshold on log values, and the share of their variance that it explains."""
    logs = np.log(np.maximum(values, 0.02))
    low, span = float(logs.min()), float(np.ptp(logs)) + 1e-6
    scaled = ((logs - low) / span * 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled.reshape(1, -1), 0, 255, cv2.THRESH_OTSU)
    above = scaled > level
    share = float(above.mean())
    if not 0.0 < share < 1.0:
        return float(np.exp(low)), 0.0
    distance = float(scaled[above].mean() - scaled[~above].mean())
    separability = share * (1.0 - share) * distance**2 / float(scaled.var())
    return float(np.exp(low + level / 255 * span)), separability


def _parts(mask_HW: Mask, hot_HW: Array) -> tuple[npt.NDArray[np.int32], dict[int, float]]:
    """Connected parts of a mask, numbered, and the hot motion in each."""
    opened = cv2.morphologyEx(mask_HW.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts = cv2.connectedComponents(opened)
    masses = np.bincount(parts.ravel(), hot_HW.ravel(), minlength=count)
    areas = np.bincount(parts.ravel(), minlength=count)
    big = [part for part in range(1, count) if areas[part] >= _MIN_AREA_PX]
    return parts, {part: float(masses[part]) for part in big}


def _part_at_peak(parts: npt.NDArray[np.int32], masses: Mapping[int, float], hot_HW: Array) -> int:
    """The part at the hottest place, or the hottest part if none is there."""
    part = int(parts.flat[int(hot_HW.argmax())])
    return part if part in masses else max(masses, key=lambda key: masses[key])


def _enlarge(mask_HW: Mask, size: Size) -> Mask:
    soft = cv2.resize(mask_HW.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(soft > 0.5)


def _box(mask_HW: Mask) -> Box:
    x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)
