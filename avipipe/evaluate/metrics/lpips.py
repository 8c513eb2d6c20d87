"""LPIPS of an edit against its source, whole and outside the mask; 0 is the same picture.

`extractors.lpips` gives one distance a frame, or a map of distances.
"""

import numpy as np

from avipipe.annotators.base import Mask
from avipipe.evaluate.metrics.cosine import Features
from avipipe.evaluate.metrics.undefined import Undefined, require_finite, require_same_shape


def mean_lpips(lpips_T: Features) -> float:
    """Mean over frames; tables print it times 1000.

    Of clips that are black inside the mask (`local_views.blacked_out`) it is the `zerofill` form
    of FiVE, which counts the pixels of the mask as equal.

    Raises:
        Undefined: no frames, or a distance that is not finite.
    Source: MinghanLi/FiVE-Bench@737b30e, `calculate_lpips`, of one frame.
    """
    require_finite(lpips_T, "distances")
    return float(np.mean(lpips_T, dtype=np.float64))


def lpips_outside(lpips_THW: Features, masks_THW: Mask) -> float:
    """Mean of the map of LPIPS outside the mask, mean over frames.

    Frames that the mask fills are left out.
    The network sees the whole picture, so pixels near the mask feel the edit.

    Raises:
        Undefined: nothing is outside the mask, another size, a distance that is not finite.
    Source: this project's; the map is that of lpips 0.1.4 with `spatial=True`.
    """
    require_same_shape(lpips_THW, masks_THW)
    pairs = zip(lpips_THW, ~masks_THW, strict=True)
    means = [map_HW[outside].mean(dtype=np.float64) for map_HW, outside in pairs if outside.any()]
    if not means:
        raise Undefined("nothing is outside the mask")
    return mean_lpips(np.array(means))
