"""The numbers of the report: what-if curves, scales, texts."""

import random

import numpy as np
import pytest

from avipipe.pipeline.report.charts import share, ticks
from avipipe.pipeline.report.measures import WhatIf, measure
from avipipe.pipeline.report.model import Curve
from avipipe.pipeline.report.pictures import outline
from avipipe.pipeline.report.render import (
    format_amount,
    format_bytes,
    format_clock,
    format_count,
    format_duration,
    format_hours,
    format_percent,
)
from avipipe.stages.decide import CHECKS, DecideConfig, judge, verdict

STAGES = ("listen", "look", "mask")


def values(dice: random.Random) -> dict[str, float | None]:
    """Measures of a clip that came as far as its evidence let it, like in a build."""
    config = DecideConfig()
    gathered: dict[str, float | None] = {}
    for stage in STAGES:
        for check in CHECKS:
            if check.stage == stage:
                limit = float(getattr(config, check.threshold))
                near = [limit, limit * 0.9, limit * 1.1, limit + 1, limit * dice.random()]
                gathered[check.threshold] = dice.choice([None, *near, *near[:1] * 5])
        if verdict(judge(gathered, config)) is not None:
            break
    return gathered


def recount(curve: Curve, clips: list[dict[str, float | None]], limit: float) -> tuple[int, int]:
    """Settled and open clips, by deciding each of them anew."""
    field = DecideConfig.model_fields[curve.threshold]
    value = int(limit) if field.annotation is int else limit
    config = DecideConfig().model_copy(update={curve.threshold: value})
    known = [clip for clip in clips if curve.threshold in clip]
    kept = [clip for clip in known if verdict(judge(clip, config)) is None]
    settled = sum(len(clip) == len(CHECKS) for clip in kept)
    return settled, len(kept) - settled


def test_a_curve_is_what_deciding_anew_would_give() -> None:
    dice = random.Random(7)
    clips = [values(dice) for _ in range(600)]
    what_if = WhatIf(DecideConfig())
    for clip in clips:
        what_if.add(clip, 0.5)
    curves = what_if.curves()
    assert {curve.stage for curve in curves} == set(STAGES)
    assert any(sum(curve.settled) for curve in curves)
    assert any(sum(curve.open) for curve in curves)
    for curve in curves:
        assert curve.limit in curve.xs
        assert curve.num_known == sum(curve.threshold in clip for clip in clips)
        for n in range(0, len(curve.xs), 7):
            expected = recount(curve, clips, curve.xs[n])
            assert (curve.settled[n], curve.open[n]) == expected, (curve.threshold, curve.xs[n])
            hours = (curve.settled_hours[n], curve.open_hours[n])
            assert hours == pytest.approx([0.5 * count for count in expected])


def test_thresholds_that_nothing_is_known_about_have_no_curve() -> None:
    what_if = WhatIf(DecideConfig())
    assert what_if.curves() == ()
    what_if.add({}, 1.0)
    assert what_if.curves() == ()


def test_a_check_that_is_turned_off_has_a_short_curve() -> None:
    what_if = WhatIf(DecideConfig(max_speakers=10**9, max_instances=10**9))
    for clip in ({check.threshold: count for check in CHECKS} for count in (0.0, 1.0, 9.0)):
        what_if.add(clip, 1.0)
    curves = {curve.threshold: curve for curve in what_if.curves()}
    for name in ("max_speakers", "max_instances"):
        assert len(curves[name].xs) <= 100
        assert curves[name].xs[-1] >= curves[name].limit == 10**9


def test_a_measure_is_on_one_scale_whatever_its_value() -> None:
    scales = set()
    for value in (-200.0, -50.0, 0.0, None, 3.0):
        found = judge({check.threshold: value for check in CHECKS}, DecideConfig())
        shown = [measure(finding) for finding in found]
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
