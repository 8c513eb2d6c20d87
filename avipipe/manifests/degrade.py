"""Degradation laws: from an exact mask to the coarse ones that a person might have drawn.

The precision factor p runs from 0, the exact mask, to P, its bounding box. Whatever the simulator,

    m_p = (m_{p-1} | simulate(m_0, p)) & box

so levels are nested, cover the object, and lose overlap with p. A law is the same for all frames
of a clip, or the mask would flicker, and gives the same bits on every machine and OpenCV version.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.errors import ManifestError

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

Simulator = Literal["gaussian", "dilation", "hull", "polygon", "scribble", "jittered_box"]

VERSION = 1
"""Version of the laws: raised whenever one would give other bits."""

REFERENCE_HEIGHT_PX = 720
"""Height of the picture to which `reach_px` refers."""

MAX_LEVELS = 16
"""Most levels of a law; a choice."""
MAX_REACH_PX = 400.0
"""Longest reach of a law in pixels; filters of a longer one would not fit into memory."""


@dataclass(frozen=True, slots=True)
class Law:
    """A degradation law: how masks are coarsened with the precision factor.

    Attributes:
        name: the simulator.
        num_levels: P, the level that is the box.
        reach_px: the scale at p = P in a picture 720 pixels high; it grows linearly with p and with
            the height. Standard deviation of `gaussian`, radius of `dilation`, tolerance of
            `polygon`, half the pen of `scribble`; `hull` and `jittered_box` go by the box.
    """

    name: Simulator = "gaussian"
    num_levels: int = 4
    reach_px: float = 40.0

    @property
    def is_sane(self) -> bool:
        """Whether the parameters are in the range that masks are degraded in."""
        return 1 <= self.num_levels <= MAX_LEVELS and 0 < self.reach_px <= MAX_REACH_PX

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": VERSION,
            "P": self.num_levels,
            "reach_px": self.reach_px,
            "reference_height_px": REFERENCE_HEIGHT_PX,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Law":
        """Read the law of a `pairs.json`.

        Raises:
            ManifestError: a law, or a version of it, that is not known here.
        """
        match data:
            case {
                "name": str(name),
                "P": int(num_levels),
                "reach_px": (int() | float()) as reach_px,
            }:
                law = cls(cast(Simulator, name), num_levels, reach_px)
                if name in get_args(Simulator) and law.is_sane and law.to_json() == data:
                    return law
        raise ManifestError(
            f"expected one of the laws {', '.join(get_args(Simulator))} in version {VERSION}, "
            f"found {dict(data)}; use the version of avipipe that wrote it"
        )

    def level(self, p: int, height_px: int) -> "DegradationLevel":
        """The parameters at precision factor p, 1…P, in a picture of this height."""
        share = p / self.num_levels
        scale = round(self.reach_px * share * height_px / REFERENCE_HEIGHT_PX, 4)
        if p == self.num_levels:
            return DegradationLevel(p, 0, 0.0, 0.0)
        if self.name == "gaussian":
            return DegradationLevel(
                p, 2 * math.ceil(3 * scale) + 1, scale, round(0.5 * (1 - share), 4)
            )
        if self.name == "dilation":
            return DegradationLevel(p, 2 * math.floor(scale) + 1, scale, 0.0)
        return DegradationLevel(p, 0, scale, 0.0)


@dataclass(frozen=True, slots=True)
class DegradationLevel:
    """The parameters of one level; those that its law does not have are zero.

    `gaussian`: a `kernel` x `kernel` filter of standard deviation `sigma` px; what exceeds
    `threshold`, which falls from 0.5 at p = 0 to 0 at P, so that masks grow.
    """

    p: int
    kernel: int
    sigma: float
    threshold: float


def seed_of(clip_key: str, p: int) -> int:
    """The seed of one level of one clip, 32 bits."""
    return int.from_bytes(hashlib.sha256(f"{clip_key}:{p}".encode()).digest()[:4], "big")


def degrade(law: Law, mask_HW: Mask, seeds: Sequence[int]) -> list[Mask]:
    """The levels m_1 … m_P of one frame; all empty where the mask is.

    Args:
        mask_HW: the exact mask, bool (H, W).
        seeds: of the levels 1 … P, the same for all frames of a clip.
    """
    if len(seeds) != law.num_levels:
        raise ValueError(f"expected {law.num_levels} seeds, one for each level, got {len(seeds)}")
    if not mask_HW.any():
        return [mask_HW] * law.num_levels
    x, y, width, height = cv2.boundingRect(mask_HW.view(np.uint8))
    crop_HW = np.ascontiguousarray(mask_HW[y : y + height, x : x + width]).view(np.uint8)
    levels = []
    grown_HW = crop_HW
    for p, seed in enumerate(seeds, start=1):
        if p == law.num_levels:
            grown_HW = np.ones_like(crop_HW)
        else:
            level = law.level(p, mask_HW.shape[0])
            grown_HW = grown_HW | _SIMULATORS[law.name](crop_HW, law, level, seed)
        level_HW = np.zeros_like(mask_HW)
        level_HW[y : y + height, x : x + width] = grown_HW.view(np.bool_)
        levels.append(level_HW)
    return levels


def _gaussian(crop_HW: Pixels, law: Law, level: DegradationLevel, seed: int) -> Pixels:
    """Blur with zeros outside, then a low threshold.

    Integer weights that sum to 2^12 keep every sum of the two passes an integer of at most 2^24,
    which float32 holds exactly: neither order of addition, nor SIMD, nor FMA changes a bit.
    """
    weights = _gaussian_weights(level.kernel, level.sigma)
    blurred_HW = cv2.sepFilter2D(
        crop_HW, cv2.CV_32F, weights, weights, borderType=cv2.BORDER_CONSTANT
    )
    return _pixels(blurred_HW > np.float32(math.floor(level.threshold * (1 << 24))))


def _gaussian_weights(kernel: int, sigma: float) -> npt.NDArray[np.float32]:
    offsets = np.arange(kernel) - kernel // 2
    bell = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights: npt.NDArray[np.float32] = np.rint(bell * (4096 / bell.sum())).astype(np.float32)
    weights[kernel // 2] += 4096 - weights.sum()
    return np.trim_zeros(weights)


def _dilation(crop_HW: Pixels, law: Law, level: DegradationLevel, seed: int) -> Pixels:
    distance_HW = cv2.distanceTransform(1 - crop_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return _pixels(distance_HW <= level.sigma)


def _hull(crop_HW: Pixels, law: Law, level: DegradationLevel, seed: int) -> Pixels:
    """Convex hulls of P - p horizontal bands: that of the whole mask at p = P - 1."""
    hull_HW = np.zeros_like(crop_HW)
    edges = np.linspace(0, crop_HW.shape[0], law.num_levels - level.p + 1).astype(int)
    for top, bottom in pairwise(edges):
        points = cv2.findNonZero(crop_HW[top:bottom]) if bottom > top else None
        if points is not None:
            cv2.fillConvexPoly(hull_HW[top:bottom], cv2.convexHull(points), 1)
    return hull_HW


def _polygon(crop_HW: Pixels, law: Law, level: DegradationLevel, seed: int) -> Pixels:
    """Outlines with as few corners as the tolerance allows, drawn with a pen as broad as it."""
    outlines, _ = cv2.findContours(crop_HW, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    corners = [cv2.approxPolyDP(outline, level.sigma, True) for outline in outlines]
    polygon_HW = np.zeros_like(crop_HW)
    cv2.fillPoly(polygon_HW, corners, 1)
    cv2.polylines(polygon_HW, corners, True, 1, _pen_px(level.sigma))
    return polygon_HW


def _scribble(crop_HW: Pixels, law: Law, level: DegradationLevel, seed: int) -> Pixels:
    """A broad stroke through a few random places of the box."""
    height, width = crop_HW.shape
    places = np.random.default_rng(seed).integers(0, 1000, (2 + level.p, 2))
    path = (places * (width - 1, height - 1) // 999).astype(np.int32)
    stroke_HW = np.zeros_like(crop_HW)
    cv2.polylines(stroke_HW, [path], False, 1, _pen_px(2 * level.sigma))
    return stroke_HW


def _jittered_box(crop_HW: Pixels, law: Law, level: DegradationLevel, seed: int) -> Pixels:
    """The box with each edge moved inwards at random, the less the higher p."""
    height, width = crop_HW.shape
    most = 500 * (law.num_levels - level.p) // law.num_levels
    left, top, right, bottom = np.random.default_rng(seed).integers(0, most + 1, 4)
    box_HW = np.zeros_like(crop_HW)
    rows = slice(height * top // 1000, height - height * bottom // 1000)
    box_HW[rows, width * left // 1000 : width - width * right // 1000] = 1
    return box_HW


def _pixels(mask_HW: Mask) -> Pixels:
    return np.asarray(mask_HW, np.bool_).view(np.uint8)


def _pen_px(width: float) -> int:
    """A pen width that OpenCV can draw."""
    return min(max(round(width), 1), 255)


_SIMULATORS: Mapping[Simulator, Callable[[Pixels, Law, DegradationLevel, int], Pixels]] = {
    "gaussian": _gaussian,
    "dilation": _dilation,
    "hull": _hull,
    "polygon": _polygon,
    "scribble": _scribble,
    "jittered_box": _jittered_box,
}
