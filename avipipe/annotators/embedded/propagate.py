"""Carries a mask through a clip with optical flow and a memory of what the object looks like.

From frame to frame the mask is warped by dense flow, trusted where forward and backward flow
agree. Flow alone drifts, and is lost at the first occlusion; so every pixel near the object is also
compared with the memory, whose seed never leaves it, and the two are added as log odds. Of what
comes out one connected thing is kept, and its edge is snapped to that of the picture by a guided
filter. An object that left the picture is looked for until it is back.

Source: DIS flow, Kroeger et al., ECCV 2016 (OpenCV); guided filter, He et al., TPAMI 2013.
"""

import cv2
import numpy as np

from avipipe.annotators.base import Frames, Mask, PropagatedMasks
from avipipe.annotators.both_ways import both_ways
from avipipe.annotators.embedded.appearance import AppearanceMemory, describe
from avipipe.annotators.embedded.flow import (
    Array,
    DenseFlow,
    fit_size,
    follow,
    grey,
    pixel_grid,
    shrink,
)
from avipipe.annotators.embedded.opencv import OpenCvAnnotator

_WORK_SHORT_PX = 360
"""Size at which the mask's edge is snapped to the picture's; a choice, as finer costs more."""
_MATCH_SHORT_PX = 120
"""Size at which flow and looks are computed, if the object is not small; a choice for speed."""
_MATCH_OBJECT_PX = 300
"""Area in pixels that an object keeps at that size; a finer one is taken for smaller objects. A
choice."""
_FLOW_TOLERANCE_PX = 1.5
"""Gap between flow there and back at which it is trusted 1/e; a choice."""
_FADE = 0.97
"""What is left of where it was seen after a frame: half after 23, about a second."""
_REACH_PX = 10
"""At the matching size: how far the object may be from where it was of late, and three standard
deviations of the blur of where it may be. A choice."""
_UNSEEN_PRIOR = 0.8
"""Factor of the probability where flow cannot tell; a choice."""
_LOST_PRIOR = 0.09
"""Probability everywhere once the object is lost: a look of 1.2 of `MAX_LOG_ODDS` 3 finds it
again."""
_LOOK_WEIGHT = 2.0
"""Weight of the look's log odds against flow's: a sure look, 6, outvotes sure flow, 3.5."""
_FAR_LOG_ODDS = -4.0
"""Look of places out of reach: even sure flow cannot make them the object's."""
_SURE = 0.1
"""Probability that near 0 or 1 the look is taken from every fourth pixel only, which halves the
time of a frame."""
_JOIN_PX = 7
"""Side of the square that joins parts of one thing: gaps of up to 6 pixels at the matching size. A
choice."""
_MIN_RETURN_RATIO = 0.25
"""Area over the last one with which a lost object may return; less is a speck of its colours. A
choice."""


class FlowPropagator(OpenCvAnnotator):
    """Propagates by optical flow and appearance, both ways from the seed frame."""

    name = "flow"
    version = 1

    def propagate(
        self, frames_THWC: Frames, *, seed_frame: int, seed_mask_HW: Mask
    ) -> PropagatedMasks:
        """Carry the seed mask to every frame; see `both_ways`. Quality is 0 without a mask."""
        return both_ways(
            frames_THWC, seed_frame=seed_frame, seed_mask_HW=seed_mask_HW, start=_Tracker
        )


