"""How well the single-sounding-instance decision agrees with labels of real clips.

    python bench/filter.py --clips FOLDER [--clips FOLDER2] [--profile light] [--out DATASET]

FOLDER holds the clips and `labels.csv`; see `bench/labelled.py`. Evidence is gathered once, by a
build that drops nothing before all evidence of sound and picture is there; with `--out` it stays,
and the same command goes on with it, or judges anew in seconds.

Everything is cross-validated in folds by repository: weights, shrinkage and calibration are fitted
in the other folds. The repositories of the *last* folder that a seeded draw puts aside are left
out; `--reveal` reports them too, judged by what was fitted on all others, and `--write FILE` then
fits the numbers that are shipped on everything. `--across` reports each folder judged by what was
fitted on the others, which is nearest to material that nobody has seen.

`--synth FOLDER`, written by `avipipe synth`, adds clips of known truth to all fits; they are never
judged. Without names of things (`embedded`) real labels alone say little.

A drop file counts as kept as soon as one of its clips is; a keep file if half of its good time, or
2 s of it, is. A clip is good if half of it lies in the good time of a keep file.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from judged import FIGURES, Judged, share, table, trade
from labelled import Label, overlap_s, put_aside, read_labels

from avipipe.calibrate.crossval import (
    bootstrapped,
    calibration_error,
    out_of_fold,
    reliability,
    sigmoid,
    tuned_fit,
)
from avipipe.calibrate.fit import Example, Floats
from avipipe.calibrate.write import as_yaml, decision_model
from avipipe.decision.checks import CHECKS, measures
from avipipe.decision.judge import used_backends
from avipipe.decision.model import EVEN_ODDS, Figure
from avipipe.manifests.records import Evidence, Fail, Keep, Span
from avipipe.pipeline.accounting import ItemState
from avipipe.pipeline.workspace import Workspace
from avipipe.stages.decide import DecideConfig
from avipipe.synth import load_truth

MEASURED = ("listen", "look")
ABOUT_MASKS = frozenset({"tiny", "huge", "leaving"})
"""Kinds of `avipipe synth` that are good or not by what only masks show."""

ENOUGH_S = 2.0
"""Good time of a file that is enough to count it as kept."""

RARE = frozenset({"second_family", "short_lip_chance", "speech_chance", "player_chance", "offset"})
"""Measures that too few clips have for a weight to be fitted; they stay hard limits."""

EXACT = frozenset({"length", "level", "motion", "source_size", "source_rate"})
"""Measures that are hard limits, or may be made one, and say nothing beside the others."""

LEAST_KNOWN = 0.05
"""Share of the clips that must have a measure for a weight to be fitted."""

NAMES = tuple(
    check.name for check in CHECKS if check.stage in MEASURED and check.name not in RARE | EXACT
)


@dataclass(frozen=True)
class Clip:
    """One clip of a labelled file: its measures, or why there are none.

    Attributes:
        good_s: how much of it is good.
        missed: the hard limit that it misses; empty if none.
    """

    file: str
    span: Span
    label: Label
    values: Mapping[str, float | None]
    backends: Mapping[str, str]
    missed: str
    good_s: float

    @property
    def is_good(self) -> bool:
        return self.good_s >= self.span.duration_s / 2

    @property
    def counts(self) -> bool:
        """Whether the file counts as kept if this clip is."""
        if not self.label.is_keep:
            return True
        total_s = sum(end_s - start_s for start_s, end_s in self.label.good)
        return self.good_s >= min(ENOUGH_S, (total_s or self.span.duration_s) / 2)


def gather(folder: Path, files: Iterable[str], out: Path, profile: str, executor: str) -> None:
    """Build, and stop when sound and picture have been measured."""
    listing = out.with_suffix(".txt")
    listing.write_text("".join(f"{(folder / name).absolute()}\n" for name in files))
    words = ["-q", "build", "--source", str(listing), "--out", str(out), "--profile", profile]
    words += ["--executor", executor]
    open_limits = dict.fromkeys(("min_clip_s", "min_sound_dbfs"), "null")
    for name, limit in {**open_limits, "min_probability": "1e-9", "min_motion_px": "1e9"}.items():
        words += ["--set", f"stages.decide.{name}={limit}"]
    core = "from avipipe.cli import main; main()"
    # The tables go to stdout, what the build says does not.
    subprocess.run(
        [sys.executable, "-c", core, *words],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )


def collect(out: Path, labels: Mapping[str, Label]) -> Iterator[Clip]:
    """The clips that were measured, and those that failed."""
    with Workspace.at(str(out)).survey() as (survey, lines):
        for state in survey.clips(lines):
            yield _clip(state, labels[Path(state.row.source.uri).name])


def _clip(state: ItemState, label: Label) -> Clip:
    evidence: dict[str, Evidence] = {}
    missed = ""
    for visit in state.visits:
        outcome = visit.record and visit.record.outcome
        if isinstance(outcome, Keep) and visit.stage.name in MEASURED:
            evidence[visit.stage.name] = outcome.evidence
        if isinstance(outcome, Fail):
            missed = f"{visit.stage.name}: {outcome.kind.value}"
    span = state.row.span
    assert span is not None
    values = measures(evidence) if len(evidence) == len(MEASURED) else {}
    good_s = overlap_s(span.start_s, span.end_s, label.good)
    if label.is_keep and not label.good:
        good_s = span.duration_s
    return Clip(
        file=Path(state.row.source.uri).name,
        span=span,
        label=label,
        values=values,
        backends=used_backends(evidence),
        missed=missed or _missed(values),
        good_s=good_s,
    )


def _missed(values: Mapping[str, float | None]) -> str:
    for check in CHECKS:
        limit = DecideConfig().limits.get(check.name)
        value = values.get(check.name)
        if limit is not None and value is not None and (value - limit) * check.sign < 0:
            return check.reason.value
    return ""


def examples(clips: Sequence[Clip]) -> list[Example]:
    """Clips to fit; those of a file share its weight, but long files count somewhat more."""
    number: dict[str, int] = {}
    for clip in clips:
        number[clip.file] = number.get(clip.file, 0) + 1
    return [
        Example(clip.values, clip.is_good, clip.label.repository, number[clip.file] ** -0.5)
        for clip in clips
    ]


def by_file(clips: Sequence[Clip], labels: Mapping[str, Label], probability_N: Floats) -> Judged:
    """Files judged by their clips; one without any clip is not kept."""
    best = dict.fromkeys(labels, 0.0)
    for clip, probability in zip(clips, probability_N, strict=True):
        if clip.counts and not clip.missed:
            best[clip.file] = max(best[clip.file], float(probability))
    return Judged(list(best), list(labels.values()), np.array(list(best.values())))


def measured(clips: Sequence[Clip]) -> tuple[str, ...]:
    """The measures that enough of the clips have."""
    known = Counter(name for clip in clips for name in NAMES if clip.values.get(name) is not None)
    return tuple(name for name in NAMES if known[name] >= LEAST_KNOWN * len(clips))


def cross_validated(clips: Sequence[Clip], made: Sequence[Example] = (), seed: int = 0) -> Floats:
    """Probability of each clip (N,), from fits to the other folds.

    Args:
        made: examples of known truth that every fit sees besides.
    """
    names = measured(clips)

    def judged(others: Sequence[Example], at: Sequence[Example]) -> Floats:
        return sigmoid(tuned_fit([*others, *made], names).log_odds(at))

    return out_of_fold(examples(clips), judged, seed)


def synthetic(folder: Path, out: Path, profile: str, executor: str) -> list[Example]:
    """The clips of a synthetic set whose verdict does not depend on their masks."""
    truths = {Path(truth.file).name: truth for truth in load_truth(folder / "truth.jsonl")}
    labels = {
        name: Label(truth.verdict, truth.kind, f"synth {truth.kind}")
        for name, truth in truths.items()
        if truth.verdict != "either" and truth.kind not in ABOUT_MASKS
    }
    gather(folder / "clips", labels, out, profile, executor)
    return [
        Example(clip.values, clip.label.is_keep, clip.label.repository)
        for clip in collect(out, labels)
        if clip.values
    ]


def naive(clip: Clip) -> bool:
    """What is often done: loud enough, no music, and one face where speech prevails."""
    values = clip.values
    music, second = values.get("music"), values.get("second_face")
    share, voice = values.get("face_share"), values.get("voice_unseen")
    if clip.missed or (music or 0.0) > 0.5:
        return False
    if share is None or voice is None or voice + (values.get("voice_seen") or 0.0) < 0.5:
        return True
    return share >= 0.5 and (second or 0.0) < 0.5


def calibrated(clips: Sequence[Clip], said_N: Floats) -> tuple[list[str], dict[str, Figure]]:
    """Reliability and scores of the probabilities of clips."""
    groups = [clip.label.repository for clip in clips]
    good_N = np.array([clip.is_good for clip in clips], float)
    alike = [replace(each, weight=1.0) for each in examples(clips)]
    naive_N = np.array([naive(clip) for clip in clips], float)
    figures = {
        "calibration_error": bootstrapped(
            groups, lambda at: calibration_error(said_N[at], [alike[n] for n in at])
        ),
        "brier": bootstrapped(groups, lambda at: float(((said_N[at] - good_N[at]) ** 2).mean())),
        "brier_naive": bootstrapped(
            groups, lambda at: float(((naive_N[at] - good_N[at]) ** 2).mean())
        ),
    }
    lines = [f"- {name}: {f.value:.3f} ({f.low:.3f}–{f.high:.3f})" for name, f in figures.items()]
    lines += ["", "| clips | said | so |", "|---:|---:|---:|"]
    lines += [
        f"| {bin_.num} | {bin_.mean_probability:.2f} | {bin_.share_good:.2f} |"
        for bin_ in reliability(said_N, examples(clips))
    ]
    return [*lines, ""], figures


def wrong(clips: Sequence[Clip], judged: Judged, said_N: Floats) -> Iterator[str]:
    """Every wrong file, by its clip with the highest probability."""
    yield "| wrong file | label | clip | probability | content |"
    yield "|---|---|---|---:|---|"
    for file, label, kept in zip(judged.files, judged.labels, judged.kept, strict=True):
        if kept == label.is_keep:
            continue
        own = [n for n, clip in enumerate(clips) if clip.file == file and clip.counts]
        best = max(own, key=lambda n: said_N[n], default=None)
        where = "none" if best is None else f"{clips[best].span.start_s:.1f} s"
        said = 0.0 if best is None else said_N[best]
        missed = "" if best is None else clips[best].missed
        yield f"| {file} | {label.verdict} | {where} {missed} | {said:.2f} | {label.content} |"


def report(
    clips: Sequence[Clip], labels: Mapping[str, Label], made: Sequence[Example]
) -> Iterator[str]:
    """All tables of cross-validation."""
    said_N = cross_validated(clips, made)
    judged = by_file(clips, labels, said_N)
    yield from table("Cross-validated", judged)
    yield from trade(judged)
    plain_N = np.array([naive(clip) for clip in clips], float)
    yield from table(
        "Naive: loud, no music, one face if speech prevails", by_file(clips, labels, plain_N)
    )
    kept_N = np.array([not clip.missed for clip in clips]) & (said_N >= EVEN_ODDS)
    good_N = np.array([clip.is_good for clip in clips])
    yield f"Precision by clip: {share(good_N[kept_N]):.3f} of {kept_N.sum()} kept."
    yield ""
    lines, _ = calibrated(clips, said_N)
    yield from lines
    yield from wrong(clips, judged, said_N)
    yield ""


def shipped(
    clips: Sequence[Clip], labels: Mapping[str, Label], made: Sequence[Example], name: str
) -> str:
    """The file of numbers, fitted on everything, with what cross-validation says of it."""
    said_N = cross_validated(clips, made)
    judged = by_file(clips, labels, said_N)
    figures = {each: judged.figure(each) for each in FIGURES}
    _, more = calibrated(clips, said_N)
    repositories = {label.repository for label in labels.values()}
    num_good = sum(label.is_keep for label in labels.values())
    synth = f", and {len(made)} synthetic clips" if made else ""
    model = decision_model(
        tuned_fit([*examples(clips), *made], measured(clips)),
        name=name,
        backends={role: each for clip in clips for role, each in clip.backends.items()},
        data=(
            f"{len(labels)} labelled real files ({num_good} good) of {len(repositories)} "
            f"repositories, {len(clips)} clips{synth}; figures cross-validated in folds by "
            "repository"
        ),
        figures={**figures, "calibration_error": more["calibration_error"]},
        reliability=reliability(said_N, examples(clips)),
    )
    return as_yaml(model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=Path, action="append", required=True, metavar="FOLDER")
    parser.add_argument("--labels", type=Path, action="append", help="folders of labels.csv")
    parser.add_argument("--synth", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--executor", default="ray", choices=("ray", "inline"))
    parser.add_argument("--out", type=Path, help="where evidence is gathered, or lies already")
    parser.add_argument("--reveal", action="store_true", help="report what was put aside, too")
    parser.add_argument("--across", action="store_true", help="report each folder by the others")
    parser.add_argument("--write", type=Path, help="fit on everything, and write the numbers")
    arguments = parser.parse_args()
    if arguments.across and len(arguments.clips) < 2:
        parser.error("--across needs two folders of clips or more")
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch)
        clips, labels, aside = _everything(arguments, out)
        made = [
            example
            for folder in arguments.synth
            for example in synthetic(
                folder, out / folder.name, arguments.profile, arguments.executor
            )
        ]
    inside = [clip for clip in clips if clip.file not in aside]
    seen = {file: label for file, label in labels.items() if file not in aside}
    print("\n".join(report(inside, seen, made)))
    if arguments.reveal:
        print("\n".join(by_others("Put aside", clips, labels, aside, made)))
    if arguments.across:
        for folder in arguments.labels or arguments.clips:
            print("\n".join(by_others(folder.name, clips, labels, read_labels(folder), made)))
    if arguments.write:
        text = shipped(clips, labels, made, arguments.profile)
        arguments.write.write_text(text, encoding="utf-8")


def _everything(
    arguments: argparse.Namespace, out: Path
) -> tuple[list[Clip], dict[str, Label], set[str]]:
    clips: list[Clip] = []
    labels: dict[str, Label] = {}
    aside: set[str] = set()
    for number, folder in enumerate(arguments.clips):
        found = read_labels((arguments.labels or arguments.clips)[number])
        is_last = number == len(arguments.clips) - 1 and number > 0
        aside = put_aside(found) if is_last else set()
        parts = {"": set(found) - aside, "-aside": aside}
        if not (arguments.reveal or arguments.write):
            del parts["-aside"]
        for suffix, files in parts.items():
            if not files:
                continue
            dataset = out / f"{folder.name}{suffix}"
            gather(folder, sorted(files), dataset, arguments.profile, arguments.executor)
            clips += collect(dataset, found)
        labels |= found if "-aside" in parts else {f: found[f] for f in parts[""]}
    return clips, labels, aside


def by_others(
    title: str,
    clips: Sequence[Clip],
    labels: Mapping[str, Label],
    files: Collection[str],
    made: Sequence[Example],
) -> Iterator[str]:
    """These files, by a decision fitted on all others."""
    rest = [clip for clip in clips if clip.file not in files]
    at = [clip for clip in clips if clip.file in files]
    own = {file: label for file, label in labels.items() if file in files}
    fitted = tuned_fit([*examples(rest), *made], measured(rest))
    said_N = sigmoid(fitted.log_odds(examples(at)))
    judged = by_file(at, own, said_N)
    yield from table(f"{title}, fitted on all others", judged)
    yield from trade(judged)
    yield from calibrated(at, said_N)[0]
    yield from wrong(at, judged, said_N)


if __name__ == "__main__":
    main()
