"""The numbers of the report: what-if curves, scales, texts."""

import random
from dataclasses import replace

import numpy as np
import pytest

from avipipe.decision.checks import CHECKS
from avipipe.decision.checks import LIMITS as CHECK_OF
from avipipe.decision.judge import Judge, Values
from avipipe.pipeline.report.charts import LARGE, share, share_plot, ticks
from avipipe.pipeline.report.measures import WhatIf, measure
from avipipe.pipeline.report.pictures import outline
from avipipe.pipeline.report.render import (
    format_amount,
    format_bytes,
    format_chance,
    format_clock,
    format_count,
    format_duration,
    format_hours,
    format_percent,
    format_signed,
)
from avipipe.stages.decide import DecideConfig
from tests.decisions import GOOD, LIMITS, STAGES, judged, model

TERMS = {"level": (-1.0, 1.0), "music": (0.5, -1.5), "surprise": (-1.0, 1.5), "agreement": (-2, 1)}
JUDGE = DecideConfig.model_validate({**LIMITS, "min_probability": 0.4}).judge(model(TERMS))


def drawn(dice: random.Random) -> dict[str, float | None]:
    """Measures of a clip that came as far as its evidence let it, like in a build."""
    found: dict[str, float | None] = {}
    for stage in STAGES:
        for check in CHECKS:
            if check.stage == stage:
                low, high = check.span
                values: list[float | None] = [None, low + dice.random() * (high - low)]
                if (limit := JUDGE.limits.get(check.name)) is not None:
                    passes = [limit + step * check.sign for step in (0.0, 0.1, 2.0)]
                    values = [None, *passes] * 12 + [limit - check.sign]
                found[check.name] = dice.choice(values)
        if JUDGE.judge(found, {}).reason is not None:
            break
    return found


def is_complete(values: Values) -> bool:
    return len(values) == len(CHECKS)


def taken(judge: Judge, clips: list[dict[str, float | None]]) -> WhatIf:
    what_if = WhatIf(judge)
    for clip in clips:
        what_if.take(judge.judge(clip, {}), 0.5, complete=is_complete(clip))
    return what_if


def recount(judge: Judge, clips: list[dict[str, float | None]]) -> tuple[int, int]:
    """Settled and open clips, by deciding each of them anew."""
    kept = [clip for clip in clips if judge.judge(clip, {}).reason is None]
    settled = sum(map(is_complete, kept))
    return settled, len(kept) - settled


@pytest.fixture(scope="module")
def clips() -> list[dict[str, float | None]]:
    dice = random.Random(7)
    return [drawn(dice) for _ in range(400)]


def test_the_outlook_is_what_deciding_anew_would_give(clips: list[dict[str, float | None]]) -> None:
    outlook = taken(JUDGE, clips).outlook()
    assert outlook is not None
    assert outlook.limit == JUDGE.min_probability
    assert outlook.num_settled == sum(map(is_complete, clips))
    assert outlook.settled[outlook.now] > 0
    assert sum(outlook.open)
    everything = sum(JUDGE.judge(clip, {}).probability for clip in clips if is_complete(clip))
    for n in sorted({*range(0, len(outlook.xs), 9), outlook.now}):
        judge = replace(JUDGE, min_probability=outlook.xs[n])
        expected = recount(judge, clips)
        assert (outlook.settled[n], outlook.open[n]) == expected, outlook.xs[n]
        hours = (outlook.settled_hours[n], outlook.open_hours[n])
        assert hours == pytest.approx([0.5 * count for count in expected])
        kept = [
            found.probability
            for clip in clips
            if is_complete(clip) and (found := judge.judge(clip, {})).reason is None
        ]
        if kept:
            assert outlook.precision[n] == pytest.approx(sum(kept) / len(kept))
            assert outlook.precision[n] >= outlook.xs[n]
        else:
            assert outlook.precision[n] is None
        assert outlook.recall[n] == pytest.approx(sum(kept) / everything)


def test_a_curve_is_what_deciding_anew_would_give(clips: list[dict[str, float | None]]) -> None:
    curves = taken(JUDGE, clips).curves()
    assert {curve.stage for curve in curves} == set(STAGES)
    assert {curve.name for curve in curves} == set(LIMITS)
    assert any(sum(curve.settled) for curve in curves)
    assert any(sum(curve.open) for curve in curves)
    for curve in curves:
        name = CHECK_OF[curve.name].name
        known = [clip for clip in clips if name in clip]
        assert curve.limit in curve.xs
        assert curve.num_known == len(known)
        for n in range(0, len(curve.xs), 12):
            judge = replace(JUDGE, limits={**JUDGE.limits, name: curve.xs[n]})
            expected = recount(judge, known)
            assert (curve.settled[n], curve.open[n]) == expected, (curve.name, curve.xs[n])
            hours = (curve.settled_hours[n], curve.open_hours[n])
            assert hours == pytest.approx([0.5 * count for count in expected])


