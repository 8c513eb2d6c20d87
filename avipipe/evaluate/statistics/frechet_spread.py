"""How far a Fréchet distance can be trusted: what chance alone gives, and by how much it varies.

The plain bootstrap does not serve: repeated clips shrink the covariance and push every distance up
(a true 4.0, measured as 85, had a bootstrap mean of 151 at 1000 clips of 400 dimensions). Halves
drawn without replacement do.

Source: Shao and Wu, A general theory for jackknife variance estimation, Annals of Statistics 1989
(delete-d jackknife); with half of the clips deleted its scale is 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.bootstrap import Clusters
from avipipe.evaluate.statistics.frechet import (
    Array,
    Features,
    FrechetInfinity,
    frechet_distance,
    frechet_infinity,
)

NUM_HALVES = 40
"""Draws of half of the videos; a choice: the standard error is then known to about a tenth."""
_MIN_CLUSTERS = 8
"""Videos below which halves say nothing: 4 of 8 can be drawn in 70 ways; a choice."""


@dataclass(frozen=True, slots=True)
class FrechetSpread:
    """What is needed to read a Fréchet distance.

    `null_S` holds distances between halves of the reference set: what is due to chance alone, with
    the bias of half the clips, about twice that of the distance. `halves_S` holds the distance on
    halves of the videos, whose standard deviation (ddof 1) is the distance's standard error, in the
    order of the draws, so that those of two methods with one seed and the same videos can be
    subtracted.
    """

    null_S: Array
    halves_S: Array
    infinity: FrechetInfinity | None
    """None below 2 D features."""


def frechet_spread(
    reference_ND: Features,
    edits_MD: Features,
    *,
    reference_clusters_N: Clusters,
    edit_clusters_M: Clusters,
    seed: int,
    ddof: int = 1,
) -> FrechetSpread:
    """Null, spread and limit of the Fréchet distance between source and edited clips.

    Args:
        reference_ND: features of the reference set; `edits_MD` of the edits.
        reference_clusters_N: source video of each reference row; `edit_clusters_M` of each edit.
            Whole videos are drawn, the same on both sides.
        ddof: as in `frechet_distance`.
    Raises:
        Undefined: as `frechet_distance`; fewer than 8 videos.
    """
    null = [
        frechet_distance(reference_ND[half], reference_ND[~half], ddof=ddof)
        for half, _ in video_halves(reference_clusters_N, reference_clusters_N, seed=seed)
    ]
    halves = [
        frechet_distance(reference_ND[here], edits_MD[there], ddof=ddof)
        for here, there in video_halves(reference_clusters_N, edit_clusters_M, seed=seed)
    ]
    try:
        is_paired = np.array_equal(reference_clusters_N, edit_clusters_M)
        infinity = frechet_infinity(
            reference_ND, edits_MD, seed=seed, ddof=ddof, is_paired=is_paired
        )
    except Undefined:
        infinity = None
    return FrechetSpread(np.array(null), np.array(halves), infinity)


def video_halves(
    here_N: Clusters, there_M: Clusters, *, seed: int
) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Rows of either side whose video is in a random half of all videos.

    Raises:
        Undefined: fewer than 8 videos.
    """
    videos = np.unique(np.concatenate([here_N, there_M]))
    if len(videos) < _MIN_CLUSTERS:
        raise Undefined(f"{len(videos)} source videos, expected at least {_MIN_CLUSTERS} to halve")
    rng = np.random.default_rng(seed)
    for _ in range(NUM_HALVES):
        drawn = rng.permutation(videos)[: len(videos) // 2]
        yield np.isin(here_N, drawn), np.isin(there_M, drawn)
