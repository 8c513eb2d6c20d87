"""What a decision is worth on clips that it was not fitted on.

Folds are whole groups (repositories, sources), since clips of one group are alike. Everything that
is chosen from labels (shrinkage, calibration) is chosen inside the folds.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.optimize

from avipipe.calibrate.fit import Example, Fit, Floats, fit
from avipipe.decision.model import Figure, Reliability

SHRINKAGES = (1.0, 3.0, 10.0, 30.0)
"""Strengths of the prior that are tried, about threefold apart; a choice."""
NUM_FOLDS = 8
"""Folds of whole groups; a choice."""
NUM_BINS = 8
"""Bins of a reliability curve; a choice."""

Indices = npt.NDArray[np.int64]

Predict = Callable[[Sequence[Example], Sequence[Example]], Floats]
"""From the examples to fit and those to judge to a number of each of the latter."""


class Fitted(Protocol):
    """What was fitted to labels."""

    def log_odds(self, examples: Sequence[Example]) -> Floats:
        """(N,) That each is good."""

    def scaled(self, slope: float, shift: float) -> Self:
        """With log-odds that are `slope * x + shift`."""


F = TypeVar("F", bound=Fitted)


def folds(groups: Collection[str], num_folds: int = NUM_FOLDS, seed: int = 0) -> Iterator[set[str]]:
    """Groups in folds of about equally many, drawn by a seed."""
    order = sorted(
        set(groups), key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest()
    )
    for first in range(min(num_folds, len(order))):
        yield set(order[first::num_folds])


def out_of_fold(
    examples: Sequence[Example],
    predict: Predict,
    seed: int = 0,
) -> Floats:
    """(N,) Each example as a fit to the other folds sees it."""
    found_N = np.zeros(len(examples))
    for fold in folds([each.group for each in examples], seed=seed):
        inside = np.array([each.group in fold for each in examples])
        others = [each for each, is_in in zip(examples, inside, strict=True) if not is_in]
        judged = [each for each, is_in in zip(examples, inside, strict=True) if is_in]
        found_N[inside] = predict(others, judged)
    return found_N


def tuned(
    examples: Sequence[Example],
    fitted: Callable[[Sequence[Example], float], F],
    shrinkages: Sequence[float],
    seed: int = 0,
) -> F:
    """Fit, with the shrinkage that predicts best across folds, calibrated on what it predicted.

    Args:
        fitted: from examples and a shrinkage to a fit.
    """
    best: tuple[float, float, float, float] | None = None
    for shrinkage in shrinkages:
        odds_N = out_of_fold(examples, _predicting(fitted, shrinkage), seed)
        slope, shift = calibration(odds_N, examples)
        loss = _log_loss(odds_N * slope + shift, examples)
        if best is None or loss < best[0]:
            best = loss, shrinkage, slope, shift
    assert best is not None
    _, shrinkage, slope, shift = best
    return fitted(examples, shrinkage).scaled(slope, shift)


def tuned_fit(examples: Sequence[Example], names: Sequence[str]) -> Fit:
    """Tune and fit to measures, as `fit` does."""
    return tuned(examples, lambda some, s: fit(some, names, shrinkage=s), SHRINKAGES)


def _predicting(fitted: Callable[[Sequence[Example], float], F], shrinkage: float) -> Predict:
    return lambda others, judged: fitted(others, shrinkage).log_odds(judged)


def calibration(odds_N: Floats, examples: Sequence[Example]) -> tuple[float, float]:
    """Slope and shift that make log-odds those of probabilities (Platt 1999), by the weights."""

    def loss(line: Floats) -> float:
        # Drawn towards 1 a little, so that labels that separate do not make it infinite.
        return _log_loss(odds_N * line[0] + line[1], examples) + 0.5 * float(line[0] - 1) ** 2

    bounds = [(0.05, 3.0), (None, None)]
    found = scipy.optimize.minimize(loss, np.array([1.0, 0.0]), bounds=bounds)
    return float(found.x[0]), float(found.x[1])


def reliability(probability_N: Floats, examples: Sequence[Example]) -> tuple[Reliability, ...]:
    """Said against so, in bins of about equally many."""
    _, good_N = _columns(examples)
    order = np.argsort(probability_N, kind="stable")
    return tuple(
        Reliability(
            num=len(part),
            mean_probability=round(float(probability_N[part].mean()), 4),
            share_good=round(float(good_N[part].mean()), 4),
        )
        for part in np.array_split(order, min(NUM_BINS, len(order)))
        if len(part)
    )


def calibration_error(probability_N: Floats, examples: Sequence[Example]) -> float:
    """Expected calibration error: mean distance of said from so, over bins of equally many."""
    weight_N, good_N = _columns(examples)
    order = np.argsort(probability_N, kind="stable")
    error = 0.0
    for part in np.array_split(order, min(NUM_BINS, len(order))):
        weight = weight_N[part].sum()
        if weight:
            off = weight_N[part] @ (probability_N[part] - good_N[part]) / weight
            error += weight / weight_N.sum() * abs(float(off))
    return float(error)


def bootstrapped(
    groups: Sequence[str],
    statistic: Callable[[Indices], float],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> Figure:
    """A figure with its interval of 95 %, by drawing whole groups again.

    Args:
        groups: of each item. `statistic`: of the items at these indices; NaN is left out.
    """
    members: dict[str, list[int]] = {}
    for n, group in enumerate(groups):
        members.setdefault(group, []).append(n)
    lists = [np.array(each) for each in members.values()]
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([lists[k] for k in rng.integers(len(lists), size=len(lists))]))
        for _ in range(num_draws)
    ]
    known = [each for each in drawn if np.isfinite(each)]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (0.0, 1.0)
    value = statistic(np.arange(len(groups)))
    return Figure(value=round(value, 4), low=round(float(low), 4), high=round(float(high), 4))


def sigmoid(odds_N: Floats) -> Floats:
    """The probabilities that log-odds mean."""
    return np.asarray(1 / (1 + np.exp(-np.clip(odds_N, -30, 30))))


def _columns(examples: Sequence[Example]) -> tuple[Floats, Floats]:
    weight_N = np.array([each.weight for each in examples])
    return weight_N, np.array([each.is_good for each in examples], np.float64)


def _log_loss(odds_N: Floats, examples: Sequence[Example]) -> float:
    weight_N, good_N = _columns(examples)
    return float(weight_N @ (np.logaddexp(0.0, odds_N) - good_N * odds_N))
