"""How well the single-sounding-instance decision agrees with labels of real clips.

    python bench/filter.py --clips FOLDER [--profile embedded] [--out DATASET]

FOLDER holds the clips and `labels.csv` with the columns file, verdict (keep, drop, odd), confidence
(high, med, low) and content. Rows of confidence `low` and verdict `odd` are left out. A file counts
as kept if at least half of the time of its clips is kept.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from avipipe.manifests.records import Drop, Fail
from avipipe.pipeline.accounting import ItemState
from avipipe.pipeline.workspace import Workspace


@dataclass
class File:
    """A labelled file and what the build made of it."""

    label: str
    content: str
    kept_s: float = 0.0
    total_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def predicted(self) -> str:
        return "keep" if self.total_s and self.kept_s >= self.total_s / 2 else "drop"


def read_labels(folder: Path) -> dict[str, File]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return {
            row["file"]: File(row["verdict"], row["content"])
            for row in csv.DictReader(file)
            if row["verdict"] in ("keep", "drop") and row["confidence"] in ("high", "med")
        }


def build(folder: Path, out: Path, profile: str) -> None:
    words = ["-q", "build", "--source", str(folder), "--out", str(out), "--profile", profile]
    core = "from avipipe.cli import main; main()"
    subprocess.run([sys.executable, "-c", core, *words], check=True, stdin=subprocess.DEVNULL)


def collect(files: dict[str, File], out: Path) -> None:
    with Workspace.at(str(out)).survey() as (survey, lines):
        for state in survey.sources(lines):
            _note(files, state, 0.0)
        for state in survey.clips(lines):
            assert state.row.span is not None
            _note(files, state, state.row.span.duration_s)


def _note(files: dict[str, File], state: ItemState, duration_s: float) -> None:
    file = files.get(Path(state.row.source.uri).name)
    if file is None:
        return
    file.total_s += duration_s
    record = state.last.record
    if record is None or isinstance(record.outcome, (Drop, Fail)):
        file.reasons["pending" if record is None else record.reason] += 1
    else:
        file.kept_s += duration_s


def table(files: dict[str, File]) -> str:
    confusion = Counter((file.label, file.predicted) for file in files.values())
    recall = {
        label: confusion[label, label] / max(confusion[label, "keep"] + confusion[label, "drop"], 1)
        for label in ("keep", "drop")
    }
    called_keep = confusion["keep", "keep"] + confusion["drop", "keep"]
    precision = confusion["keep", "keep"] / max(called_keep, 1)
    wrong = {name: file for name, file in files.items() if file.label != file.predicted}
    lines = [
        "| label | called keep | called drop |",
        "|---|---:|---:|",
        *(
            f"| {label} | {confusion[label, 'keep']} | {confusion[label, 'drop']} |"
            for label in ("keep", "drop")
        ),
        "",
        f"balanced accuracy {(recall['keep'] + recall['drop']) / 2:.3f}, "
        f"keep-precision {precision:.3f}, {len(files)} files",
        "",
        "| wrong file | label | kept s | of s | reasons of its dropped clips | content |",
        "|---|---|---:|---:|---|---|",
    ]
    for name, file in sorted(wrong.items()):
        reasons = ", ".join(f"{reason} {count}" for reason, count in file.reasons.most_common())
        times = f"{file.kept_s:.1f} | {file.total_s:.1f}"
        lines.append(f"| {name} | {file.label} | {times} | {reasons} | {file.content} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder with labels.csv")
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--out", type=Path, help="dataset to build, or to go on with")
    arguments = parser.parse_args()
    files = read_labels(arguments.clips)
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch) / "dataset"
        build(arguments.clips, out, arguments.profile)
        collect(files, out)
    print(table(files))


if __name__ == "__main__":
    main()
