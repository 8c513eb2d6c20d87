"""The frames of PyanNet: from windows of a long sound to one set of speakers, and to turns.

F frames, W windows, S speakers of a window, G speakers of the whole sound.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Wave

Probabilities = npt.NDArray[np.float32]
Active = npt.NDArray[np.bool_]
Span = tuple[float, float]

RATE_HZ = 16_000
NUM_SPEAKERS = 3
"""Speakers that the network tells apart at a time."""
HOP = 270
"""Samples from one frame to the next."""
FIELD = 991
"""Receptive field of a frame, in samples."""

EVEN_ODDS = 0.5
"""Probability from which a speaker is heard."""
SHORTEST_VOICE_S = 0.5
"""Shortest voice that is somebody's own; a shorter one may be anybody's."""
_SHORTEST_PAUSE_S = 0.1  # shorter ones are those within words
_SHORTEST_S = 1.0
"""Shorter sounds are padded with silence to this; a choice."""
_LONGEST_S = 30.0
"""Longest sound that the network hears at once; a choice between memory and names that hold."""
# Two thirds of a window lie in the next as well: only who is silent for 20 s loses his name.
_STEP_S = 10.0
# Worth of a new speaker, less than of any known one, and of a known one who was heard apart, which
# is never taken.
_NEW = -1.0
_REFUSED = -1e6

Segment = Callable[[Wave], Probabilities]
"""A segmentation network: windows (W, N) to the probability of each speaker (W, F, S)."""


def probabilities(wav_N: Wave, segment: Segment) -> Probabilities:
    """Probability of each speaker in each frame of mono audio at 16 kHz: (F, G).

    Up to 30 s are one window, with up to three speakers. Longer sounds are cut into overlapping
    windows, whose speakers are matched, so there may be more of them in all.
    """
    num_frames = _num_frames(wav_N.shape[0])
    window = _num_frames(round(_LONGEST_S * RATE_HZ))
    if num_frames <= window:
        padded_N = np.pad(wav_N, (0, max(0, round(_SHORTEST_S * RATE_HZ) - wav_N.shape[0])))
        return segment(padded_N[None])[0, : max(1, num_frames)]
    step = round(_STEP_S * RATE_HZ / HOP)
    starts = [*range(0, num_frames - window, step), num_frames - window]
    length = FIELD + HOP * (window - 1)
    parts_WN = np.stack([wav_N[HOP * start : HOP * start + length] for start in starts])
    return stitch(segment(parts_WN), starts)


def _num_frames(num_samples: int) -> int:
    return max(0, (num_samples - FIELD) // HOP + 1)


def stitch(windows_WFS: Probabilities, starts: Sequence[int]) -> Probabilities:
    """Stitch windows to frames (F, G): the mean over the windows that hear each.

    Args:
        starts: first frame of each window, ascending; each overlaps the one before.
    """
    length, num_speakers = windows_WFS.shape[1:]
    sums_FG = np.zeros((starts[-1] + length, num_speakers), np.float32)
    counts_F1 = np.zeros((starts[-1] + length, 1), np.float32)
    end = 0
    for start, window_FS in zip(starts, windows_WFS, strict=True):
        names = list(range(num_speakers))
        if start:
            known_FG = sums_FG / np.maximum(counts_F1, 1.0)
            names = _names(window_FS > EVEN_ODDS, known_FG[:end] > EVEN_ODDS, end - start)
            num_new = max(0, max(names) + 1 - sums_FG.shape[1])
            sums_FG = np.pad(sums_FG, ((0, 0), (0, num_new)))
        end = start + length
        sums_FG[start:end, names] += window_FS
        counts_F1[start:end] += 1.0
    return np.asarray(sums_FG / counts_F1, np.float32)


def _names(window_FS: Active, known_FG: Active, num_shared: int) -> list[int]:
    """Which of the known speakers each of a window is, or a number of its own after theirs.

    Two are one who are heard together in the shared frames. Who is silent there may be anybody
    who is, and rather one who was heard before: that makes fewest speakers.
    """
    least = SHORTEST_VOICE_S * RATE_HZ / HOP
    here_FS, there_FG = window_FS[:num_shared], known_FG[len(known_FG) - num_shared :]
    here_S1, there_1G = here_FS.sum(axis=0)[:, None], there_FG.sum(axis=0)[None]
    together_SG = here_FS.T.astype(np.float64) @ there_FG
    heard_SG = np.maximum(here_S1, there_1G) > least
    apart_SG = heard_SG & (2 * together_SG < np.maximum(np.minimum(here_S1, there_1G), least))
    worth_SG = together_SG + 0.5 * np.outer(window_FS.any(axis=0), known_FG.any(axis=0))
    worth_SG[apart_SG] = _REFUSED
    num_speakers, num_known = worth_SG.shape
    worth = np.hstack([worth_SG, np.full((num_speakers, num_speakers), _NEW)])
    chosen = scipy.optimize.linear_sum_assignment(worth, maximize=True)[1].tolist()
    new = iter(range(num_known, num_known + num_speakers))
    return [place if place < num_known else next(new) for place in chosen]


def spans(active_F: Active, *, duration_s: float) -> list[Span]:
    """Half-open intervals in s in which frames are active, over pauses of less than 0.1 s.

    The frames are stretched over the whole sound, by 23 ms at its ends, where there are none.
    """
    edges_s = np.linspace(0.0, duration_s, len(active_F) + 1)
    found: list[Span] = []
    for (run,) in scipy.ndimage.find_objects(scipy.ndimage.label(active_F)[0]):
        start_s, end_s = float(edges_s[run.start]), float(edges_s[run.stop])
        if found and start_s - found[-1][1] < _SHORTEST_PAUSE_S:
            start_s = found.pop()[0]
        found.append((start_s, end_s))
    return found


def shared_s(first: Iterable[Span], second: Iterable[Span]) -> float:
    """Time in s that two lists of intervals share; neither overlaps with itself."""
    pairs = product(first, second)
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a, b in pairs)
