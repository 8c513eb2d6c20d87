"""Sync-C and Sync-D: whether lips go with the voice, by distances of SyncNet's features.

T windows of 0.2 s, one a frame at 25 per second, D features, K = 2 * reach + 1 offsets in frames.
Offsets count as in the references: positive where the sound comes early. (An offset of +3 says that
the sound of a frame is found 3 frames before it.)

Source: Chung and Zisserman, Out of time: automated lip sync in the wild (ACCV workshops 2016);
joonson/syncnet_python@6efbb1c, Rudrabha/Wav2Lip@5c90fa9 (LSE-C, LSE-D) and
bytedance/LatentSync@a229c39.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Features = npt.NDArray[np.floating[Any]]
Distances = npt.NDArray[np.float64]

REACH_FRAMES = 15
"""Offsets that are tried, before and after; that of all three references."""
LEAST_FRAMES, LATENTSYNC_LEAST_FRAMES = 100, 50
"""Shortest track of a face that the references score; in shorter ones few windows lie within reach
of both ends."""
_TINY = 1e-6  # added to every difference, as PyTorch's pairwise distance does
_MEDIAN_FRAMES = 9  # window of the median over the confidence of each frame; joonson's
_AVE_COMPASS_FULL = 2.0
"""Confidence that AVE-Compass counts as full marks."""


@dataclass(frozen=True, slots=True)
class LipSync:
    """How lips go with the voice over one track of a face.

    Attributes:
        offset_frames: at which the distance is least.
        confidence: median less least mean distance (Sync-C, LSE-C); higher is better.
        distance: the least mean distance (Sync-D, LSE-D); lower is better.
        confidence_at_0, distance_at_0: the same at offset 0. Those above are blind to a constant
            offset within reach (0.6 s); these are not.
    """

    offset_frames: int
    confidence: float
    distance: float
    confidence_at_0: float
    distance_at_0: float


def distances_at_offsets(
    video_TD: Features, audio_TD: Features, *, reach: int = REACH_FRAMES
) -> Distances:
    """Distance (T, K) of each window of the picture from the sound `reach` before … after it.

    Column k compares picture t with sound t + k - reach. Beyond the ends of the sound stand zeros,
    as in the references: of a clip shorter than 3 s they bear on most of the result.

    Raises:
        Undefined: there is no window (fewer than 6 frames), or a feature is not finite.
    """
    num = min(len(video_TD), len(audio_TD))
    if num == 0:
        raise Undefined("the face is seen in fewer than 6 frames")
    video = np.asarray(video_TD[:num], np.float64)
    audio = np.pad(np.asarray(audio_TD[:num], np.float64), ((reach, reach), (0, 0)))
    require_finite(video, "features of the picture")
    require_finite(audio, "features of the sound")
    columns = [
        np.linalg.norm(video - audio[k : k + num] + _TINY, axis=1) for k in range(2 * reach + 1)
    ]
    return np.stack(columns, axis=1)


def lip_sync(distances_TK: Distances) -> LipSync:
    """Sync-C, Sync-D and offset of a track, from its `distances_at_offsets`."""
    return _lip_sync(distances_TK.mean(axis=0))


def lip_sync_inside(distances_TK: Distances) -> LipSync:
    """As `lip_sync`, over windows alone of which no offset reaches beyond the sound.

    Raises:
        Undefined: there are none: the track is not longer than twice the reach.
    """
    reach = distances_TK.shape[1] // 2
    inner_TK = distances_TK[reach : len(distances_TK) - reach]
    if not len(inner_TK):
        raise Undefined(
            f"the face is seen in {len(distances_TK)} windows, and all offsets lie within the "
            f"sound from the {2 * reach + 1}st on"
        )
    return _lip_sync(inner_TK.mean(axis=0))


def _lip_sync(mean_K: Distances) -> LipSync:
    reach, best, median = len(mean_K) // 2, int(mean_K.argmin()), float(np.median(mean_K))
    return LipSync(
        offset_frames=reach - best,
        confidence=median - float(mean_K[best]),
        distance=float(mean_K[best]),
        confidence_at_0=median - float(mean_K[reach]),
        distance_at_0=float(mean_K[reach]),
    )


def framewise_confidence(distances_TK: Distances) -> Distances:
    """Confidence of each window (T,) at the offset of the track, median of 9; zeros lie beyond."""
    mean_K = distances_TK.mean(axis=0)
    confidence_T = np.median(mean_K) - distances_TK[:, mean_K.argmin()]
    return np.asarray(scipy.signal.medfilt(confidence_T, _MEDIAN_FRAMES), np.float64)


def latentsync(tracks: Sequence[LipSync]) -> tuple[int, float]:
    """Offset in frames and confidence of a video after LatentSync: means over its tracks.

    The mean offset is cut towards 0. Of a set, the mean confidence; the reference leaves out videos
    that raise an error, which here are counted.

    Raises:
        Undefined: there is no track.
    """
    if not tracks:
        raise Undefined("no face was followed for long enough")
    offset = np.mean([track.offset_frames for track in tracks])
    return int(offset), float(np.mean([track.confidence for track in tracks]))


def offset_histogram(
    offsets_frames: Sequence[int], *, reach: int = REACH_FRAMES
) -> npt.NDArray[np.int64]:
    """How many tracks have each offset from -reach to +reach (K,)."""
    return np.bincount(np.asarray(offsets_frames, np.int64) + reach, minlength=2 * reach + 1)


def share_in_sync(offsets_frames: Sequence[int]) -> float:
    """Share of tracks whose offset is at most a frame.

    Raises:
        Undefined: there is no track.
    """
    if not len(offsets_frames):
        raise Undefined("no face was followed for long enough")
    return float((np.abs(np.asarray(offsets_frames)) <= 1).mean())


def ave_compass_lip_sync(confidence: float) -> float:
    """Score min(confidence / 2, 1), not below 0.

    Source: NJU-LINK/AVE-Compass@2b11dd0, cross_modal/lip_sync.py.
    """
    return float(np.clip(confidence / _AVE_COMPASS_FULL, 0.0, 1.0))
