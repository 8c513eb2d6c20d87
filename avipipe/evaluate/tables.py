"""What a run leaves: `cases.jsonl`, `run.json`, tables of clips, sets and features, `judge.jsonl`.

Everything else, the report too, is made of these, and can be made anew from them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import numpy as np

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.cases import Case, read_cases, write_cases
from avipipe.evaluate.measuring import CaseScores
from avipipe.evaluate.metric import Status
from avipipe.evaluate.set_metric import Rows
from avipipe.files import write_whole, written_whole
from avipipe.manifests.rle import canonical_json, write_json
from avipipe.manifests.tables import schema_of

CASES_NAME = "cases.jsonl"
CLIPS_NAME = "clips.parquet"
SETS_NAME = "sets.parquet"
FEATURES_NAME = "features.parquet"
RUN_NAME = "run.json"
ANSWERS_NAME = "judge.jsonl"


@dataclass(frozen=True, slots=True)
class ClipScore:
    """A row of `clips.parquet`: one metric of one case.

    Attributes:
        control: which one the case is; empty for an edit.
        value: None unless the status is ok; never NaN.
        notes: what was done to make source and edit comparable.
        seconds: of CPU that measuring took, decoding apart.
    """

    name: str
    method: str
    control: str
    group: str
    label: str
    seed: int | None
    metric: str
    status: Status
    value: float | None
    reason: str
    notes: str
    seconds: float
    kind: str = ""


Support = Literal["complete", "common"]
"""The cases that a mean is of: all that the method has a number for, or all that every method has
one for. Only the latter compares."""


@dataclass(frozen=True, slots=True)
class SetScore:
    """A row of `sets.parquet`: a metric of one method over many cases.

    Attributes:
        label, kind: the class of the cases, or the kind of edit; both empty for all of them.
        low, high: interval of 95 %, drawn by source video; None where there is none.
        num_ok: cases the mean is of, of `num_total` that there are.
        reason: why there is no mean, or no interval.
    """

    method: str
    control: str
    metric: str
    label: str
    support: Support
    mean: float | None
    low: float | None
    high: float | None
    num_ok: int
    num_total: int
    num_groups: int
    reason: str = ""
    kind: str = ""

    @property
    def is_slice(self) -> bool:
        """Whether it is of some of the cases only."""
        return bool(self.label or self.kind)


@dataclass(frozen=True, slots=True)
class SetValue:
    """Another kind of row of `sets.parquet`: a metric of all edits of a method together.

    It is over the cases that every method has features of.

    Attributes:
        value: None unless the status is ok.
        low, high: interval of 95 %, from halves of the source videos.
        null, null_high: what halves of the sources have to each other: mean, and upper end of 95 %.
        infinity: extrapolated to infinitely many clips.
        rank: of the covariances, the lesser one, of `num_dims`.
        num_ok: edits that it is of, of `num_total` that there are.
        num_reference: rows of sources that they are compared with.
        reason: why there is no value, or no interval.
    """

    method: str
    control: str
    metric: str
    status: Status
    value: float | None = None
    low: float | None = None
    high: float | None = None
    null: float | None = None
    null_high: float | None = None
    infinity: float | None = None
    rank: int | None = None
    num_dims: int | None = None
    num_ok: int = 0
    num_total: int = 0
    num_groups: int = 0
    num_reference: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A row of `features.parquet`: what a model makes of a case, for metrics of sets.

    Attributes:
        kind: name of the features.
        num_dims: of a feature; 0 where there are none.
        source, edit: float32, feature by feature.
    """

    name: str
    method: str
    control: str
    group: str
    kind: str
    status: Status
    reason: str
    num_dims: int
    source: bytes
    edit: bytes

    @property
    def metric(self) -> str:
        """What it is called where scores that are missing are told."""
        return self.kind

    def side(self, values: bytes) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        """Features (N, D) of `source` or `edit`."""
        return np.frombuffer(values, np.float32).reshape(-1, self.num_dims)


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A line of `judge.jsonl`: what a judge was asked about a case, and what it said.

    Attributes:
        judge: the model's name on its server.
        question: in words; `[picture]` and `[sound]` stand for what it was shown and played.
        answer: word by word.
    """

    name: str
    method: str
    control: str
    judge: str
    question: str
    answer: str


def answer_rows(measured: Iterable[CaseScores]) -> list[AnswerRow]:
    """What a judge said of all cases, by method, case and question."""
    return [
        AnswerRow(
            name=each.case.name,
            method=each.case.method,
            control=each.case.control,
            judge=said.judge,
            question=said.question,
            answer=said.answer,
        )
        for each in measured
        for said in each.answers
    ]


def clip_scores(measured: Iterable[CaseScores]) -> list[ClipScore]:
    """The rows of all cases, by method, case and metric."""
    return [
        ClipScore(
            name=each.case.name,
            method=each.case.method,
            control=each.case.control,
            group=each.case.group,
            label=each.case.label,
            seed=each.case.seed,
            metric=metric,
            status=score.status,
            value=score.value,
            reason=score.reason,
            notes="; ".join(each.notes),
            seconds=score.seconds,
            kind=each.case.kind,
        )
        for each in measured
        for metric, score in each.scores.items()
    ]


def feature_rows(measured: Iterable[CaseScores]) -> list[FeatureRow]:
    """The features of all cases, by method, case and kind."""
    return [
        FeatureRow(
            name=each.case.name,
            method=each.case.method,
            control=each.case.control,
            group=each.case.group,
            kind=kind,
            status=found.score.status,
            reason=found.score.reason,
            num_dims=0 if found.pair is None else found.pair.edit_MD.shape[1],
            source=b"" if found.pair is None else _bytes(found.pair.source_ND),
            edit=b"" if found.pair is None else _bytes(found.pair.edit_MD),
        )
        for each in measured
        for kind, found in each.features.items()
    ]


def _bytes(rows_ND: Rows) -> bytes:
    return rows_ND.astype(np.float32).tobytes()


def _write_table(path: Path, rows: Sequence[Any], *kinds: type) -> None:
    """Write rows, which are dataclasses of these kinds, as Parquet, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    hints = {name: hint for kind in kinds for name, hint in get_type_hints(kind).items()}
    columns = {name: str if get_origin(hint) is Literal else hint for name, hint in hints.items()}
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(columns))
    with written_whole(path) as draft:
        pq.write_table(table, draft, compression="zstd")


