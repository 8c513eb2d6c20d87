"""Similarity by DINO: of an edit with its source, and of a clip with itself over time."""

from collections.abc import Iterable

import numpy as np

from avipipe.evaluate.metrics.cosine import Features, framewise, several
from avipipe.evaluate.metrics.structure_distance import self_similarities


def frame_similarity(source_TD: Features, edit_TD: Features) -> float:
    """Mean cosine of the CLS features of source and edit, frame by frame.

    Of frames cropped to the mask (`extractors.local_views`) and DINOv2 it is FlowAnchor's L.DINO.

    Raises:
        Undefined: not as many frames on both sides, none, or a feature without direction.
    Source: AvED (arXiv 2503.20782) leaves its DINO score open; FlowAnchor's supplement.
    """
    return float(framewise(source_TD, edit_TD).mean())


def layout_similarity(source: Iterable[Features], edit: Iterable[Features]) -> float:
    """How alike the self-similarities of source and edit are: 1 is the same layout.

    1 - |S - E|^2 / (|S|^2 + |E|^2) of the two maps, so that it does not depend on how much the
    tokens of a picture have in common; then the mean over frames.

    Args:
        source, edit: keys (N tokens, D) of each frame, as for the structure distance.
    Raises:
        Undefined: no frames, not as many on both sides, other sizes, a key without direction.
    Source: this project's reading of AvED's "DINO, higher is better", which no text defines.
    """
    likeness = [
        1 - np.square(a - b).sum() / (np.square(a).sum() + np.square(b).sum())
        for a, b in self_similarities(source, edit)
    ]
    return float(np.mean(likeness))


def subject_consistency(frames_TD: Features) -> float:
    """Mean of the cosines with the previous and with the first frame, each at least 0.

    Raises:
        Undefined: fewer than two frames, or a feature without direction.
    Source: Vchitect/VBench@45e79ec, `subject_consistency` of one video.
    """
    frames_TD = several(frames_TD)
    to_previous = framewise(frames_TD[:-1], frames_TD[1:])
    to_first = frames_TD[1:] @ frames_TD[0]
    return float(np.mean(np.maximum(to_previous, 0) + np.maximum(to_first, 0)) / 2)
