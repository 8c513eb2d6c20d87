"""Obj. by a detector: in how many pictures it finds the thing that was asked for.

AvED (arXiv 2503.20782) names the metric and leaves it open; this is a choice.
"""

from collections.abc import Sequence

from avipipe.annotators.base import Detection
from avipipe.evaluate.metrics.undefined import require_frames


def share_found(detections: Sequence[Detection], looked_at: Sequence[int]) -> float:
    """Share of the pictures that were looked at in which there is a detection, in [0, 1].

    Args:
        looked_at: numbers of those pictures.
    Raises:
        Undefined: there are none.
    """
    require_frames(looked_at, 1)
    found = {detection.frame for detection in detections}
    return len(found.intersection(looked_at)) / len(looked_at)
