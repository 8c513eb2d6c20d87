"""Where a second instance is to come: beside the first one, moving as it moves."""

from collections.abc import Sequence

import numpy as np

from avipipe.manifests import rle

Box = Sequence[float]
"""(x0, y0, x1, y1), half-open."""

LEAST_ROOM = 0.5
"""Of the width of the first one, beside it: less would show less than half of the second one. A
choice."""


def has_room(boxes: Sequence[Box], width: float) -> bool:
    """Whether at least half of a second instance fits beside the first one in every frame.

    Args:
        boxes: of the first one, over time.
        width: of the picture, in the boxes' unit.
    """
    return bool(boxes) and abs(_room(boxes, width)) >= LEAST_ROOM * _width(boxes)


def beside(exact: Sequence[str], masks: Sequence[str], size: rle.Size) -> list[str]:
    """Masks of an instance, moved to the side that has more room, but never onto the instance.

    All frames are moved by its largest width, or as far as there is room, at least by half of it:
    what lies outside of the picture then is cut off.

    Args:
        exact: the exact masks of the instance, run-length counts, one a frame.
        masks: those that are moved: the exact ones, or of a level of the mask pairs.
    """
    boxes = [box for counts in exact if (box := rle.box(counts, size)) is not None]
    if not boxes:
        return list(masks)
    room, width = _room(boxes, size[1]), _width(boxes)
    shift_px = round(np.copysign(min(width, max(abs(room), LEAST_ROOM * width)), room))
    return [
        _moved(mask, instance, shift_px, size) for mask, instance in zip(masks, exact, strict=True)
    ]


def _room(boxes: Sequence[Box], width: float) -> float:
    """Beside all boxes; below 0 on the left."""
    left, right = min(box[0] for box in boxes), width - max(box[2] for box in boxes)
    return right if right >= left else -left


def _width(boxes: Sequence[Box]) -> float:
    return max(box[2] - box[0] for box in boxes)


def _moved(counts: str, instance: str, shift_px: int, size: rle.Size) -> str:
    mask_WH = rle.decode_by_columns(counts, size)
    moved_WH = np.zeros_like(mask_WH)
    if shift_px > 0:
        moved_WH[shift_px:] = mask_WH[:-shift_px]
    else:
        moved_WH[:shift_px] = mask_WH[-shift_px:]
    return rle.encode((moved_WH & ~rle.decode_by_columns(instance, size)).T)
