"""How well the single-sounding-instance decision agrees with labels of real clips.

    python bench/filter.py --clips FOLDER [--profile light] [--out DATASET] [--set KEY=VALUE]

FOLDER holds the clips and `labels.csv` with the columns file, verdict (keep, drop, odd), confidence
(high, med, low) and content. Rows of confidence `low` and verdict `odd` are left out. A file counts
as kept if at least half of the time of its clips is kept; a clip has the label of its file.

Evidence is gathered once, by a build whose thresholds drop nothing before all evidence of a clip is
there. Decisions are made from that: with all checks, without those of each kind of evidence, with
only those of it, and by simpler rules. `--set stages.decide.KEY=VALUE` tries other thresholds. With
`--out` the evidence stays: the same command goes on with it, or decides anew in seconds.
"""

import argparse
import csv
import math
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from avipipe.manifests.records import Evidence, Fail, Keep, Span
from avipipe.pipeline.accounting import ItemState
from avipipe.pipeline.config import load_config
from avipipe.pipeline.workspace import Workspace
from avipipe.stages.decide import CHECKS, Decide, DecideConfig, Finding, findings, verdict

GROUPS: Mapping[str, tuple[str, ...]] = {
    "speech & speakers": ("max_speakers", "max_overlap_ratio"),
    "tags: music": ("max_music", "max_player_p_value"),
    "tags: ambience": ("max_ambience",),
    "tags: crowd": ("max_crowd",),
    "tags: second sound": ("max_second_sound", "max_second_family", "max_beside_speech"),
    "sound & motion": (
        *("max_p_value", "max_speech_p_value", "min_mover_share"),
        *("min_margin", "max_rival_share"),
    ),
    "faces & lips": (
        *("min_speaking_ratio", "max_speaking_faces"),
        *("max_lip_p_value", "max_short_lip_p_value"),
    ),
    "sync": ("max_sync_offset_s",),
    "mask": tuple(check.threshold for check in CHECKS if check.stage == "mask"),
}
"""Kind of evidence -> the thresholds of its checks."""

ALL = frozenset(check.threshold for check in CHECKS)
"""The thresholds of all checks."""

REST = "length, level, movement, other"
"""What the checks in none of the groups are about."""

KEEP = "keep"
TALKING = 0.5


@dataclass(frozen=True)
class Clip:
    """One clip of a labelled file: all evidence of it, or why there is none."""

    file: str
    span: Span
    evidence: Mapping[str, Evidence]
    failure: str = ""


@dataclass(frozen=True)
class Label:
    verdict: str
    content: str


Rule = Callable[[Clip], str]
"""From a clip to `keep` or the reason to drop it."""


def read_labels(folder: Path) -> dict[str, Label]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return {
            row["file"]: Label(row["verdict"], row["content"])
            for row in csv.DictReader(file)
            if row["verdict"] in ("keep", "drop") and row["confidence"] in ("high", "med")
        }


def open_thresholds() -> dict[str, float]:
    """Those that drop nothing until all evidence is there, and then everything: the stages after
    it would only cost time."""
    limits = {}
    for check in CHECKS:
        bounds = DecideConfig.model_fields[check.threshold].metadata
        name, default = ("ge", -1e9) if check.sense == "at_least" else ("le", 1e9)
        found = [getattr(bound, name) for bound in bounds if hasattr(bound, name)]
        limits[check.threshold] = found[0] if found else default
    return {**limits, "min_instances": 1e9}


def build(files: Iterable[Path], out: Path, profile: str, executor: str) -> None:
    listing = out.with_suffix(".txt")
    listing.write_text("".join(f"{path.absolute()}\n" for path in files))
    words = ["-q", "build", "--source", str(listing), "--out", str(out), "--profile", profile]
    words += ["--executor", executor]
    for name, limit in open_thresholds().items():
        words += ["--set", f"stages.decide.{name}={limit:.0f}"]
    core = "from avipipe.cli import main; main()"
    # The tables go to stdout, what the build says does not.
    subprocess.run(
        [sys.executable, "-c", core, *words],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )


