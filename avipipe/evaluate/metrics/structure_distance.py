"""Structure distance: how far the layout of an edit is from the source's, by DINO's keys."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.cosine import Features, unit
from avipipe.evaluate.metrics.undefined import Undefined

Map = npt.NDArray[np.float64]


def structure_distance(source: Iterable[Features], edit: Iterable[Features]) -> float:
    """Mean squared difference of self-similarities, over frames; 0 is the same layout.

    Which range of colours the network saw decides the number by a factor of about two: the right
    one is that of the view `whole` (`extractors.dino_views`), that of PIE-Bench and FiVE of
    `whole_pie`. Tables print it times 1000.

    Args:
        source, edit: of each frame, keys (N tokens, D) of the last block, CLS first, heads
            concatenated.
    Raises:
        Undefined: no frames, not as many on both sides, other sizes, a key without direction.
    Source: Tumanyan et al., Splicing ViT Features (CVPR 2022); cure-lab/PnPInversion@07f97f4,
        `calculate_structure_distance`.
    """
    return float(np.mean([np.square(a - b).mean() for a, b in self_similarities(source, edit)]))


def self_similarity(keys_ND: Features) -> Map:
    """Cosine of the key of each token with that of every other, (N, N).

    Raises:
        Undefined: a key without direction.
    """
    keys_ND = unit(keys_ND)
    return np.asarray(keys_ND @ keys_ND.T)


def self_similarities(
    source: Iterable[Features], edit: Iterable[Features]
) -> Iterator[tuple[Map, Map]]:
    """The self-similarity of each frame of the source, with that of the edit's.

    Raises:
        Undefined: no frames, not as many on both sides, other sizes, a key without direction.
    """
    is_empty = True
    for source_ND, edit_ND in zip_longest(source, edit):
        if source_ND is None or edit_ND is None:
            raise Undefined("source and edit have not as many frames")
        if len(source_ND) != len(edit_ND):
            raise Undefined(f"frames of {len(source_ND)} and of {len(edit_ND)} tokens")
        is_empty = False
        yield self_similarity(source_ND), self_similarity(edit_ND)
    if is_empty:
        raise Undefined("no frames")