def write_clips(folder: Path, rows: Sequence[ClipScore]) -> None:
    """Write `clips.parquet`."""
    _write_table(folder / CLIPS_NAME, rows, ClipScore)


def write_sets(folder: Path, rows: Sequence[SetScore], values: Sequence[SetValue]) -> None:
    """Write `sets.parquet`, both kinds of rows in one table."""
    _write_table(folder / SETS_NAME, [*rows, *values], SetScore, SetValue)


def write_features(folder: Path, rows: Sequence[FeatureRow]) -> None:
    """Write `features.parquet`."""
    _write_table(folder / FEATURES_NAME, rows, FeatureRow)


def write_answers(folder: Path, rows: Sequence[AnswerRow]) -> None:
    """Write `judge.jsonl`, or take away that of a run before, where there are none."""
    path = folder / ANSWERS_NAME
    if rows:
        write_whole(path, b"".join(canonical_json(asdict(row)) for row in rows))
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class EvaluateRun:
    """What a run has left in its folder."""

    folder: Path
    facts: Mapping[str, Any]
    cases: Sequence[Case]
    clips: Sequence[ClipScore]
    features: Sequence[FeatureRow] = ()
    answers: Sequence[AnswerRow] = ()


def write_run(folder: Path, facts: Mapping[str, Any], cases: Sequence[Case]) -> None:
    """Write `cases.jsonl` and `run.json`."""
    write_cases(folder / CASES_NAME, cases)
    write_json(folder / RUN_NAME, dict(facts))


def read_run(folder: Path) -> EvaluateRun:
    """Read what a run has left.

    Raises:
        ConfigError: there is no run.
        ManifestError: it is damaged.
    """
    if not (folder / RUN_NAME).is_file():
        raise ConfigError(
            f"{folder}: expected a folder that `avipipe eval run --out` made, found no {RUN_NAME}"
        )
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        facts = json.loads((folder / RUN_NAME).read_bytes())
        rows = pq.read_table(folder / CLIPS_NAME).to_pylist()
        clips = [ClipScore(**row) for row in rows]
        path = folder / FEATURES_NAME  # which runs of older versions have not
        features = pq.read_table(path).to_pylist() if path.exists() else []
        embedded = [FeatureRow(**row) for row in features]
        path = folder / ANSWERS_NAME
        lines = path.read_bytes().splitlines() if path.exists() else []
        answers = [AnswerRow(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise ManifestError(f"{folder}: its tables are damaged: {error}; run it again") from error
    cases = read_cases(folder / CASES_NAME)
    return EvaluateRun(folder, facts, cases, clips, embedded, answers)