def collect(out: Path) -> Iterator[Clip]:
    with Workspace.at(str(out)).survey() as (survey, lines):
        for state in survey.clips(lines):
            yield _clip(state)


def _clip(state: ItemState) -> Clip:
    evidence: dict[str, Evidence] = {}
    failure = ""
    for visit in state.visits:
        outcome = visit.record and visit.record.outcome
        if isinstance(outcome, Keep) and visit.stage.name in Decide.EVIDENCE:
            evidence[visit.stage.name] = outcome.evidence
        if isinstance(outcome, Fail):
            failure = f"{visit.stage.name}: {outcome.kind.value}"
    assert state.row.span is not None
    return Clip(Path(state.row.source.uri).name, state.row.span, evidence, failure)


def rule(config: DecideConfig, asked: Set[str] = ALL) -> Rule:
    """The decision by the checks with these thresholds."""

    def decided(clip: Clip) -> str:
        if clip.failure:
            return clip.failure
        found = [finding for finding in _findings(clip, config) if finding.threshold in asked]
        reason = verdict(found)
        return KEEP if reason is None else reason.value

    return decided


def naive(config: DecideConfig, *, always_a_face: bool) -> Rule:
    """What is often done: loud enough, no music, and one face where speech prevails, or always."""

    def decided(clip: Clip) -> str:
        if clip.failure:
            return clip.failure
        listen, faces = clip.evidence["listen"], clip.evidence["look"]["faces"]
        if listen["rms_dbfs"] < config.min_sound_dbfs:
            return "silent"
        if listen["tags"].get("music", 0.0) > config.max_music:
            return "music"
        wants_face = always_a_face or listen["speech_ratio"] >= TALKING
        return KEEP if not wants_face or faces is None or len(faces) == 1 else "faces"

    return decided


def _findings(clip: Clip, config: DecideConfig) -> list[Finding]:
    return findings(clip.evidence, config) if not clip.failure else []


@dataclass(frozen=True)
class Scores:
    """(label, decision) -> how many."""

    counts: Counter[tuple[str, str]]

    def recall(self, label: str) -> float:
        total = self.counts[label, KEEP] + self.counts[label, "drop"]
        return self.counts[label, label] / max(total, 1)

    @property
    def balanced_accuracy(self) -> float:
        return (self.recall(KEEP) + self.recall("drop")) / 2

    @property
    def num_kept(self) -> int:
        return self.counts[KEEP, KEEP] + self.counts["drop", KEEP]

    @property
    def precision(self) -> float:
        """Of what is kept; NaN where nothing is."""
        return self.counts[KEEP, KEEP] / self.num_kept if self.num_kept else math.nan

    @property
    def cells(self) -> str:
        """Cells of a table: balanced accuracy, keep-precision, and how many of those kept are
        right."""
        right = f"{self.counts[KEEP, KEEP]}/{self.num_kept}"
        return f"{self.balanced_accuracy:.3f} | {self.precision:.3f} | {right}"


def by_clip(clips: Sequence[Clip], labels: Mapping[str, Label], decided: Rule) -> Scores:
    return Scores(
        Counter(
            (labels[clip.file].verdict, KEEP if decided(clip) == KEEP else "drop") for clip in clips
        )
    )


def by_file(clips: Sequence[Clip], labels: Mapping[str, Label], decided: Rule) -> Scores:
    kept = kept_files(clips, decided)
    return Scores(
        Counter((label.verdict, KEEP if file in kept else "drop") for file, label in labels.items())
    )


def kept_files(clips: Sequence[Clip], decided: Rule) -> set[str]:
    kept_s: dict[str, float] = defaultdict(float)
    total_s: dict[str, float] = defaultdict(float)
    for clip in clips:
        total_s[clip.file] += clip.span.duration_s
        if decided(clip) == KEEP:
            kept_s[clip.file] += clip.span.duration_s
    return {file for file in total_s if kept_s[file] >= total_s[file] / 2}