def test_limits_that_are_not_set_have_no_curve(clips: list[dict[str, float | None]]) -> None:
    judge = DecideConfig().judge(model(TERMS))
    names = [curve.name for curve in taken(judge, clips).curves()]
    assert names == [
        check.limit for check in CHECKS if check.limit and getattr(DecideConfig(), check.limit)
    ]


def test_what_nothing_is_known_about_has_no_curve() -> None:
    what_if = WhatIf(JUDGE)
    what_if.add({"fetch": {}, "probe": {}}, 1.0)
    assert what_if.curves() == ()
    assert what_if.outlook() is None


def test_where_no_clip_has_all_evidence_no_quality_is_expected() -> None:
    what_if = WhatIf(JUDGE)
    what_if.add({"listen": GOOD["listen"]}, 1.0)
    outlook = what_if.outlook()
    assert outlook is not None
    assert (max(outlook.open), max(outlook.settled)) == (1, 0)
    assert set(outlook.precision) == set(outlook.recall) == {None}
    plot = share_plot(outlook, LARGE)
    assert (plot.precision_line, plot.recall_line) == ("", "")
    assert (plot.precision_y, plot.recall_y) == (None, None)


def test_evidence_and_judgements_are_taken_alike() -> None:
    by_evidence, by_judgement = WhatIf(JUDGE), WhatIf(JUDGE)
    by_evidence.add({"fetch": {}, "cut": {}, **GOOD}, 2.0)
    by_judgement.take(judged(JUDGE, GOOD), 2.0, complete=True)
    assert by_evidence.outlook() == by_judgement.outlook()
    assert by_evidence.curves() == by_judgement.curves()


def test_a_limit_far_beyond_all_values_has_a_short_curve() -> None:
    judge = DecideConfig(max_speakers=10**9, max_instances=10**9).judge(model())
    clips: list[dict[str, float | None]] = [
        {check.name: count for check in CHECKS} for count in (0.0, 1.0, 9.0)
    ]
    curves = {curve.name: curve for curve in taken(judge, clips).curves()}
    for name in ("max_speakers", "max_instances"):
        assert len(curves[name].xs) <= 100
        assert curves[name].xs[-1] >= curves[name].limit == 10**9


def test_a_measure_is_on_one_scale_whatever_its_value() -> None:
    scales = set()
    for value in (-200.0, -50.0, 0.0, None, 3.0):
        found = JUDGE.judge({check.name: value for check in CHECKS}, {}).findings
        shown = [measure(finding) for finding in found]
        assert len(shown) == len(LIMITS)
        scales.add(tuple((m.low, m.high) for m in shown))
        for m in shown:
            assert m.low < m.high
            assert 0 <= share(m, m.limit) <= 100
            assert m.value is None or 0 <= share(m, m.value) <= 100
    assert len(scales) == 1


def test_an_outline_encloses_its_mask() -> None:
    mask_HW = np.zeros((40, 60), bool)
    mask_HW[10:30, 20:50] = True
    mask_HW[15:20, 30:40] = False
    path = outline(mask_HW, 60, 40)
    assert path.count("M") == path.count("Z") == 2
    assert outline(np.zeros((40, 60), bool), 60, 40) == ""


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 1, 4, [0, 0.25, 0.5, 0.75, 1]),
        (0, 7, 3, [0, 2.5, 5, 7.5]),
        (0, 0, 3, [0, 1]),
        (-90, 0, 3, [-100, -50, 0]),
    ],
)
def test_ticks_are_round(low: float, high: float, count: int, expected: list[float]) -> None:
    assert ticks(low, high, count) == expected


def test_texts() -> None:
    assert format_count(1234567) == "1,234,567"
    assert [format_amount(v) for v in (0, 0.034, 3.14159, 31.4159, 3141.59, -2.5)] == [
        "0",
        "0.03",
        "3.14",
        "31.4",
        "3,142",
        "−2.50",
    ]
    assert format_hours(0.5, unit="min") == "30.0 min"
    assert [format_signed(v) for v in (0.618, -1.2, 0.001, -0.001)] == [
        "+0.62",
        "−1.20",
        "0.00",
        "0.00",
    ]
    assert [format_chance(v) for v in (0.0, 0.834, 1.0)] == ["0.01", "0.83", "0.99"]
    assert format_bytes(999) == "999 B"
    assert format_bytes(1_240_000_000) == "1.24 GB"
    assert format_percent(1, 3) == "33 %"
    assert format_percent(1, 10_000) == "< 0.1 %"
    assert format_percent(0, 0) == "–"
    assert format_clock(3723.45) == "1:02:03.4"
    assert format_clock(59.96) == "1:00.0"
    assert [format_duration(v) for v in (0.5, 59.99, 61, 7322)] == [
        "0.50 s",
        "60.0 s",
        "1 min 1 s",
        "2 h 2 min",
    ]
