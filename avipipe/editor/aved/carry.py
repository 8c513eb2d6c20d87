"""Carries what an edit changed in some frames to those between, as the source moves."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.embedded.flow import follow, pixel_grid

Layers = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What is laid over a frame of the source: (H, W, C), any values."""

    frame: int
    layers_HWC: Layers


def carried(source_FHWC: Frames, keys: Sequence[KeyChange]) -> Iterator[Layers]:
    """The layers of all frames of a video, in order.

    Between two keys, those of both are moved as the source does, and one fades into the other;
    before the first and after the last, there is one alone. Keys keep theirs to the bit.

    Args:
        keys: by frame, one at least.
    """
    cv2.setNumThreads(1)
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey_FHW = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in source_FHWC]
    columns_HW, rows_HW = pixel_grid(source_FHWC.shape[2:0:-1])

    def moved(key: KeyChange, frame: int) -> Layers:
        if key.frame == frame:
            return key.layers_HWC
        flow_HW2 = flow.calc(grey_FHW[frame], grey_FHW[key.frame], None)
        where = (columns_HW + flow_HW2[..., 0], rows_HW + flow_HW2[..., 1])
        return follow(key.layers_HWC, *where)

    numbers = [key.frame for key in keys]
    for frame in range(len(source_FHWC)):
        after = bisect_left(numbers, frame)
        first, last = keys[max(after - 1, 0)], keys[min(after, len(keys) - 1)]
        if first is last or last.frame == frame:
            yield moved(last, frame)
            continue
        share = np.float32((frame - first.frame) / (last.frame - first.frame))
        yield (1 - share) * moved(first, frame) + share * moved(last, frame)
