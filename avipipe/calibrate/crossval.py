"""What a decision is worth on clips that it was not fitted on.

Folds are whole groups (repositories, sources), since clips of one group are alike. Everything that
is chosen from labels (shrinkage, calibration, the least probability) is chosen inside the folds.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize

from avipipe.calibrate.fit import Example, Fit, Floats, fit
from avipipe.decision.model import Figure, Reliability

SHRINKAGES = (1.0, 3.0, 10.0, 30.0)
NUM_FOLDS = 8
_BETA = 0.5
NUM_BINS = 8

Indices = npt.NDArray[np.int64]

Predict = Callable[[Sequence[Example], Sequence[Example]], Floats]
"""From the examples to fit and those to judge to a number of each of the latter."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fit with calibrated log-odds, and from which probability on clips are kept."""

    fit: Fit
    min_probability: float
    shrinkage: float


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


def tuned(examples: Sequence[Example], names: Sequence[str], seed: int = 0) -> Tuned:
    """Fit, with the shrinkage that predicts best across folds, calibrated on what it predicted."""
    predicted = {
        shrinkage: out_of_fold(examples, _fitting(names, shrinkage), seed)
        for shrinkage in SHRINKAGES
    }
    slopes = {shrinkage: calibration(odds_N, examples) for shrinkage, odds_N in predicted.items()}
    shrinkage = min(
        SHRINKAGES,
        key=lambda s: _log_loss(predicted[s] * slopes[s][0] + slopes[s][1], examples),
    )
    slope, shift = slopes[shrinkage]
    best = fit(examples, names, shrinkage=shrinkage).scaled(slope, shift)
    probability_N = sigmoid(predicted[shrinkage] * slope + shift)
    return Tuned(best, least_probability(probability_N, examples), shrinkage)


def _fitting(names: Sequence[str], shrinkage: float) -> Predict:
    return lambda others, judged: fit(others, names, shrinkage=shrinkage).log_odds(judged)


def calibration(odds_N: Floats, examples: Sequence[Example]) -> tuple[float, float]:
    """Slope and shift that make log-odds those of probabilities (Platt 1999), by the weights."""
    weight_N, good_N = _columns(examples)

    def loss(line: Floats) -> float:
        scaled_N = odds_N * line[0] + line[1]
        lost = float(weight_N @ (np.logaddexp(0.0, scaled_N) - good_N * scaled_N))
        # Drawn towards 1 a little, so that labels that separate do not make it infinite.
        return lost + 0.5 * float(line[0] - 1) ** 2

    bounds = [(0.05, 3.0), (None, None)]
    found = scipy.optimize.minimize(loss, np.array([1.0, 0.0]), bounds=bounds)
    return float(found.x[0]), float(found.x[1])


def least_probability(probability_N: Floats, examples: Sequence[Example]) -> float:
    """From which probability on to keep clips: where the expected F0.5 is best; in hundredths.

    F0.5 (van Rijsbergen 1979) counts precision twice as much as recall: clips are plenty, bad ones
    are dear. Expected, as from calibrated probabilities, it moves less than a counted one where
    labels are few.
    """
    weight_N, _ = _columns(examples)
    good = float(weight_N @ probability_N)

    def score(percent: int) -> float:
        kept_N = probability_N >= percent / 100
        found = float(weight_N[kept_N] @ probability_N[kept_N])
        kept = float(weight_N[kept_N].sum())
        return (1 + _BETA**2) * found / (_BETA**2 * good + kept) if good + kept else 0.0

    return max(range(5, 96), key=score) / 100


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


def calibration_error(probability_N: Floats, good_N: Floats, weight_N: Floats) -> float:
    """Expected calibration error: mean distance of said from so, over bins of equally many."""
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
    """Probabilities of log-odds."""
    return np.asarray(1 / (1 + np.exp(-np.clip(odds_N, -30, 30))))


def _columns(examples: Sequence[Example]) -> tuple[Floats, Floats]:
    weight_N = np.array([each.weight for each in examples])
    return weight_N, np.array([each.is_good for each in examples], np.float64)


def _log_loss(odds_N: Floats, examples: Sequence[Example]) -> float:
    weight_N, good_N = _columns(examples)
    return float(weight_N @ (np.logaddexp(0.0, odds_N) - good_N * odds_N))
