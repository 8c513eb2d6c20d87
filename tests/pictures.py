"""Pictures of known content: RGB frames (T, H, W, 3) and the masks (T, H, W) of what moves."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask

SIZE = (120, 160)
SQUARE_PX = 30


def texture(seed: int, size: tuple[int, int], *, hue: tuple[int, int, int]) -> Frames:
    """Soft noise around a colour."""
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (*size, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 1.5) * 60.0
    return np.asarray(np.clip(np.array(hue) + soft, 0, 255), np.uint8)


def square_on_wall(corners: Sequence[tuple[float, float]]) -> tuple[Frames, Mask]:
    """A red square on a blue wall, its corner (x, y) in each frame given; it may be outside."""
    wall = texture(1, SIZE, hue=(60, 90, 130))
    patch = texture(2, (SQUARE_PX, SQUARE_PX), hue=(190, 70, 50))
    frames = np.repeat(wall[None], len(corners), axis=0)
    masks = np.zeros(frames.shape[:3], np.bool_)
    for frame, mask, (x, y) in zip(frames, masks, corners, strict=True):
        at = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
        drawn = cv2.warpAffine(patch, at, SIZE[::-1])
        cover = cv2.warpAffine(np.ones(patch.shape[:2], np.float32), at, SIZE[::-1])
        mask[:] = cover > 0.5
        frame[mask] = drawn[mask]
    return frames, masks


def swing(num_frames: int, *, period_frames: float = 24.0) -> list[tuple[float, float]]:
    """To and fro across the wall."""
    turn = 2 * np.pi * np.arange(num_frames) / period_frames
    return [(65 + 40 * float(np.sin(t)), 45 + 10 * float(np.cos(t))) for t in turn]


def hops(num_frames: int, at_frames: Sequence[int]) -> list[tuple[float, float]]:
    """Held up, but for a fast fall that lands in each of the given frames; then slowly up again."""
    top_px = 20.0
    lift = np.full(num_frames, top_px)
    for landing in at_frames:
        course = [*(top_px * np.array([0.9, 0.6, 0.0])), *np.linspace(0.0, top_px, 12)[1:]]
        for frame, height in enumerate(course, start=landing - 2):
            if 0 <= frame < num_frames:
                lift[frame] = height
    return [(65.0, 60.0 - float(height)) for height in lift]


def still(num_frames: int) -> Frames:
    """One picture, again and again."""
    return square_on_wall([(65.0, 45.0)] * num_frames)[0]


def overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0
