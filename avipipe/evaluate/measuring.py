"""Measures the cases of one source, in a process of its own."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from avipipe.errors import DISK_ERRNOS, AvipipeError
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.cases import Case
from avipipe.evaluate.catalogue import METRICS
from avipipe.evaluate.mask_view import MaskView
from avipipe.evaluate.metric import Metric, Score, Status, lacking, scored
from avipipe.evaluate.store import ScoreStore, case_key, metric_key
from avipipe.evaluate.views import MediaView

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CaseScores:
    """All that was asked of a case.

    Attributes:
        scores: by the name of the metric.
        notes: what was done to make source and edit comparable.
        num_measured: scores that were not there already.
    """

    case: Case
    scores: Mapping[str, Score]
    notes: tuple[str, ...] = ()
    num_measured: int = 0


def works(cases: Sequence[Case]) -> list[tuple[Case, ...]]:
    """Cases that look at the same source, which is decoded once for them."""

    def source(case: Case) -> tuple[str, str]:
        return str(case.source), str(case.shown)

    ordered = sorted(cases, key=source)
    return [tuple(group) for _, group in groupby(ordered, key=source)]


def measure(cases: Sequence[Case], metrics: Sequence[str], work: Path) -> list[CaseScores]:
    """Measure cases of one source; what is stored already is not measured again.

    Args:
        metrics: names of the catalogue.
        work: folder of the store.
    Raises:
        OSError: nothing more can be written.
    """
    import cv2

    cv2.setNumThreads(1)  # processes share the cores
    store = ScoreStore(work)
    with tempfile.TemporaryDirectory(prefix="avipipe-eval-") as scratch:
        bench = _Bench(store, Path(scratch), metrics)
        return [bench.measure(case) for case in cases]


class _Bench:
    """Where the views of one source are held."""

    def __init__(self, store: ScoreStore, folder: Path, metrics: Sequence[str]) -> None:
        self._store, self._folder, self._metrics = store, folder, metrics
        self._source: MediaView | None = None
        reasons = {name: lacking(METRICS[name]) for name in metrics}
        self._lacking = {name: reason for name, reason in reasons.items() if reason}
        self._keys = {n: metric_key(n, METRICS[n]) for n in metrics if n not in self._lacking}

    def measure(self, case: Case) -> CaseScores:
        metrics = self._metrics
        if case.problem:
            status: Status = "skipped" if case.control else "failed"
            return _all_ended(case, metrics, status, case.problem)
        try:
            key = case_key(case)
        except OSError as error:
            reason = f"cannot read {error.filename}: {error.strerror}"
            return _all_ended(case, metrics, "failed", reason)
        stored = self._store.read(key)
        scores = {n: stored.scores[own] for n, own in self._keys.items() if own in stored.scores}
        scores |= {name: Score("skipped", reason=reason) for name, reason in self._lacking.items()}
        left = {name: METRICS[name] for name in metrics if name not in scores}
        new: dict[str, Score] = {}
        notes = stored.notes
        if left:
            new, notes = self._measure_new(case, left)
            self._store.add(key, {self._keys[name]: score for name, score in new.items()}, notes)
        found = {**scores, **new}
        return CaseScores(case, {name: found[name] for name in metrics}, notes, len(new))

    def _measure_new(
        self, case: Case, metrics: Mapping[str, Metric]
    ) -> tuple[dict[str, Score], tuple[str, ...]]:
        try:
            view = self._view(case)
            notes = tuple(view.notes())
            if any({"pairs", "pictures"}.intersection(each.needs) for each in metrics.values()):
                _ = view.source.pictures, view.edit_pictures  # no metric is charged for decoding
        except (AvipipeError, OSError) as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
                raise
            return dict.fromkeys(metrics, Score("failed", reason=str(error))), ()
        return {name: scored(metric, view) for name, metric in metrics.items()}, notes

    def _view(self, case: Case) -> CaseView:
        """The views of a case; its files are opened, so that what is broken fails here."""
        assert case.source is not None
        assert case.edit is not None
        source = self._source
        if source is None or (source.path, source.shown) != (case.source, case.shown):
            source = self._source = MediaView(case.source, self._folder, case.shown)
        edit = source if case.control else MediaView(case.edit, self._folder)
        sound = edit if case.sound_of is None else MediaView(case.sound_of, self._folder)
        for view in (source, edit, sound):
            _ = view.file
        return CaseView(
            case=case,
            source=source,
            edit=edit,
            sound=sound,
            mask=None if case.mask is None else MaskView(case.mask, self._folder, case.shown),
            edit_mask=None if case.edit_mask is None else MaskView(case.edit_mask, self._folder),
            cached=self._store.feature,
        )


def _all_ended(case: Case, metrics: Sequence[str], status: Status, reason: str) -> CaseScores:
    return CaseScores(case, dict.fromkeys(metrics, Score(status, reason=reason)))


def all_died(cases: Sequence[Case], metrics: Sequence[str]) -> list[CaseScores]:
    """What is said of cases whose process died each time they were measured."""
    reason = "the process that measured it died: too little memory, or a broken decoder"
    return [_all_ended(case, metrics, "failed", reason) for case in cases]
