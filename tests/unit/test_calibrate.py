"""The fit keeps signs and shrinks, cross-validation is honest, and too few labels are refused."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from avipipe.calibrate.crossval import (
    NUM_FOLDS,
    bootstrapped,
    calibration,
    calibration_error,
    folds,
    out_of_fold,
    sigmoid,
    tuned_fit,
)
from avipipe.calibrate.dataset import MIN_LABELS, calibrate
from avipipe.calibrate.fit import Example, fit
from avipipe.calibrate.rescale import own_terms, rescaled
from avipipe.calibrate.write import as_yaml, decision_model
from avipipe.decision.judge import Judge
from avipipe.decision.model import parse_model, shipped
from avipipe.errors import ManifestError
from avipipe.manifests.labels import ReviewLabel, Verdict
from avipipe.pipeline.refilter import ClipMeasures

NAMES = ("lips", "match", "voice_unseen", "camera")


def made_up(num: int, seed: int = 0) -> list[Example]:
    """Clips that are good where lips move and no voice is unseen; the rest is noise."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(num):
        lips, unseen = rng.uniform(-3, 3), rng.uniform(0, 1)
        good = bool(rng.random() < sigmoid(np.array([1.5 * lips - 3 * (unseen - 0.5)]))[0])
        values = {
            "lips": lips,
            "voice_unseen": unseen,
            "match": rng.uniform(0, 1),
            "camera": None if n % 3 else rng.uniform(0, 3),
        }
        found.append(Example(values, good, f"source-{n // 2}"))
    return found


def test_weights_have_the_sign_that_a_measure_is_meant_to_have() -> None:
    turned = [replace(each, is_good=not each.is_good) for each in made_up(200)]
    weights = dict(zip(NAMES, fit(turned, NAMES, shrinkage=0.01).weights_K, strict=True))
    assert weights["lips"] == 0.0
    assert weights["voice_unseen"] == 0.0
    assert weights["match"] >= 0.0


def test_more_shrinkage_draws_weights_to_their_priors() -> None:
    examples = made_up(200)
    apart = [
        float(np.abs(found.weights_K - found.priors_K).sum())
        for found in (fit(examples, NAMES, shrinkage=value) for value in (0.1, 10.0, 1e6))
    ]
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 1e-3


def test_the_knots_say_what_the_fit_says() -> None:
    examples = made_up(100)
    found = fit(examples, NAMES, shrinkage=1.0)
    terms = found.terms()
    for example, odds in zip(examples, found.log_odds(examples), strict=True):
        added = sum(term.adds(example.values[name], by_prior=False) for name, term in terms.items())
        assert found.intercept + added == pytest.approx(odds, abs=1e-3)


def test_groups_never_stand_on_both_sides() -> None:
    examples = made_up(100)

    def judged(others: object, at: object) -> np.ndarray:
        assert isinstance(others, list)
        assert isinstance(at, list)
        assert not {each.group for each in others} & {each.group for each in at}
        return np.ones(len(at))

    assert out_of_fold(examples, judged).sum() == len(examples)
    parts = list(folds([each.group for each in examples]))
    assert len(parts) == NUM_FOLDS
    assert sum(map(len, parts)) == len({each.group for each in examples})


def test_labels_without_meaning_are_not_predicted() -> None:
    """What would look good if anything leaked from one fold to another."""
    rng = np.random.default_rng(0)
    noise = [replace(each, is_good=bool(rng.random() < 0.5)) for each in made_up(300)]
    good_N = np.array([each.is_good for each in noise])
    said_N = out_of_fold(noise, lambda a, b: fit(a, NAMES, shrinkage=1.0).log_odds(b))
    above = (said_N[good_N][:, None] > said_N[~good_N][None, :]).mean()
    assert 0.38 < above < 0.62


def test_probabilities_become_what_is_so() -> None:
    examples = made_up(600)
    odds_N = np.array([float(each.values["lips"] or 0) * 6 for each in examples])
    slope, shift = calibration(odds_N, examples)
    before = calibration_error(sigmoid(odds_N), examples)
    after = calibration_error(sigmoid(odds_N * slope + shift), examples)
    assert slope < 1
    assert after < before / 2


