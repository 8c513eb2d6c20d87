"""What a metric of a whole set is, and the features that it is made of, case by case."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.metric import Family, Need, Score, Sense, attempted, identity_of, weights_of
from avipipe.evaluate.metrics.undefined import require_finite
from avipipe.evaluate.statistics.set_statistics import SetStatistic

Rows = npt.NDArray[np.floating[Any]]


class FeaturePair(NamedTuple):
    """What a model makes of source and edit: (N, D) and (M, D)."""

    source_ND: Rows
    edit_MD: Rows


@dataclass(frozen=True, slots=True)
class FeatureKind:
    """Features by one model of one view; several metrics may be made of them.

    Attributes:
        name: in tables and in the store.
        embed: from a case to its features; raises `Undefined` where there are none.
        needs, extractors: as those of a metric.
        version: raised whenever the same case would have others.
    """

    name: str
    embed: Callable[[CaseView], FeaturePair]
    needs: tuple[Need, ...]
    extractors: tuple[type[Weighted], ...]
    version: int = 1

    @property
    def identity(self) -> str:
        """Their version, and what identifies their model and weights.

        Raises:
            WeightsError: one is missing.
        """
        return identity_of(self.version, self.extractors)


@dataclass(frozen=True, slots=True)
class CaseFeatures:
    """How the features of a case came out; the score is how many rows the edit has."""

    score: Score
    pair: FeaturePair | None = None


@dataclass(frozen=True, slots=True)
class SetMetric:
    """A metric of all edits of a method together, by one protocol.

    Attributes:
        statistic: how the number is made of the features of all cases.
        words: what it says, for people, in a sentence.
        protocol: what moves its number: views, models, and whose definition it is.
        version: raised whenever the same features would score otherwise.
    """

    features: FeatureKind
    statistic: SetStatistic
    sense: Sense
    words: str
    protocol: str
    unit: str = ""
    version: int = 1
    family: Family = "set"

    @property
    def extractors(self) -> tuple[type[Weighted], ...]:
        return self.features.extractors

    @property
    def needs(self) -> tuple[Need, ...]:
        return self.features.needs

    @property
    def weights(self) -> tuple[str, ...]:
        """Names in the lock file."""
        return weights_of(self.extractors)


def embedded(kind: FeatureKind, view: CaseView) -> CaseFeatures:
    """Make the features of a case, by a model that lacks nothing here; whatever happens is told."""
    made: list[FeaturePair] = []

    def count() -> float:
        pair = kind.embed(view)
        for rows_ND in pair:
            require_finite(rows_ND, "features")
        made.append(pair)
        return len(pair.edit_MD)

    score = attempted(kind.needs, view, count)
    return CaseFeatures(score, *made)
