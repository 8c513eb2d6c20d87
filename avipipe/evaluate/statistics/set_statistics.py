"""Numbers of whole sets of clips, each with what is needed to read it.

N rows of the reference set and M of the edits, D dimensions; a clip has one row or several, and
rows of one source video are not independent.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.bootstrap import SIGMAS, Clusters
from avipipe.evaluate.statistics.frechet import FeatureMoments, frechet_distance
from avipipe.evaluate.statistics.frechet_spread import frechet_spread, video_halves
from avipipe.evaluate.statistics.inception_score import inception_score
from avipipe.evaluate.statistics.mmd import kvd

Features = npt.NDArray[np.floating]

MIN_CLIPS = 256
"""Clips below which a Fréchet distance or an Inception score tells how few they are: at 110 clips
and 400 dimensions the distance of a distribution to itself is 0.6 to 1.2 of its variance."""
_NULL_PERCENT = 97.5
"""Of the distances that chance gives, those below which all but 1 in 40 lie: one side of 95 %."""


@dataclass(frozen=True, slots=True)
class FeatureSample:
    """Features of a reference set (N, D) and of edits (M, D), with the source video of each row."""

    reference_ND: Features
    edits_MD: Features
    reference_clusters_N: Clusters
    edit_clusters_M: Clusters

    @property
    def has_one_row_a_video(self) -> bool:
        """Whether the rows of either side are independent."""
        sides = (self.reference_clusters_N, self.edit_clusters_M)
        return all(len(np.unique(of_video)) == len(of_video) for of_video in sides)


@dataclass(frozen=True, slots=True)
class SetReading:
    """A number of a set.

    Attributes:
        low, high: interval of 95 % at this number of clips, from source videos being those that
            they are; None where there are too few. A bias is not part of it.
        null, null_high: what halves of the reference set have to each other: the mean, and the
            upper end of 95 %. None where the number has no reference set.
        infinity: extrapolated to infinitely many clips; None where there are too few.
        rank: the lesser one of both covariances; below D, directions lack for want of clips.
        reason: why there is no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    null: float | None = None
    null_high: float | None = None
    infinity: float | None = None
    rank: int | None = None
    reason: str = ""


class SetStatistic(Protocol):
    """How a number is made of a set."""

    least_clips: ClassVar[int]
    """Clips below which it is refused, unless asked for."""
    has_reference: ClassVar[bool]
    """Whether it compares edits with their sources, or is of the edits alone."""

    def value(self, sample: FeatureSample) -> float:
        """The number alone.

        Raises:
            Undefined: there is none.
        """
        ...

    def reading(self, sample: FeatureSample, *, seed: int) -> SetReading:
        """The number with all that is needed to read it.

        Raises:
            Undefined: there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Frechet:
    """Fréchet distance to the sources; `ddof` as in `frechet_distance`."""

    least_clips: ClassVar[int] = MIN_CLIPS
    has_reference: ClassVar[bool] = True
    ddof: int = 1

    def value(self, sample: FeatureSample) -> float:
        return frechet_distance(sample.reference_ND, sample.edits_MD, ddof=self.ddof)

    def reading(self, sample: FeatureSample, *, seed: int) -> SetReading:
        sides = (sample.reference_ND, sample.edits_MD)
        bare = SetReading(
            self.value(sample), rank=min(FeatureMoments.of(each).rank for each in sides)
        )
        try:
            spread = frechet_spread(
                *sides,
                reference_clusters_N=sample.reference_clusters_N,
                edit_clusters_M=sample.edit_clusters_M,
                seed=seed,
                ddof=self.ddof,
            )
        except Undefined as error:
            return replace(bare, reason=error.reason)
        found = _with_spread(bare, spread.null_S, spread.halves_S, least=0.0)
        # Of rows that resemble each other half are no half of what is known: no line in 1 / N.
        if spread.infinity is None or not sample.has_one_row_a_video:
            return found
        return replace(found, infinity=spread.infinity.value)


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """Maximum mean discrepancy to the sources, unbiased; below 0 is chance."""

    least_clips: ClassVar[int] = 2
    has_reference: ClassVar[bool] = True

    def value(self, sample: FeatureSample) -> float:
        return kvd(
            sample.reference_ND,
            sample.edits_MD,
            sample.reference_clusters_N,
            sample.edit_clusters_M,
        )

    def reading(self, sample: FeatureSample, *, seed: int) -> SetReading:
        bare = SetReading(self.value(sample))
        here_N, there_M = sample.reference_clusters_N, sample.edit_clusters_M
        reference_ND, edits_MD = sample.reference_ND, sample.edits_MD
        try:
            null = [
                kvd(reference_ND[half], reference_ND[~half], here_N[half], here_N[~half])
                for half, _ in video_halves(here_N, here_N, seed=seed)
            ]
            parts = [
                kvd(reference_ND[here], edits_MD[there], here_N[here], there_M[there])
                for here, there in video_halves(here_N, there_M, seed=seed)
            ]
        except Undefined as error:
            return replace(bare, reason=error.reason)
        return _with_spread(bare, np.array(null), np.array(parts), least=-np.inf)


@dataclass(frozen=True, slots=True)
class InceptionOfSet:
    """Inception score of the edits in ten splits; it has no reference set."""

    least_clips: ClassVar[int] = MIN_CLIPS
    has_reference: ClassVar[bool] = False

    def value(self, sample: FeatureSample) -> float:
        return inception_score(sample.edits_MD).mean

    def reading(self, sample: FeatureSample, *, seed: int) -> SetReading:
        bare, there_M = SetReading(self.value(sample)), sample.edit_clusters_M
        try:
            drawn = [half for half, _ in video_halves(there_M, there_M, seed=seed)]
            spread = np.array([inception_score(sample.edits_MD[half]).mean for half in drawn])
        except Undefined as error:
            return replace(bare, reason=error.reason)
        half = SIGMAS * float(spread.std(ddof=1))
        return replace(bare, low=max(1.0, bare.value - half), high=bare.value + half)


def _with_spread(
    bare: SetReading, null_S: Features, halves_S: Features, *, least: float
) -> SetReading:
    """With the spread over halves of the videos, whose scale is that of the whole."""
    half = SIGMAS * float(halves_S.std(ddof=1))
    return replace(
        bare,
        low=max(least, bare.value - half),
        high=bare.value + half,
        null=float(null_S.mean()),
        null_high=float(np.percentile(null_S, _NULL_PERCENT)),
    )
