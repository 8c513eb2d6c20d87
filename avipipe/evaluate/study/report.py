"""What the answers of a study say: shares, strengths, agreement, and who was attentive."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.agreement import krippendorff_alpha
from avipipe.evaluate.statistics.bradley_terry import bradley_terry_interval
from avipipe.evaluate.statistics.proportions import ShareInterval, crossed_share
from avipipe.evaluate.study.answers import SAME, RefusedLine, StudyAnswer
from avipipe.evaluate.study.key import StudyKey
from avipipe.evaluate.study.plan import CHECKED, COPY

MIN_PASSED = 0.75
"""Share of attention checks that an attentive rater passes: one slip in four is human. A choice."""


@dataclass(frozen=True, slots=True)
class RaterResult:
    """What one rater did. `is_attentive`: three of four checks were passed, or none was shown."""

    rater: str
    num_trials: int
    num_checks: int
    num_passed: int
    median_s: float
    is_attentive: bool


@dataclass(frozen=True, slots=True)
class MethodPreference:
    """A method in all of its comparisons.

    Attributes:
        share: of them that it won, ties by half, with its interval of 95 %.
        strength: log of its Bradley-Terry strength, 0 for the mean of all methods, with its
            interval; None where there is none.
    """

    method: str
    num: int
    share: ShareInterval
    strength: float | None
    strength_low: float | None
    strength_high: float | None


@dataclass(frozen=True, slots=True)
class PairPreference:
    """Two methods against each other. `share`: of comparisons that the first won, ties by half."""

    first: str
    second: str
    num_won: int
    num_same: int
    num_lost: int
    share: ShareInterval


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """What was answered to one question, attention checks left out.

    Attributes:
        num: answers.
        left_share: of answers with a preference, those for the film on the left; far from 0.5 they
            tell of sides and not of films.
        alpha: Krippendorff's, of whether a trial's one film was preferred, or the other, or none.
        reasons: why something has no value.
    """

    question: str
    num: int
    left_share: float | None
    alpha: float | None
    methods: tuple[MethodPreference, ...]
    pairs: tuple[PairPreference, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What a study found. `left_out`: raters whose answers do not count; `refused`: reason -> lines
    that do not."""

    study: str
    raters: tuple[RaterResult, ...]
    left_out: tuple[str, ...]
    refused: dict[str, int]
    questions: tuple[QuestionResult, ...]


def study_report(
    key: StudyKey,
    answers: Sequence[StudyAnswer],
    refused: Sequence[RefusedLine],
    *,
    attentive_only: bool,
    seed: int,
) -> StudyReport:
    """Count what was answered.

    Args:
        answers: one for each rater and trial.
        refused: lines that do not count, to be told.
        attentive_only: leave out raters who failed their attention checks.
        seed: of the intervals' draws.
    """
    raters = _raters(key, answers)
    left_out = {each.rater for each in raters if attentive_only and not each.is_attentive}
    counted = [
        answer
        for answer in answers
        if answer.rater not in left_out and not key.trials[answer.trial].is_check
    ]
    return StudyReport(
        study=key.study,
        raters=raters,
        left_out=tuple(sorted(left_out)),
        refused=dict(sorted(Counter(line.reason for line in refused).items())),
        questions=tuple(_question(key, name, counted, seed) for name in key.questions),
    )


def _raters(key: StudyKey, answers: Sequence[StudyAnswer]) -> tuple[RaterResult, ...]:
    by_rater: dict[str, list[StudyAnswer]] = defaultdict(list)
    for answer in answers:
        by_rater[answer.rater].append(answer)
    return tuple(_rater(key, rater, by_rater[rater]) for rater in sorted(by_rater))


def _rater(key: StudyKey, rater: str, answers: Sequence[StudyAnswer]) -> RaterResult:
    chosen = [
        answer.answers[CHECKED[key.subject]]
        for answer in answers
        if key.trials[answer.trial].is_check
    ]
    num_passed = sum(film != SAME and key.films[film] == COPY for film in chosen)
    return RaterResult(
        rater=rater,
        num_trials=len(answers),
        num_checks=len(chosen),
        num_passed=num_passed,
        median_s=median(answer.seconds for answer in answers),
        is_attentive=num_passed >= MIN_PASSED * len(chosen),
    )


