"""How well a whole video goes with words."""

from avipipe.evaluate.metrics.cosine import Features, unit


def video_text_similarity(video_D: Features, text_D: Features) -> float:
    """Cosine of the embeddings of a video and of words, in [-1, 1]; of a set, the mean over clips.

    Raises:
        Undefined: an embedding is zero or not finite.
    Source: VBench 0.1.5, overall_consistency.py, not times 100.
    """
    return float(unit(video_D) @ unit(text_D))
