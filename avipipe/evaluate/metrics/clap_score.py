"""CLAP score: how well a sound goes with words."""

from avipipe.evaluate.metrics.cosine import Features, unit


def clap_score(audio_D: Features, text_D: Features) -> float:
    """Cosine of the embeddings of sound and words, in [-1, 1]; of a set, the mean over clips.

    Numbers of different checkpoints do not compare.

    Raises:
        Undefined: an embedding is zero or not finite.
    Source: hkchengrex/av-benchmark@050a5cd, `evaluate` (LAION-CLAP and MS-CLAP scores, not times
    100).
    """
    return float(unit(audio_D) @ unit(text_D))
