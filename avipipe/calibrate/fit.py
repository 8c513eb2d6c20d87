"""Fits the numbers of a decision to labelled clips: a shrunk, sign-constrained linear model.

Of the models tried on labelled clips of other repositories than those fitted on, additive ones with
little freedom carry over best; see docs/decisions. Each measure is clipped to its range and
standardised; its weight may only have the sign that the measure is meant to have, and is drawn
towards what the literature says. Unknown values lie at the mean, where they add nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize

from avipipe.decision.checks import KNOWN
from avipipe.decision.model import Knot, Term

Floats = npt.NDArray[np.float64]

PRIOR_WEIGHT = 0.25
"""Log-odds that a measure one standard deviation from its mean adds, before any label is seen."""


@dataclass(frozen=True, slots=True)
class Example:
    """A clip and what people say of it.

    Attributes:
        values: measure -> value.
        group: clips of one group are alike and stand in one fold.
        weight: of the clip among all.
    """

    values: Mapping[str, float | None]
    is_good: bool
    group: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How a measure is standardised."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights (K,) of standardised measures, and the intercept."""

    names: tuple[str, ...]
    scales: tuple[Scale, ...]
    weights_K: Floats
    priors_K: Floats
    intercept: float

    def log_odds(self, examples: Sequence[Example]) -> Floats:
        """(N,) That each is good."""
        return standardised(examples, self.names, self.scales) @ self.weights_K + self.intercept

    def scaled(self, slope: float, shift: float) -> "Fit":
        """With log-odds that are `slope * x + shift`."""
        return Fit(
            self.names,
            self.scales,
            self.weights_K * slope,
            self.priors_K,
            self.intercept * slope + shift,
        )

    def terms(self) -> dict[str, Term]:
        """The measures as knots."""
        rows = zip(self.names, self.scales, self.weights_K, self.priors_K, strict=True)
        return {
            name: Term(knots=_knots(name, scale, weight), prior=_knots(name, scale, prior))
            for name, scale, weight, prior in rows
        }


def fit(
    examples: Sequence[Example],
    names: Sequence[str],
    *,
    shrinkage: float,
) -> Fit:
    """The weights that explain the labels best, each class counting equally.

    Args:
        shrinkage: weight of the squared distance of the weights from their priors.
    """
    scales = tuple(_scale(examples, name) for name in names)
    x_NK = standardised(examples, names, scales)
    good_N = np.array([example.is_good for example in examples], np.float64)
    weight_N = np.array([example.weight for example in examples])
    for is_good in (0.0, 1.0):
        weight_N[good_N == is_good] /= weight_N[good_N == is_good].sum() * 2
    signs_K = np.array([KNOWN[name].sign for name in names], np.float64)
    priors_K = signs_K * PRIOR_WEIGHT
    # Clips of one group say much the same, so labels weigh as many as there are groups.
    scale = len({example.group for example in examples})

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds_N = x_NK @ weights[:-1] + weights[-1]
        loss_N = np.logaddexp(0.0, odds_N) - good_N * odds_N
        error_N = weight_N * (1 / (1 + np.exp(-odds_N)) - good_N)
        off_K = weights[:-1] - priors_K
        value = scale * float(weight_N @ loss_N) + shrinkage / 2 * float(off_K @ off_K)
        slope = np.append(scale * (error_N @ x_NK) + shrinkage * off_K, scale * error_N.sum())
        return value, slope

    bounds = [(0.0, None) if sign > 0 else (None, 0.0) for sign in signs_K]
    found = scipy.optimize.minimize(
        loss,
        np.append(priors_K, 0.0),
        jac=True,
        bounds=[*bounds, (None, None)],
        method="L-BFGS-B",
    )
    return Fit(tuple(names), scales, found.x[:-1], priors_K, float(found.x[-1]))


def standardised(
    examples: Sequence[Example], names: Sequence[str], scales: Sequence[Scale]
) -> Floats:
    """(N, K) Clipped to the measure's range; 0 where it is unknown."""
    x_NK = np.zeros((len(examples), len(names)))
    for k, (name, scale) in enumerate(zip(names, scales, strict=True)):
        low, high = KNOWN[name].span
        for n, example in enumerate(examples):
            value = example.values.get(name)
            if value is not None:
                x_NK[n, k] = (min(max(value, low), high) - scale.mean) / scale.deviation
    return x_NK


def _scale(examples: Sequence[Example], name: str) -> Scale:
    low, high = KNOWN[name].span
    found = [min(max(v, low), high) for e in examples if (v := e.values.get(name)) is not None]
    if len(found) < 2:
        return Scale((low + high) / 2, (high - low) / 2)
    # What is nearly always the same must not count hugely where for once it is not.
    return Scale(float(np.mean(found)), max(float(np.std(found)), (high - low) / 8))


def _knots(name: str, scale: Scale, weight: float) -> tuple[Knot, ...]:
    low, high = KNOWN[name].span
    return tuple(
        (value, round(weight * (value - scale.mean) / scale.deviation, 4)) for value in (low, high)
    )
