"""Measures the cases of one source, in a process of its own."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from avipipe.errors import DISK_ERRNOS, AvipipeError
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.cases import Case
from avipipe.evaluate.catalogue import METRICS
from avipipe.evaluate.catalogue.sets import SETS
from avipipe.evaluate.extractors.wan_vae import restored
from avipipe.evaluate.judge import Interview, JudgeAnswer
from avipipe.evaluate.mask_view import MaskView
from avipipe.evaluate.metric import Metric, Score, Status, lacking, scored, served_by
from avipipe.evaluate.set_metric import CaseFeatures, FeatureKind, embedded
from avipipe.evaluate.store import ScoreStore, StoredCase, case_key, metric_key
from avipipe.evaluate.views import MediaView, resized
from avipipe.manifests.records import digest
from avipipe.media.lossless import write_lossless

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CaseScores:
    """All that was asked of a case.

    Attributes:
        scores: by the name of the metric.
        notes: what was done to make source and edit comparable.
        num_measured: scores and features that were not there already.
        features: by the name of their kind.
        answers: what a judge was asked, for these scores.
    """

    case: Case
    scores: Mapping[str, Score]
    notes: tuple[str, ...] = ()
    num_measured: int = 0
    features: Mapping[str, CaseFeatures] = field(default_factory=dict)
    answers: tuple[JudgeAnswer, ...] = ()


def works(cases: Sequence[Case]) -> list[tuple[Case, ...]]:
    """Cases that look at the same source, which is decoded once for them."""

    def source(case: Case) -> tuple[str, str]:
        return str(case.source), str(case.shown)

    ordered = sorted(cases, key=source)
    return [tuple(group) for _, group in groupby(ordered, key=source)]


def measure(cases: Sequence[Case], metrics: Sequence[str], work: Path) -> list[CaseScores]:
    """Measure cases of one source; what is stored already is not measured again.

    Args:
        metrics: names of the catalogue, of cases and of sets.
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
        self._store, self._folder = store, folder
        self._source: MediaView | None = None
        self._asked = metrics
        self._metrics, self._kinds = _parted(metrics)
        asked: dict[str, Metric | FeatureKind] = {
            **{name: METRICS[name] for name in self._metrics},
            **self._kinds,
        }
        reasons = {name: lacking(each) for name, each in asked.items()}
        self._lacking = {name: reason for name, reason in reasons.items() if reason}
        self._keys = {n: metric_key(n, each) for n, each in asked.items() if n not in self._lacking}
        self._judges = {served_by(asked[name]) for name in self._keys} - {""}

    def measure(self, case: Case) -> CaseScores:
        if case.problem:
            status: Status = "skipped" if case.control else "failed"
            return _all_ended(case, self._asked, status, case.problem)
        try:
            key = case_key(case)
        except OSError as error:
            reason = f"cannot read {error.filename}: {error.strerror}"
            return _all_ended(case, self._asked, "failed", reason)
        stored = self._store.read(key)
        scores = self._stored_scores(stored)
        features = self._stored_features(key, stored)
        left = {name: METRICS[name] for name in self._metrics if name not in scores}
        kinds = {name: kind for name, kind in self._kinds.items() if name not in features}
        notes, interview = stored.notes, Interview(self._store, list(stored.asked))
        if left or kinds:
            new, made, notes = self._measure_new(case, left, kinds, interview)
            for name, each in made.items():
                if each.pair is not None:
                    self._store.add_pair(key, self._keys[name], each.pair)
            told = {**new, **{name: each.score for name, each in made.items()}}
            ended = {self._keys[name]: score for name, score in told.items()}
            self._store.add(key, ended, notes, interview.keys[len(stored.asked) :])
            scores, features = {**scores, **new}, {**features, **made}
        return CaseScores(
            case,
            {name: scores[name] for name in self._metrics},
            notes,
            len(left) + len(kinds),
            {name: features[name] for name in self._kinds},
            self._answers(interview),
        )

    def _answers(self, interview: Interview) -> tuple[JudgeAnswer, ...]:
        """What the judge of this run said of a case, in this run and before."""
        found = map(self._store.answer, dict.fromkeys(interview.keys))
        return tuple(each for each in found if each is not None and each.judge in self._judges)

    def _stored_scores(self, stored: StoredCase) -> dict[str, Score]:
        """Those that are there already, or cannot be made here."""
        found = {}
        for name in self._metrics:
            if name in self._lacking:
                found[name] = Score("skipped", reason=self._lacking[name])
            elif self._keys[name] in stored.scores:
                found[name] = stored.scores[self._keys[name]]
        return found

    def _stored_features(self, key: str, stored: StoredCase) -> dict[str, CaseFeatures]:
        """As `_stored_scores`; features that are lost are made anew."""
        found = {}
        for name in self._kinds:
            if name in self._lacking:
                found[name] = CaseFeatures(Score("skipped", reason=self._lacking[name]))
                continue
            score = stored.scores.get(self._keys[name])
            pair = self._store.pair(key, self._keys[name]) if score else None
            if score and (pair is not None or score.status != "ok"):
                found[name] = CaseFeatures(score, pair)
        return found

    def _measure_new(
        self,
        case: Case,
        metrics: Mapping[str, Metric],
        kinds: Mapping[str, FeatureKind],
        interview: Interview,
    ) -> tuple[dict[str, Score], dict[str, CaseFeatures], tuple[str, ...]]:
        asked: list[Metric | FeatureKind] = [*metrics.values(), *kinds.values()]
        try:
            view = self._view(case, interview)
            notes = tuple(view.notes())
            if any({"pairs", "pictures"}.intersection(each.needs) for each in asked):
                _ = view.source.pictures, view.edit_pictures  # no metric is charged for decoding
        except (AvipipeError, OSError) as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
                raise
            failed = Score("failed", reason=str(error))
            return dict.fromkeys(metrics, failed), dict.fromkeys(kinds, CaseFeatures(failed)), ()
        scores = {name: scored(metric, view) for name, metric in metrics.items()}
        return scores, {name: embedded(kind, view) for name, kind in kinds.items()}, notes

    def _view(self, case: Case, interview: Interview) -> CaseView:
        """The views of a case; its files are opened, so that what is broken fails here."""
        assert case.source is not None
        assert case.edit is not None
        source = self._source
        if source is None or (source.path, source.shown) != (case.source, case.shown):
            source = self._source = MediaView(case.source, self._folder, case.shown)
        edit = source if case.control else MediaView(case.edit, self._folder)
        sound = edit if case.sound_of is None else MediaView(case.sound_of, self._folder)
        if case.vae is not None:
            edit = MediaView(self._round_trip(source, case.vae), self._folder)
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
            interview=interview,
        )

    def _round_trip(self, source: MediaView, vae: Path) -> Path:
        """The pictures of the source, as large as metrics look at, after a VAE; without sound."""
        name = digest([str(source.path), list(source.shown), str(vae)])
        path = self._folder / f"{name}.mkv"
        if not path.exists():
            size = source.own_sizes[1]
            seen = (resized(frame, size) for frame in source.frames(max(size), min(size)))
            write_lossless(path, restored(vae, seen), "rgb24")
        return path


def _parted(metrics: Sequence[str]) -> tuple[list[str], dict[str, FeatureKind]]:
    """The metrics of cases, and the features that those of sets need, by name."""
    kinds = [SETS[name].features for name in metrics if name in SETS]
    return [name for name in metrics if name not in SETS], {kind.name: kind for kind in kinds}


def _all_ended(case: Case, metrics: Sequence[str], status: Status, reason: str) -> CaseScores:
    """What is said of a case of which nothing can be measured."""
    score = Score(status, reason=reason)
    own, kinds = _parted(metrics)
    features = dict.fromkeys(kinds, CaseFeatures(score))
    return CaseScores(case, dict.fromkeys(own, score), features=features)


def all_died(cases: Sequence[Case], metrics: Sequence[str]) -> list[CaseScores]:
    """What is said of cases whose process died each time they were measured."""
    reason = "the process that measured it died: too little memory, or a broken decoder"
    return [_all_ended(case, metrics, "failed", reason) for case in cases]