def test_intervals_come_from_whole_groups() -> None:
    values = np.repeat([0.0, 1.0], 50)
    one_each = bootstrapped([str(n) for n in range(100)], lambda at: float(values[at].mean()))
    two = bootstrapped(["a"] * 50 + ["b"] * 50, lambda at: float(values[at].mean()))
    assert one_each.high - one_each.low < 0.25
    assert (two.low, two.high) == (0.0, 1.0)


def test_a_model_is_read_as_it_was_written() -> None:
    model = decision_model(
        tuned_fit(made_up(100), NAMES),
        name="light",
        backends={"tag": "yamnet@1"},
        data="made-up clips: none, really",
        figures={"auc": bootstrapped(["a", "b"], lambda at: 0.5)},
        reliability=(),
    )
    assert parse_model(as_yaml(model), "test") == model


def test_factors_keep_shape_and_sign_and_stay_near_one_without_labels() -> None:
    terms = own_terms(shipped("light"), frozenset())
    examples = made_up(60)
    near = rescaled(terms, examples, 1e7)
    for name, term in terms.items():
        for (_, was), (_, now) in zip(term.knots, near.terms[name].knots, strict=True):
            assert now == pytest.approx(was, abs=2e-3)
    far = rescaled(terms, examples, 0.1)
    for name, term in terms.items():
        for (_, was), (_, now) in zip(term.knots, far.terms[name].knots, strict=True):
            assert was * now >= 0


def clip(n: int) -> ClipMeasures:
    listen = {
        "duration_s": 5.0,
        "rms_dbfs": -20.0 - n,
        "noise_floor_dbfs": -50.0,
        "silence_ratio": n / 100,
        "clipped_ratio": 0.0,
        "overlap_ratio": 0.0,
        "tags": {},
        "tag_details": {},
        "tag_classes": {},
        "speech": [],
        "speakers": [],
        "speech_ratio": 0.0,
        "num_speakers": 0,
        "onsets_s": [],
        "backends": {"tag": "yamnet@1"},
    }
    return ClipMeasures(f"source{n}_0000_0005", {"listen": listen})


def label(n: int, verdict: Verdict) -> ReviewLabel:
    return ReviewLabel(
        clip_id=f"source{n}_0000_0005",
        verdict=verdict,
        dataset="d",
        reviewed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        (["keep"] * 5 + ["drop"] * 5, "found 5 and 5"),
        (["keep"] * 30, "found 30 and 0"),
        (["drop"] * 30 + ["keep"] * 4, "found 4 and 30"),
        (["keep"] * 10 + ["unsure"] * 30 + ["drop"] * 5, "found 10 and 5"),
    ],
)
def test_too_few_labels_or_all_alike_are_refused(verdicts: list[Verdict], found: str) -> None:
    clips = [clip(n) for n in range(60)]
    judge = Judge(shipped("light"), {}, 0.5)
    labels = [label(n, verdict) for n, verdict in enumerate(verdicts)]
    with pytest.raises(ManifestError, match=found) as told:
        calibrate(clips, labels, judge, str, name="d")
    assert "avipipe review" in str(told.value)


def test_a_dataset_is_calibrated_by_its_labels(tmp_path: Path) -> None:
    """What stands out from its floor is called good; afterwards that speaks for a clip more."""
    clips = [clip(n) for n in range(60)]
    base = shipped("light")
    verdicts: list[Verdict] = ["keep" if n < 30 else "wrong_mask" for n in range(60)]
    labels = [label(n, verdict) for n, verdict in enumerate(verdicts)]
    found = calibrate(clips, labels, Judge(base, {}, 0.5), str, name="d")
    assert len(labels) > MIN_LABELS
    assert found.verdicts == {"keep": 30, "wrong_mask": 30}
    was, now = base.terms["level_over_floor"].knots, found.model.terms["level_over_floor"].knots
    assert now[-1][1] - now[0][1] > was[-1][1] - was[0][1]
    assert found.model.figures["keep_precision"].value > 0.8
    assert "60 clips of this dataset" in found.model.data
    assert parse_model(as_yaml(found.model), "test") == found.model
