"""From a dataset and what people said of its clips to a decision of its own."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avipipe.calibrate.crossval import (
    bootstrapped,
    calibration_error,
    out_of_fold,
    reliability,
    sigmoid,
)
from avipipe.calibrate.fit import Example, Floats
from avipipe.calibrate.rescale import own_terms, tuned_rescaled
from avipipe.decision.checks import measures
from avipipe.decision.judge import Judge, priors_of, used_backends
from avipipe.decision.model import VERSION, DecisionModel, Figure
from avipipe.errors import ManifestError
from avipipe.manifests.labels import ReviewLabel
from avipipe.pipeline.refilter import ClipMeasures

# Labels that are needed, in all and of either kind: of fewer a fit is chance. Choices.
MIN_LABELS = 20
MIN_OF_EACH = 5
_NUM_STRATA = 10
"""Strata of the probability, a tenth wide each, in which clips are drawn and weighed."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted, and what it is worth on the dataset.

    Attributes:
        verdicts: how many of each were given.
        before: expected calibration error of the decision that the dataset was built with.
    """

    model: DecisionModel
    verdicts: Mapping[str, int]
    before: float


def calibrate(
    clips: Sequence[ClipMeasures],
    labels: Sequence[ReviewLabel],
    judge: Judge,
    group_of: Callable[[str], str],
    *,
    name: str,
    seed: int = 0,
) -> Calibration:
    """Fit a dataset's decision to labels of its clips.

    A clip with a wrong mask is none to publish, so it counts as one to drop; where people were
    unsure, nothing was said. Each label stands for all clips of about its probability.

    Args:
        clips: all of the dataset whose sound was measured.
        judge: who decided so far; its numbers are what the new ones are drawn to.
        group_of: clip id -> what must not be torn apart by cross-validation, such as its source.
    Raises:
        ManifestError: labels are too few, or all alike.
    """
    verdicts = Counter(label.verdict for label in labels)
    said = {label.clip_id: label.verdict == "keep" for label in labels if label.verdict != "unsure"}
    _refuse_too_few(said.values())
    backends = {
        role: backend for clip in clips for role, backend in used_backends(clip.evidence).items()
    }
    priors = {name for clip in clips for name in priors_of(judge.model, clip.evidence)}
    terms = own_terms(judge.model, priors)
    before_N = np.array([clip.judged(judge).probability for clip in clips])
    examples = _examples(clips, before_N, said, group_of)
    fit = tuned_rescaled(terms, examples, seed)

    def predict(others: Sequence[Example], at: Sequence[Example]) -> Floats:
        return sigmoid(tuned_rescaled(terms, others, seed).log_odds(at))

    said_N = out_of_fold(examples, predict, seed)
    model = DecisionModel(
        version=VERSION,
        name=name,
        intercept=round(fit.intercept, 4),
        min_probability=judge.min_probability,
        backends=dict(sorted(backends.items())),
        terms=fit.terms,
        data=(
            f"{len(said)} clips of this dataset that people looked at, beginning with the numbers "
            f"of {judge.model.name}; figures cross-validated in folds by source, each label "
            "weighted by how many clips of its probability there are"
        ),
        figures=_figures(said_N, judge.min_probability, examples),
        reliability=reliability(said_N, examples),
    )
    labelled_N = np.array([clip.clip_id in said for clip in clips])
    before = calibration_error(before_N[labelled_N], examples)
    return Calibration(model, {str(name): count for name, count in verdicts.items()}, before)


def _refuse_too_few(verdicts: Iterable[bool]) -> None:
    good = Counter(verdicts)
    num = good[True] + good[False]
    if num < MIN_LABELS or min(good[True], good[False]) < MIN_OF_EACH:
        raise ManifestError(
            f"expected at least {MIN_LABELS} labels, {MIN_OF_EACH} of them `keep` and "
            f"{MIN_OF_EACH} `drop` or `wrong_mask`; found {good[True]} and {good[False]}. Judge "
            "more clips (`avipipe review --count …`)"
        )


def _examples(
    clips: Sequence[ClipMeasures],
    before_N: Floats,
    said: Mapping[str, bool],
    group_of: Callable[[str], str],
) -> list[Example]:
    """The labelled clips, weighted by how many clips each stands for; mean weight 1."""
    strata = [_stratum(probability) for probability in before_N]
    population = Counter(strata)
    labelled = [
        (clip, stratum) for clip, stratum in zip(clips, strata, strict=True) if clip.clip_id in said
    ]
    drawn = Counter(stratum for _, stratum in labelled)
    examples = [
        Example(
            measures(clip.evidence),
            said[clip.clip_id],
            group_of(clip.clip_id),
            population[stratum] / drawn[stratum],
        )
        for clip, stratum in labelled
    ]
    mean = sum(each.weight for each in examples) / len(examples)
    return [replace(each, weight=each.weight / mean) for each in examples]


def _stratum(probability: float) -> int:
    return min(int(probability * _NUM_STRATA), _NUM_STRATA - 1)


def _figures(
    said_N: Floats, min_probability: float, examples: Sequence[Example]
) -> dict[str, Figure]:
    """Of the decision on what it was not fitted on, with intervals over groups."""
    kept_N = said_N >= min_probability
    good_N = np.array([each.is_good for each in examples])
    weight_N = np.array([each.weight for each in examples])
    groups = [each.group for each in examples]

    def share(of_N: npt.NDArray[np.bool_], among_N: npt.NDArray[np.bool_]) -> Figure:
        def statistic(at: npt.NDArray[np.int64]) -> float:
            total = float(weight_N[at][among_N[at]].sum())
            part = float(weight_N[at][among_N[at] & of_N[at]].sum())
            return part / total if total else float("nan")

        return bootstrapped(groups, statistic)

    return {
        "keep_precision": share(good_N, kept_N),
        "recall": share(kept_N, good_N),
        "calibration_error": bootstrapped(
            groups,
            lambda at: calibration_error(said_N[at], [examples[n] for n in at]),
        ),
    }