def confusion(files: Scores, clips: Scores) -> list[str]:
    lines = [
        "| label | files kept | files dropped | clips kept | clips dropped |",
        "|---|---:|---:|---:|---:|",
    ]
    for label in (KEEP, "drop"):
        numbers = [
            scores.counts[label, decision]
            for scores in (files, clips)
            for decision in (KEEP, "drop")
        ]
        lines.append(f"| {label} | {' | '.join(map(str, numbers))} |")
    return lines


def ablation(
    clips: Sequence[Clip], labels: Mapping[str, Label], config: DecideConfig
) -> Iterator[str]:
    yield (
        "| checks | files: balanced accuracy | keep-precision | right of kept "
        "| clips: balanced accuracy | keep-precision | right of kept |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|"
    rules = {"all": rule(config)}
    rest = ALL.difference(*GROUPS.values())
    for group, names in {**GROUPS, REST: rest}.items():
        rules[f"all but {group}"] = rule(config, ALL.difference(names))
        rules[f"only {group}"] = rule(config, set(names))
    rules["naive: loud, no music, one face if speech prevails"] = naive(config, always_a_face=False)
    rules["naive: loud, no music, one face"] = naive(config, always_a_face=True)
    rules["none"] = rule(config, set())
    for title, decided in rules.items():
        files, parts = by_file(clips, labels, decided), by_clip(clips, labels, decided)
        yield f"| {title} | {files.cells} | {parts.cells} |"


def wrong_clips(
    clips: Sequence[Clip], labels: Mapping[str, Label], config: DecideConfig
) -> Iterator[str]:
    """With every check that fired: what was measured, and the threshold."""
    decided = rule(config)
    kept = kept_files(clips, decided)
    yield "| wrong clip | label | file is | decision | checks that fired (threshold) | content |"
    yield "|---|---|---|---|---|---|"
    for clip in sorted(clips, key=lambda clip: (clip.file, clip.span.start_s)):
        label, decision = labels[clip.file], decided(clip)
        if (decision == KEEP) == (label.verdict == KEEP):
            continue
        fired = ", ".join(
            f"{finding.threshold} {finding.value:.3g} ({finding.limit:g})"
            for finding in _findings(clip, config)
            if not finding.passed and finding.value is not None
        )
        file = "kept" if clip.file in kept else "dropped"
        where = f"{clip.file} {clip.span.start_s:.1f}-{clip.span.end_s:.1f} s"
        yield f"| {where} | {label.verdict} | {file} | {decision} | {fired} | {label.content} |"


def report(
    clips: Sequence[Clip], labels: Mapping[str, Label], config: DecideConfig
) -> Iterator[str]:
    decided = rule(config)
    files, parts = by_file(clips, labels, decided), by_clip(clips, labels, decided)
    yield from confusion(files, parts)
    yield ""
    yield (
        f"of files: balanced accuracy {files.balanced_accuracy:.3f}, keep-precision "
        f"{files.precision:.3f}"
    )
    without = len(set(labels) - {clip.file for clip in clips})
    yield ""
    yield (
        f"{len(labels)} files, {without} of them without a clip; {len(clips)} clips, "
        f"{sum(bool(clip.failure) for clip in clips)} failed"
    )
    yield ""
    yield from ablation(clips, labels, config)
    yield ""
    yield from wrong_clips(clips, labels, config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder with labels.csv")
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--executor", default="ray", choices=("ray", "inline"))
    parser.add_argument("--out", type=Path, help="where evidence is gathered, or lies already")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    labels = read_labels(arguments.clips)
    config = load_config(None, [f"profile={arguments.profile}", *arguments.overrides])
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch) / "dataset"
        build(
            (arguments.clips / name for name in labels), out, arguments.profile, arguments.executor
        )
        clips = list(collect(out))
    print("\n".join(report(clips, labels, config.stages.decide)))


if __name__ == "__main__":
    main()
