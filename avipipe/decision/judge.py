"""Keep or drop: a pure function of evidence, hard limits and a file of numbers.

What is exact is a hard limit: too short, silent, nothing that moves, nothing to mask. All else
speaks for or against a clip, and a clip falls when the probability that it is good stays below what
is asked, whatever evidence is still to come. So an early decision never differs from a late one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from avipipe.decision.check import STAGES, Check, Sense
from avipipe.decision.checks import CHECKS, KNOWN, measures
from avipipe.decision.model import (
    Contribution,
    DecisionModel,
    best_log_odds,
    contributions,
    log_odds,
    probability,
)
from avipipe.manifests.records import DropReason, Evidence

Values = Mapping[str, float | None]
"""Name of each check whose evidence is there -> its value, None where it is unknown."""


@dataclass(frozen=True, slots=True)
class LimitFinding:
    """What one hard limit found on one clip. An unknown value passes."""

    reason: DropReason
    measure: str
    limit: float
    sense: Sense
    value: float | None
    passed: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "reason": self.reason.value,
            "measure": self.measure,
            "limit": self.limit,
            "sense": self.sense,
            "value": self.value,
            "passed": self.passed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LimitFinding":
        return cls(**{**data, "reason": DropReason(data["reason"])})


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision and all that it rests on.

    Attributes:
        findings: of the hard limits that are set and whose evidence is there.
        contributions: what speaks for and against, strongest against first.
        probability: that the clip is good, on what is known so far.
        best_probability: the most that it may become; the same once all evidence is there.
        reason: why the clip is dropped; None where it is kept, so far.
    """

    findings: tuple[LimitFinding, ...]
    contributions: tuple[Contribution, ...]
    probability: float
    best_probability: float
    min_probability: float
    reason: DropReason | None

    def to_json(self) -> Evidence:
        return {
            "probability": round(self.probability, 4),
            "best_probability": round(self.best_probability, 4),
            "min_probability": self.min_probability,
            "contributions": [each.to_json() for each in self.contributions],
            "findings": [each.to_json() for each in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides clips by their evidence and the numbers of a model.

    Attributes:
        limits: name of a check -> its hard limit.
        min_probability: from which a clip is kept.
    """

    model: DecisionModel
    limits: Mapping[str, float]
    min_probability: float

    def on(self, known: Mapping[str, Evidence]) -> Judgement:
        """Decide a clip on its evidence by stage, as far as it has been gathered."""
        return self.judge(measures(known), priors_of(self.model, known))

    def judge(self, values: Values, priors: Collection[str]) -> Judgement:
        """Decide on a clip by the evidence that is there.

        Args:
            priors: the measures that count by what the literature says (`priors_of`).
        """
        findings = tuple(
            _finding(check, self.limits[check.name], values[check.name])
            for check in CHECKS
            if check.name in self.limits and check.name in values
        )
        found = contributions(self.model, values, priors)
        best = best_log_odds(self.model, values, found)
        missed = next((each.reason for each in findings if not each.passed), None)
        unlikely = probability(best) < self.min_probability
        return Judgement(
            findings=findings,
            contributions=tuple(found),
            probability=probability(log_odds(self.model, found)),
            best_probability=probability(best),
            min_probability=self.min_probability,
            reason=missed or (_strongest(found) if unlikely else None),
        )


def by_prior(model: DecisionModel, backends: Mapping[str, str]) -> frozenset[str]:
    """The measures that other annotators gave than those that the model was fitted on.

    Not those whose fitted numbers are their priors: of these nothing else could be said.
    """
    others = {role for role, backend in backends.items() if model.backends.get(role) != backend}
    return frozenset(
        name
        for name, term in model.terms.items()
        if term.knots != term.prior and not others.isdisjoint(KNOWN[name].roles)
    )


def priors_of(model: DecisionModel, known: Mapping[str, Evidence]) -> frozenset[str]:
    """The measures of a clip that count by their priors, as each stage's annotators gave them.

    Args:
        known: stage -> its evidence, as far as it has been gathered.
    """
    found: set[str] = set()
    backends: dict[str, str] = {}
    for stage in STAGES:
        backends |= known.get(stage, {}).get("backends", {})
        own = by_prior(model, backends)
        found |= {name for name in own if KNOWN[name].stage == stage}
    return frozenset(found)


def used_backends(known: Mapping[str, Evidence]) -> dict[str, str]:
    """Role -> `name@version` of the annotators that gave a clip's evidence."""
    return {
        role: backend
        for evidence in known.values()
        for role, backend in evidence.get("backends", {}).items()
    }


def _finding(check: Check, limit: float, value: float | None) -> LimitFinding:
    passed = value is None or (value - limit) * check.sign >= 0
    return LimitFinding(check.reason, check.name, limit, check.sense, value, passed)


def _strongest(found: list[Contribution]) -> DropReason:
    """The reason that speaks most strongly against a clip."""
    return KNOWN[found[0].measure].reason if found else DropReason.NO_VISIBLE_SOURCE
