"""Real frames with the masks of what they show; skipped where they are not at hand."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from avipipe.annotators.base import Box, Frames, Mask

MASKS = Path(__file__).parents[3] / "shared" / "masks"


def dogs_jump() -> tuple[Frames, dict[int, Frames]]:
    """66 frames of 432 by 240, and in each the numbers of two dogs (1, 2) and a person (3)."""
    folder = _folder("davis_dogs-jump")
    with av.open(str(folder / "frames.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode()]
    frames = np.stack(decoded).astype(np.uint8)
    return frames, {int(path.stem): _indices(path) for path in (folder / "masks").iterdir()}


def judo() -> tuple[Frames, dict[int, Frames]]:
    """16 frames of 854 by 480, and in four of them the number of one person."""
    folder = _folder("davis_judo")
    paths = sorted((folder / "frames").iterdir())
    frames = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    size = frames.shape[2:0:-1]
    masks = {int(path.stem): _indices(path) for path in (folder / "masks").iterdir()}
    return frames, {
        frame: np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST))
        for frame, mask in masks.items()
    }


def box_of(mask_HW: Mask) -> Box:
    x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)


def _folder(name: str) -> Path:
    folder = MASKS / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not here")
    return folder


def _indices(path: Path) -> Frames:
    return np.asarray(Image.open(path))
