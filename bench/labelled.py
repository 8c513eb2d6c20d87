"""Labelled real clips: what people saw in them, and which of them nobody may look at yet.

A folder of clips holds `labels.csv` with the columns file, verdict (keep, drop, odd), confidence
(high, med, low), content, origin (`owner/name:path`) and, where known, `class`, `noun`,
`good_intervals` and `boxes` (JSON). Rows of confidence `low` and verdict `odd` are left out. What
`labels.csv` lacks of the older clips stands in `bench/labels/`.
"""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NUM_PUT_ASIDE = 60
"""Files, at least, in the repositories that nothing is chosen with."""
_SEED = "put aside"
_OLDER = Path(__file__).parent / "labels" / "good_intervals.csv"

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Label:
    """What a person says of a file.

    Attributes:
        good: intervals in seconds in which one sounding instance is seen; empty for `drop`.
        repository: where it comes from; files of one are alike.
        kind: such as `animal`; empty where nobody said.
    """

    verdict: str
    content: str
    repository: str
    good: tuple[Interval, ...] = ()
    kind: str = ""

    @property
    def is_keep(self) -> bool:
        return self.verdict == "keep"


def read_labels(folder: Path) -> dict[str, Label]:
    """File name -> its label, of the files that can be judged by."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if _is_gradable(row)]
    older = _older_intervals()
    return {row["file"]: _label(row, older.get(row["file"], "")) for row in rows}


def _is_gradable(row: Mapping[str, str]) -> bool:
    return row["verdict"] in ("keep", "drop") and row["confidence"] in ("high", "med")


def _label(row: Mapping[str, str], older: str) -> Label:
    intervals = json.loads(row.get("good_intervals") or older or "[]")
    return Label(
        verdict=row["verdict"],
        content=row["content"],
        repository=row["origin"].split(":")[0],
        good=tuple((float(start_s), float(end_s)) for start_s, end_s in intervals),
        kind=row.get("class", ""),
    )


def _older_intervals() -> dict[str, str]:
    if not _OLDER.exists():
        return {}
    with _OLDER.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["good_intervals"] for row in csv.DictReader(file)}


def put_aside(labels: Mapping[str, Label]) -> set[str]:
    """Files of whole repositories, drawn by a seed, that nothing may be chosen with."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for file, label in labels.items():
        files[label.repository].append(file)
    aside: set[str] = set()
    for repository in sorted(files, key=_lot):
        if len(aside) >= NUM_PUT_ASIDE:
            break
        aside.update(files[repository])
    return aside


def overlap_s(start_s: float, end_s: float, intervals: Sequence[Interval]) -> float:
    """How much of a span lies in intervals that do not overlap."""
    return sum(max(0.0, min(end_s, end) - max(start_s, start)) for start, end in intervals)


def _lot(name: str) -> str:
    return hashlib.sha256(f"{_SEED} {name}".encode()).hexdigest()
