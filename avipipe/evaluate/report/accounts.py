"""What became of every score: which are no numbers and why, and what was made comparable how."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from avipipe.evaluate.cases import Case
from avipipe.evaluate.catalogue import METRICS
from avipipe.evaluate.tables import ClipScore, EvaluateRun, FeatureRow

_Row = ClipScore | FeatureRow
"""What a case has a status for: a score, or features for metrics of sets."""


@dataclass(frozen=True, slots=True)
class MissingScores:
    """Scores that are no numbers for one reason.

    Attributes:
        metrics: that lack them; empty for all that were asked for.
        methods: whose they are, each with the number of its cases.
    """

    status: str
    reason: str
    metrics: tuple[str, ...]
    methods: tuple[tuple[str, int], ...]
    num: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounting of a run.

    Attributes:
        problems: cases of which nothing could be measured: method, case, problem.
        empty: reason -> metrics that have no number at all for it.
        missing: scores that are missing where others of their metric are there.
        notes: method, case, and what was done to make it comparable with its source.
    """

    problems: tuple[tuple[str, str, str], ...]
    empty: tuple[tuple[str, tuple[str, ...]], ...]
    missing: tuple[MissingScores, ...]
    notes: tuple[tuple[str, str, str], ...]


def accounts_of(run: EvaluateRun, measured: Collection[str]) -> Accounts:
    """Sort the scores of a run that are no numbers.

    Args:
        measured: the metrics that have any number.
    """
    problems = {(case.method, case.name): case.problem for case in run.cases if case.problem}
    clips = [clip for clip in run.clips if (clip.method, clip.name) not in problems]
    lost = [row for row in run.features if (row.method, row.name) not in problems]
    made = {*measured, *(row.kind for row in lost if row.status == "ok")}
    notes = {(c.method, c.name): c.notes for c in clips if c.notes and not c.control}
    return Accounts(
        problems=tuple(_problems(run.cases, [*run.clips, *run.features])),
        empty=tuple(_empty([n for n in run.facts["metrics"] if n in METRICS], measured, clips)),
        missing=tuple(_missing([*clips, *lost], made)),
        notes=tuple((*key, text) for key, text in sorted(notes.items())),
    )


def _problems(cases: Sequence[Case], rows: Sequence[_Row]) -> Iterator[tuple[str, str, str]]:
    own = {(row.method, row.name) for row in rows}
    for case in cases:
        if case.problem and (case.method, case.name) in own:
            yield case.method, case.name, case.problem


def _empty(
    asked: Sequence[str], measured: Collection[str], clips: Sequence[ClipScore]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """By the reason that most edits have."""
    found: dict[str, list[str]] = defaultdict(list)
    for metric in asked:
        if metric not in measured:
            edits = (clip for clip in clips if clip.metric == metric and not clip.control)
            reasons = Counter(clip.reason for clip in edits)
            reason = reasons.most_common(1)[0][0] if reasons else "no case could be measured"
            found[reason].append(metric)
    for reason, metrics in found.items():
        yield reason, tuple(metrics)


def _missing(rows: Sequence[_Row], measured: Collection[str]) -> Iterator[MissingScores]:
    found: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    for row in rows:
        if row.status != "ok" and row.metric in measured:
            found[row.status, row.reason].append(row)
    for (status, reason), own in sorted(found.items()):
        metrics = {row.metric for row in own}
        cases = Counter(method for method, _ in {(row.method, row.name) for row in own})
        yield MissingScores(
            status=status,
            reason=reason,
            metrics=tuple(sorted(metrics)) if len(metrics) < len(measured) else (),
            methods=tuple(sorted(cases.items())),
            num=len(own),
        )
