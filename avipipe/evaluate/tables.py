"""What a run leaves: `cases.jsonl`, `clips.parquet`, `sets.parquet` and `run.json`.

Everything else, the report too, is made of these, and can be made anew from them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.cases import Case, read_cases, write_cases
from avipipe.evaluate.measuring import CaseScores
from avipipe.evaluate.metric import Status
from avipipe.files import written_whole
from avipipe.manifests.rle import write_json

CASES_NAME = "cases.jsonl"
CLIPS_NAME = "clips.parquet"
SETS_NAME = "sets.parquet"
RUN_NAME = "run.json"


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


Support = Literal["complete", "common"]
"""The cases that a mean is of: all that the method has a number for, or all that every method has
one for. Only the latter compares."""


@dataclass(frozen=True, slots=True)
class SetScore:
    """A row of `sets.parquet`: a metric of one method over many cases.

    Attributes:
        label: the class of the cases; empty for all of them.
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


_CLIP_TYPES = {"seed": "int64", "value": "float64", "seconds": "float64"}
_SET_TYPES = {
    **dict.fromkeys(("mean", "low", "high"), "float64"),
    **dict.fromkeys(("num_ok", "num_total", "num_groups"), "int64"),
}


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
        )
        for each in measured
        for metric, score in each.scores.items()
    ]


def _write_table(path: Path, rows: Sequence[Any], kind: type, types: Mapping[str, str]) -> None:
    """Write rows, which are dataclasses of one kind, as Parquet, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            pa.field(field.name, pa.type_for_alias(types.get(field.name, "string")))
            for field in fields(kind)
        ]
    )
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    with written_whole(path) as draft:
        pq.write_table(table, draft, compression="zstd")


def write_clips(folder: Path, rows: Sequence[ClipScore]) -> None:
    """Write `clips.parquet`."""
    _write_table(folder / CLIPS_NAME, rows, ClipScore, _CLIP_TYPES)


def write_sets(folder: Path, rows: Sequence[SetScore]) -> None:
    """Write `sets.parquet`."""
    _write_table(folder / SETS_NAME, rows, SetScore, _SET_TYPES)


@dataclass(frozen=True, slots=True)
class EvaluateRun:
    """What a run has left in its folder."""

    folder: Path
    facts: Mapping[str, Any]
    cases: Sequence[Case]
    clips: Sequence[ClipScore]


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
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise ManifestError(f"{folder}: its tables are damaged: {error}; run it again") from error
    return EvaluateRun(folder, facts, read_cases(folder / CASES_NAME), clips)