class _Comparisons:
    """The answers to one question, as arrays over N of them; methods are places in `methods`."""

    def __init__(self, key: StudyKey, question: str, answers: Sequence[StudyAnswer]) -> None:
        trials = [key.trials[answer.trial] for answer in answers]
        chosen = [answer.answers[question] for answer in answers]
        firsts = [key.films[trial.left] for trial in trials]
        seconds = [key.films[trial.right] for trial in trials]
        self.methods = sorted({*firsts, *seconds})
        self.first_N, self.second_N = map(self._places, (firsts, seconds))
        self.preferred_N = np.array(
            [
                0.5 if film == SAME else float(film == trial.left)
                for film, trial in zip(chosen, trials, strict=True)
            ]
        )
        self.with_side = [
            film == answer.left
            for film, answer in zip(chosen, answers, strict=True)
            if film != SAME
        ]
        self.raters_N = np.array([answer.rater for answer in answers])
        self.groups_N = np.array([trial.group for trial in trials])
        self.trials_N = np.array([answer.trial for answer in answers])

    def _places(self, methods: Sequence[str]) -> npt.NDArray[np.intp]:
        return np.array([self.methods.index(method) for method in methods], dtype=np.intp)

    def won_by(
        self, method: int, against: int | None = None
    ) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.generic]]]:
        """How far a method won each of its comparisons, and their raters and groups."""
        other_N = np.where(self.first_N == method, self.second_N, self.first_N)
        its_N = (self.first_N == method) | (self.second_N == method)
        if against is not None:
            its_N &= other_N == against
        won_N = np.where(self.first_N == method, self.preferred_N, 1.0 - self.preferred_N)
        return won_N[its_N], [self.raters_N[its_N], self.groups_N[its_N]]


def _question(
    key: StudyKey, question: str, answers: Sequence[StudyAnswer], seed: int
) -> QuestionResult:
    if not answers:
        return QuestionResult(question, 0, None, None, (), (), ("nobody answered it",))
    found = _Comparisons(key, question, answers)
    reasons: list[str] = []
    if len({*found.raters_N}) < 2:
        reasons.append("there is one rater only: the intervals say nothing of other people")
    if len({*found.groups_N}) < 2:
        reasons.append("there is one source only: the intervals say nothing of other sources")
    try:
        alpha = krippendorff_alpha(found.trials_N, found.preferred_N)
    except Undefined as error:
        alpha = None
        reasons.append(f"no agreement: {error.reason}")
    methods, reason = _methods(found, seed)
    return QuestionResult(
        question=question,
        num=len(answers),
        left_share=float(np.mean(found.with_side)) if found.with_side else None,
        alpha=alpha,
        methods=methods,
        pairs=tuple(_pairs(found)),
        reasons=(*reasons, *reason),
    )


def _methods(found: _Comparisons, seed: int) -> tuple[tuple[MethodPreference, ...], list[str]]:
    """Of all methods, the most preferred first; and why they have no strengths."""
    strengths: list[tuple[float | None, ...]] = [(None, None, None)] * len(found.methods)
    reasons = []
    try:
        drawn = bradley_terry_interval(
            found.first_N,
            found.second_N,
            found.preferred_N,
            (found.raters_N, found.groups_N),
            num_methods=len(found.methods),
            rng=np.random.default_rng(seed),
        )
        strengths = [
            (float(v), float(low), float(high)) for v, low, high in zip(*drawn, strict=True)
        ]
    except Undefined as error:
        reasons.append(f"no strengths: {error.reason}")
    made = []
    for place, method in enumerate(found.methods):
        won_N, clusterings = found.won_by(place)
        share = crossed_share(won_N, clusterings)
        strength, low, high = strengths[place]
        made.append(MethodPreference(method, len(won_N), share, strength, low, high))
    return tuple(sorted(made, key=lambda each: (-each.share.share, each.method))), reasons


def _pairs(found: _Comparisons) -> list[PairPreference]:
    made = []
    for first, second in combinations(range(len(found.methods)), 2):
        won_N, clusterings = found.won_by(first, second)
        if len(won_N) == 0:
            continue
        made.append(
            PairPreference(
                first=found.methods[first],
                second=found.methods[second],
                num_won=int((won_N == 1.0).sum()),
                num_same=int((won_N == 0.5).sum()),
                num_lost=int((won_N == 0.0).sum()),
                share=crossed_share(won_N, clusterings),
            )
        )
    return made
