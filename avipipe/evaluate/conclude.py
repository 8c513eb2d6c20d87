"""Ends a run: from its scores to tables and tests; joins the shards of one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from avipipe import __version__
from avipipe.errors import ConfigError
from avipipe.evaluate.aggregate import PairTest, Scores, control_tests, pair_tests, set_scores
from avipipe.evaluate.cases import Case
from avipipe.evaluate.catalogue import LISTED, METRICS
from avipipe.evaluate.catalogue.sets import SETS
from avipipe.evaluate.mask_curves import EditorCurve, editor_curves
from avipipe.evaluate.metric import served_by
from avipipe.evaluate.set_values import SetFeatures, set_tests, set_values
from avipipe.evaluate.tables import (
    AnswerRow,
    ClipScore,
    EvaluateRun,
    FeatureRow,
    SetScore,
    SetValue,
    read_run,
    write_answers,
    write_clips,
    write_features,
    write_run,
    write_sets,
)
from avipipe.evaluate.views import (
    DETAIL_PX,
    DETAIL_STEP,
    FPS,
    MAX_S,
    MOTION_PX,
    VIEWS_VERSION,
)

_PACKAGES = ("av", "numpy", "opencv-python-headless", "scipy")
"""What numbers depend on besides avipipe."""

NO_VAE = "a round trip through a VAE was skipped: give the folder of a Wan with --vae"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a run found.

    Attributes:
        sets: means over cases; `tests` of them, `controls` of controls against a copy.
        values: numbers of whole sets; `value_tests` of them.
        mask_curves: of each editor that was given masks of several precision factors.
    """

    run: EvaluateRun
    sets: Sequence[SetScore]
    tests: Sequence[PairTest]
    controls: Sequence[PairTest]
    values: Sequence[SetValue] = ()
    value_tests: Sequence[PairTest] = ()
    mask_curves: Sequence[EditorCurve] = ()


def conclude(
    folder: Path,
    cases: Sequence[Case],
    clips: Sequence[ClipScore],
    features: Sequence[FeatureRow] = (),
    answers: Sequence[AnswerRow] = (),
    *,
    metrics: Mapping[str, Mapping[str, Any]],
    seed: int,
    allow_small_n: bool = False,
    shard: tuple[int, int] = (1, 1),
) -> Conclusion:
    """Write all that a run leaves but the report.

    Args:
        cases: the whole manifest, with controls, whatever the shard.
        metrics: those that were asked for, each with its `metric_facts`.
        clips: the scores, of the shard alone; `features` and `answers` too.
        allow_small_n: of `set_values`.
    """
    scores = Scores(clips)
    sets = set_scores(scores, seed=seed)
    judged = [name for name in scores.metrics if METRICS[name].sense != "none"]
    tests = pair_tests(scores, judged, seed=seed)
    controls = control_tests(scores, judged, seed=seed)
    gathered = SetFeatures(features)
    asked = [name for name in metrics if name in SETS]
    values = set_values(gathered, asked, seed=seed, allow_small_n=allow_small_n)
    value_tests = set_tests(gathered, values, asked, seed=seed)
    mask_curves = editor_curves(cases, clips)
    facts = {
        "version": __version__,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "seed": seed,
        "allow_small_n": allow_small_n,
        "shard": list(shard),
        "metrics": dict(metrics),
        "views": {
            "version": VIEWS_VERSION,
            "fps": float(FPS),
            "motion_px": MOTION_PX,
            "detail_px": DETAIL_PX,
            "detail_step": DETAIL_STEP,
            "max_s": MAX_S,
        },
        "statuses": dict(sorted(Counter(clip.status for clip in clips).items())),
        "tests": [asdict(test) for test in tests],
        "control_tests": [asdict(test) for test in controls],
        "set_tests": [asdict(test) for test in value_tests],
        "mask_curves": [_curve_facts(each) for each in mask_curves],
        "notes": [] if any(case.control == "vae" for case in cases) else [NO_VAE],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_clips(folder, clips)
    write_sets(folder, sets, values)
    write_features(folder, features)
    write_answers(folder, answers)
    write_run(folder, facts, cases)
    run = EvaluateRun(folder, facts, cases, clips, features, answers)
    return Conclusion(run, sets, tests, controls, values, value_tests, mask_curves)


def _curve_facts(found: EditorCurve) -> dict[str, Any]:
    curve = found.curve
    return {
        "editor": found.editor,
        "precision": curve.precision_P.astype(int).tolist(),
        "j": curve.j_P.tolist(),
        "f": curve.f_P.tolist(),
        "mean_jf": curve.mean_jf,
        "num": found.num,
        "num_total": found.num_total,
    }


def metric_facts(name: str) -> dict[str, Any]:
    """What a metric is, for `run.json` and for lists."""
    metric = LISTED[name]
    return {
        "version": metric.version,
        "sense": metric.sense,
        "unit": metric.unit,
        "needs": list(metric.needs),
        "words": metric.words,
        "protocol": metric.protocol,
        "weights": list(metric.weights),
        "judge": served_by(metric),
    }


def merge(folder: Path, parts: Sequence[Path]) -> Conclusion:
    """Join the shards of one run; the result is that of a run without shards.

    Raises:
        ConfigError: a shard is missing, twice there, or of another run.
    """
    runs = [read_run(part) for part in parts]
    first = runs[0]
    for run in runs[1:]:
        if run.cases != first.cases:
            raise ConfigError(f"{run.folder} and {first.folder} are of different cases")
        for key in ("seed", "allow_small_n", "metrics", "views", "version"):
            if run.facts[key] != first.facts[key]:
                raise ConfigError(
                    f"{run.folder} and {first.folder} differ in {key}: run their shards again, "
                    "with the same command but for --shard"
                )
    _check_whole(runs)
    clips = [clip for run in runs for clip in run.clips]
    told = first.facts["metrics"]
    metrics = {name: told[name] for name in LISTED if name in told}
    order = {name: place for place, name in enumerate(metrics)}
    clips.sort(key=lambda clip: (clip.method, clip.name, order[clip.metric]))
    kinds = dict.fromkeys(SETS[name].features.name for name in metrics if name in SETS)
    places = {kind: place for place, kind in enumerate(kinds)}
    features = [row for run in runs for row in run.features]
    features.sort(key=lambda row: (row.method, row.name, places[row.kind]))
    answers = [row for run in runs for row in run.answers]
    answers.sort(key=lambda row: (row.method, row.name))
    return conclude(
        folder,
        first.cases,
        clips,
        features,
        answers,
        metrics=metrics,
        seed=first.facts["seed"],
        allow_small_n=first.facts["allow_small_n"],
    )


def _check_whole(runs: Sequence[EvaluateRun]) -> None:
    counts = {run.facts["shard"][1] for run in runs}
    found = Counter(run.facts["shard"][0] for run in runs)
    if len(counts) > 1:
        raise ConfigError(f"expected shards of one run, got some of {sorted(counts)} each")
    missing = [f"{n}" for n in range(1, max(counts) + 1) if found[n] == 0]
    twice = [f"{n}" for n, number in sorted(found.items()) if number > 1]
    if missing or twice:
        said = [f"shard {', '.join(missing)} is missing"] if missing else []
        said += [f"shard {', '.join(twice)} is there twice"] if twice else []
        raise ConfigError(f"expected each of {max(counts)} shards once: {' and '.join(said)}")
