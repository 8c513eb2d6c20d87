"""AC: whether sound and picture are of the same thing, by embeddings of ImageBind.

AVI-Edit tells no protocol for its AC. Each function here is one that is in use, with its own scale.

K views or clips of a video or of a sound, D dimensions.
"""

import numpy as np

from avipipe.evaluate.metrics.cosine import Features, framewise, unit
from avipipe.evaluate.metrics.undefined import Undefined


def audio_consistency(video_KD: Features, audio_KD: Features) -> float:
    """Hundred times the cosine of the mean embeddings of picture and sound, in [-100, 100].

    Args:
        video_KD: of every view, as ImageBind's loader makes them (5 clips of 3 crops).
        audio_KD: of every clip of the sound (3).
    Raises:
        Undefined: there is no view, or an embedding is zero or not finite.
    Source: facebookresearch/ImageBind@53680b0, which averages the views of each input; times 100
    as the scale of published tables has it.
    """
    return 100.0 * ib_score(video_KD, audio_KD)


def ib_score(video_KD: Features, audio_KD: Features) -> float:
    """Cosine of the mean embeddings of picture and sound, in [-1, 1].

    Args:
        video_KD: of every view; av-benchmark's are not those of ImageBind's loader.
        audio_KD: of every clip of the sound.
    Raises:
        Undefined: there is no view, or an embedding is zero or not finite.
    Source: hkchengrex/av-benchmark@050a5cd, `evaluate` (IB-score).
    """
    if not len(video_KD) or not len(audio_KD):
        raise Undefined("there is no view of the picture or of the sound")
    video_D, audio_D = (unit(np.mean(x_KD, axis=0, dtype=float)) for x_KD in (video_KD, audio_KD))
    return float(video_D @ audio_D)


def coherent_consistency(video_KD: Features, audio_KD: Features) -> float:
    """Mean cosine of clips of picture and sound that are of the same time, in [-1, 1].

    Args:
        video_KD: of 5 clips of the edited video, one centre crop each.
        audio_KD: of 5 clips of the sound: of the source's, where the protocol is CoherentAVEdit's.
    Raises:
        Undefined: they are not equally many, or an embedding is zero or not finite.
    Source: SonyResearch/CoherentAVEdit@a518d5d, compute_IB_scores.py.
    """
    return float(framewise(video_KD, audio_KD).mean())
