"""Scores by CLIP: how steady a clip is, and how well it fits words.

All are pure functions of raw CLIP embeddings, T frames of D numbers, and all give cosines in
[-1, 1] or shares in [0, 1]; most tables print them times 100. They depend on the CLIP model, on
how frames were cropped and on the frame rate, which a report has to say beside them.
"""

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.cosine import Features, framewise, several, unit


def adjacent_consistency(frames_TD: Features) -> float:
    """Mean cosine of consecutive frames: FC of AVI-Edit, CLIP-F of FlowAnchor.

    A frozen clip scores 1, so it says nothing of whether an edit was made.

    Raises:
        Undefined: fewer than two frames, or a feature without direction.
    Source: Wu et al., Tune-A-Video (ICCV 2023), "frame consistency".
    """
    frames_TD = several(frames_TD)
    return float(framewise(frames_TD[:-1], frames_TD[1:]).mean())


def all_pairs_consistency(frames_TD: Features) -> float:
    """Mean cosine over all pairs of two frames: CLIP-F as AudioScenic words it.

    Raises:
        Undefined: fewer than two frames, or a feature without direction.
    Source: AudioScenic (arXiv 2404.16581), section 5.3; in closed form.
    """
    frames_TD = several(frames_TD)
    num_frames = len(frames_TD)
    squared_sum = float(np.square(frames_TD.sum(axis=0)).sum())
    return (squared_sum - num_frames) / (num_frames * (num_frames - 1))


def first_frame_consistency(frames_TD: Features) -> float:
    """Mean cosine of all later frames with the first.

    Raises:
        Undefined: fewer than two frames, or a feature without direction.
    """
    frames_TD = several(frames_TD)
    return float((frames_TD[1:] @ frames_TD[0]).mean())


def text_similarity(frames_TD: Features, text_D: Features) -> float:
    """Mean cosine of frames with a text: CLIP-T, TC. Not clamped where it is negative.

    With embeddings of what is inside the mask (`extractors.local_views`) it is local CLIP-T:
    frames blacked out around the mask for FiVE's, cropped to it for FlowAnchor's.

    Raises:
        Undefined: no frames, or a feature without direction.
    Source: torchmetrics `CLIPScore` for each frame, but for its clamp of the mean at 0.
    """
    return float(text_similarities(frames_TD, text_D[None]).mean())


def text_similarities(frames_TD: Features, texts_KD: Features) -> npt.NDArray[np.float64]:
    """Cosine of each frame with each of K texts, (T, K); equal texts get equal numbers.

    Raises:
        Undefined: no frames, or a feature without direction.
    """
    # A matrix product may round equal columns differently, which would break ties at random.
    return np.asarray(np.sum(unit(frames_TD)[:, None] * unit(texts_KD)[None], axis=-1))


def object_accuracy(frames_TD: Features, classes_KD: Features, target: int) -> float:
    """Share of frames that CLIP gives to the target's class: Obj.

    Args:
        classes_KD: embeddings of the names of all classes, of two objects or of a benchmark's all.
        target: which class the edit should show. A frame where another fits as well fails.
    Raises:
        Undefined: no frames, or a feature without direction.
    Source: AvED (arXiv 2503.20782) names the metric and leaves it open; this is a choice.
    """
    cosines_TK = text_similarities(frames_TD, classes_KD)
    others_TK = np.delete(cosines_TK, target, axis=1)
    return float((cosines_TK[:, target] > others_TK.max(axis=1)).mean())


def semantic_accuracy(frames_TD: Features, source_D: Features, target_D: Features) -> float:
    """Share of frames that fit the target label strictly better than the source label: Sem-A.

    Raises:
        Undefined: no frames, or a feature without direction.
    Source: AudioScenic (arXiv 2404.16581), section 5.3; "frame accuracy" of FateZero.
    """
    return object_accuracy(frames_TD, np.stack([source_D, target_D]), target=1)


def temporal_semantics(frames_TD: Features, text_D: Features) -> float:
    """CLIP-F over all pairs of frames times CLIP-T: Temp-S. The product is of a clip, then a mean.

    Raises:
        Undefined: fewer than two frames, or a feature without direction.
    Source: AudioScenic (arXiv 2404.16581), section 5.3, which prints it times 100.
    """
    return all_pairs_consistency(frames_TD) * text_similarity(frames_TD, text_D)