class _Tracker:
    """The state of one pass: all of it at the matching size but for the mask that is given out."""

    def __init__(self, frame_HWC: Frames, mask_HW: Mask) -> None:
        height, width = mask_HW.shape
        self._size = (width, height)
        self._work = fit_size(self._size, _WORK_SHORT_PX / min(height, width))
        # A small object is matched at a finer scale, so that enough pixels of it remain.
        finer = np.sqrt(_MATCH_OBJECT_PX / mask_HW.sum())
        self._match = fit_size(self._work, max(_MATCH_SHORT_PX / min(self._work), finer))
        self._flow = DenseFlow()
        self._columns, self._rows = pixel_grid(self._match)
        small = shrink(frame_HWC, self._match)
        self._previous = grey(small)
        self._object: Array = shrink(mask_HW.astype(np.float32), self._match)
        if self._object.max() <= 0.5:
            self._object /= self._object.max()
        self._seen = self._object.copy()
        self._memory = AppearanceMemory(describe(small), self._object)
        self._area_px = float((self._object > 0.5).sum())

    def step(self, frame_HWC: Frames) -> tuple[Mask, float]:
        """Go on to the next frame: its mask at full size, and how far it can be trusted."""
        small = shrink(frame_HWC, self._match)
        gray = grey(small)
        features = describe(small)
        carried, trust = self._carry(gray)
        self._previous = gray
        lost = not (self._object > 0.5).any()
        prior = trust * carried + (1.0 - trust) * self._expected(carried)
        near = self._near(carried)
        if lost:
            prior, near = np.maximum(prior, _LOST_PRIOR), np.ones_like(near)
        look = self._look(features, prior, near)
        object_ = _sigmoid(_logit(prior) + _LOOK_WEIGHT * look)
        object_ = cv2.GaussianBlur(object_, (0, 0), 0.7)
        object_ = self._one_thing(object_, look, lost=lost)
        self._object = object_
        self._seen = np.maximum(self._seen, object_)
        on = object_ > 0.5
        if not on.any():
            return np.zeros(self._size[::-1], np.bool_), 0.0
        self._area_px = float(on.sum())
        self._memory.add(features, object_)
        quality = float((2.0 * object_[on] - 1.0).mean()) * _iou(on, carried > 0.5)
        return self._full_size(frame_HWC), quality

    def _carry(self, gray: Frames) -> tuple[Array, Array]:
        """Warp the last frame's object here; trust it where both flows agree."""
        back = self._flow(gray, self._previous)
        forth = self._flow(self._previous, gray)
        at_x, at_y = self._columns + back[..., 0], self._rows + back[..., 1]
        carried = follow(self._object, at_x, at_y, outside=0.0)
        self._seen = _FADE * follow(self._seen, at_x, at_y, outside=0.0)
        gap = follow(forth, at_x, at_y, outside=0.0) + back
        trust = np.exp(-(gap**2).sum(axis=-1) / _FLOW_TOLERANCE_PX**2)
        return carried, trust

    def _expected(self, carried: Array) -> Array:
        """Where the object may be where flow cannot tell: about where it was seen of late."""
        was_here = np.maximum(carried, _UNSEEN_PRIOR * self._seen)
        return np.asarray(_UNSEEN_PRIOR * cv2.GaussianBlur(was_here, (0, 0), _REACH_PX / 3))

    def _look(self, features: Array, prior: Array, near: Mask) -> Array:
        """Log odds by appearance: of every pixel in doubt, and elsewhere nearby of every fourth."""
        look = np.full(prior.shape, _FAR_LOG_ODDS, np.float32)
        coarse, asked = look[::2, ::2], near[::2, ::2]
        coarse[asked] = self._memory.log_odds(features[::2, ::2][asked])
        size = (prior.shape[1], prior.shape[0])
        look = np.where(near, cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), look)
        doubt = near & (prior > _SURE) & (prior < 1.0 - _SURE)
        look[doubt] = self._memory.log_odds(features[doubt])
        return look

    def _near(self, carried: Array) -> Mask:
        """Within reach of where the object was of late."""
        support = (np.maximum(carried, self._seen) > 0.3).astype(np.uint8)
        return np.asarray(cv2.dilate(support, _disc(_REACH_PX)) > 0)

    def _one_thing(self, object_: Array, look: Array, *, lost: bool) -> Array:
        """Keep the connected part that looks most like the object, and forget the others."""
        on = (object_ > 0.5).astype(np.uint8)
        count, part = cv2.connectedComponents(cv2.dilate(on, _square(_JOIN_PX)))
        if count == 1:
            return object_
        weight = on * object_ * (np.maximum(look, 0.0) + 0.2)
        best = 1 + int(np.bincount(part.ravel(), weight.ravel(), minlength=count)[1:].argmax())
        if lost and (on[part == best].sum() < _MIN_RETURN_RATIO * self._area_px):
            best = -1
        others = ((part > 0) & (part != best)).astype(np.uint8)
        dropped = (cv2.dilate(others, _square(5)) > 0) & (part != best)
        self._seen[dropped] = 0.0
        return np.where(dropped, np.minimum(object_, 0.05), object_)

    def _full_size(self, frame_HWC: Frames) -> Mask:
        """Bring the object to full size, with its edge where the picture has one."""
        gray = grey(shrink(frame_HWC, self._work))
        soft = cv2.resize(self._object, self._work, interpolation=cv2.INTER_LINEAR)
        x, y, width, height = cv2.boundingRect((soft > 0.1).astype(np.uint8))
        window = np.s_[max(0, y - 8) : y + height + 8, max(0, x - 8) : x + width + 8]
        soft[window] = _guided(gray[window].astype(np.float32) / 255.0, soft[window])
        return np.asarray(cv2.resize(soft, self._size, interpolation=cv2.INTER_LINEAR) > 0.5)


def _guided(guide: Array, soft: Array, *, radius_px: int = 3, floor: float = 1e-4) -> Array:
    size = (2 * radius_px + 1, 2 * radius_px + 1)
    guide_mean, soft_mean = cv2.blur(guide, size), cv2.blur(soft, size)
    covariance = cv2.blur(guide * soft, size) - guide_mean * soft_mean
    slope = covariance / (cv2.blur(guide * guide, size) - guide_mean * guide_mean + floor)
    offset = soft_mean - slope * guide_mean
    return np.asarray(cv2.blur(slope, size) * guide + cv2.blur(offset, size))


def _logit(probability: Array) -> Array:
    clipped = np.clip(probability, 0.03, 0.97)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def _sigmoid(log_odds: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def _iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def _disc(radius_px: int) -> Frames:
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def _square(side_px: int) -> Frames:
    return np.ones((side_px, side_px), np.uint8)
