"""Fits a decision to a dataset's own labels: what each measure says keeps its shape and its sign,
and counts more or less.

A hundred labels cannot fit fifty weights. So each measure has one factor, 1 where the labels do not
say otherwise, by which what it adds is multiplied; and the sum is calibrated.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from avipipe.calibrate.crossval import sigmoid, tuned
from avipipe.calibrate.fit import Example, Floats
from avipipe.decision.model import DecisionModel, Term

SHRINKAGES = (3.0, 10.0, 30.0, 100.0)
"""Weights of the squared distance of the factors from 1."""


@dataclass(frozen=True, slots=True)
class Rescaled:
    """A model's terms with other factors, and the intercept that goes with them."""

    terms: dict[str, Term]
    intercept: float

    def log_odds(self, examples: Sequence[Example]) -> Floats:
        """(N,) That each is good."""
        said_NK = _said(self.terms, examples)
        return np.asarray(said_NK.sum(axis=1) + self.intercept)

    def scaled(self, slope: float, shift: float) -> "Rescaled":
        """With log-odds that are `slope * x + shift`."""
        terms = {name: _times(term, slope) for name, term in self.terms.items()}
        return Rescaled(terms, self.intercept * slope + shift)


def own_terms(model: DecisionModel, priors: Collection[str]) -> dict[str, Term]:
    """The terms as they count for a dataset: those of other backends by their priors."""
    return {
        name: Term(knots=term.prior if name in priors else term.knots, prior=term.prior)
        for name, term in model.terms.items()
    }


def rescaled(terms: dict[str, Term], examples: Sequence[Example], shrinkage: float) -> Rescaled:
    """The factors, none of them negative, that explain labels best while near 1."""
    said_NK = _said(terms, examples)
    good_N = np.array([each.is_good for each in examples], np.float64)
    weight_N = np.array([each.weight for each in examples])

    def loss(numbers: Floats) -> tuple[float, Floats]:
        odds_N = said_NK @ numbers[:-1] + numbers[-1]
        error_N = weight_N * (sigmoid(odds_N) - good_N)
        off_K = numbers[:-1] - 1
        value = float(weight_N @ (np.logaddexp(0.0, odds_N) - good_N * odds_N))
        slope_K = error_N @ said_NK + shrinkage * off_K
        return value + shrinkage / 2 * float(off_K @ off_K), np.append(slope_K, error_N.sum())

    start = np.append(np.ones(len(terms)), 0.0)
    bounds = [(0.0, None)] * len(terms) + [(None, None)]
    found = scipy.optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
    factors = dict(zip(terms, found.x[:-1].tolist(), strict=True))
    scaled = {name: _times(term, factors[name]) for name, term in terms.items()}
    return Rescaled(scaled, float(found.x[-1]))


def tuned_rescaled(terms: dict[str, Term], examples: Sequence[Example], seed: int = 0) -> Rescaled:
    """Fit, with the shrinkage and the calibration that predict best across folds."""
    return tuned(examples, lambda some, s: rescaled(terms, some, s), SHRINKAGES, seed)


def _said(terms: dict[str, Term], examples: Sequence[Example]) -> Floats:
    """(N, K) What each measure adds for each example."""
    return np.array(
        [
            [term.adds(each.values.get(name), by_prior=False) for name, term in terms.items()]
            for each in examples
        ]
    ).reshape(len(examples), len(terms))


def _times(term: Term, factor: float) -> Term:
    return Term(
        knots=tuple((x, round(y * factor, 4)) for x, y in term.knots),
        prior=term.prior,
    )
