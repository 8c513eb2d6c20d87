"""Cosines between features, which the scores by CLIP and by DINO share."""

from typing import Any

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined, require_finite, require_frames

Features = npt.NDArray[np.floating[Any]]


def unit(features: Features) -> npt.NDArray[np.float64]:
    """Features (..., D) at length 1, in float64.

    Raises:
        Undefined: there is none, or one is not finite or has no direction.
    """
    require_finite(features, "features")
    lengths = np.linalg.norm(features.astype(np.float64), axis=-1, keepdims=True)
    if not lengths.all():
        raise Undefined("a feature is zero")
    return np.asarray(features / lengths, np.float64)


def framewise(a_TD: Features, b_TD: Features) -> npt.NDArray[np.float64]:
    """Cosine of each frame of one clip with the frame at its place in another, (T,).

    Raises:
        Undefined: the clips have not as many frames; a feature has no direction.
    """
    if len(a_TD) != len(b_TD):
        raise Undefined(f"{len(a_TD)} frames against {len(b_TD)}")
    return np.asarray(np.sum(unit(a_TD) * unit(b_TD), axis=-1))


def several(frames_TD: Features) -> npt.NDArray[np.float64]:
    """The features of at least two frames at length 1.

    Raises:
        Undefined: there are fewer; one has no direction.
    """
    require_frames(frames_TD, 2)
    return unit(frames_TD)
