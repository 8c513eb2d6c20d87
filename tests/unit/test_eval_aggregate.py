"""Means, intervals and tests of methods, on scores that are known."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from avipipe.evaluate.aggregate import PairTest, Scores, letters, pair_tests, set_scores
from avipipe.evaluate.tables import ClipScore, SetScore


def rows(method: str, values: Mapping[str, float | None], control: str = "") -> list[ClipScore]:
    return [
        ClipScore(
            name=name,
            method=method,
            control=control,
            group=name.split("-")[0],
            label=name[-1],
            seed=None,
            metric="m.x",
            status="undefined" if value is None else "ok",
            value=value,
            reason="",
            notes="",
            seconds=0.0,
        )
        for name, value in values.items()
    ]


def of_all(found: list[SetScore]) -> list[SetScore]:
    """Without slices."""
    return [row for row in found if not row.is_slice]


def names(num_groups: int, each: int = 2) -> list[str]:
    return [f"g{group}-{n}" for group in range(num_groups) for n in range(each)]


def test_failures_do_not_help_the_method_that_has_them() -> None:
    """`b` has no number for the hardest case: its mean over what it has is not compared."""
    a = rows("a", {"g0-0": 0.1, "g1-0": 0.9, "g2-0": 0.9})
    b = rows("b", {"g0-0": None, "g1-0": 0.8, "g2-0": 0.8})
    found = {(row.method, row.support): row for row in of_all(set_scores(Scores(a + b), seed=0))}
    assert found["a", "complete"].mean == pytest.approx(1.9 / 3)
    assert found["a", "common"].mean == pytest.approx(0.9)
    assert found["b", "complete"].mean == found["b", "common"].mean == pytest.approx(0.8)
    assert (found["b", "complete"].num_ok, found["b", "complete"].num_total) == (2, 3)


def test_controls_are_measured_on_the_cases_of_the_methods_and_never_narrow_them() -> None:
    clips = rows("a", {"g0-0": 1.0, "g1-0": 2.0}) + rows("copy", {"g0-0": 3.0}, control="copy")
    scores = Scores(clips)
    assert scores.common("m.x") == {"g0-0", "g1-0"}
    *_, copy = of_all(set_scores(scores, seed=0))
    assert (copy.mean, copy.num_ok, copy.control) == (3.0, 1, "copy")


def test_an_interval_is_drawn_by_source_video() -> None:
    rng = np.random.default_rng(0)
    heights = rng.standard_normal(8)
    values = {name: heights[int(name[1])] for name in names(8, each=9)}
    *_, row = of_all(set_scores(Scores(rows("a", values)), seed=0))
    assert row.num_groups == 8
    assert row.low is not None
    assert row.high is not None
    error = heights.std(ddof=1) / np.sqrt(8)
    assert (row.high - row.low) / (2 * 1.96 * error) == pytest.approx(1.0, abs=0.25)


def test_one_source_video_has_a_mean_and_no_interval() -> None:
    (row, *_) = set_scores(Scores(rows("a", {"g0-0": 1.0, "g0-1": 3.0})), seed=0)
    assert (row.mean, row.low, row.high) == (2.0, None, None)
    assert "one source video" in row.reason


def test_nothing_measured_has_no_mean() -> None:
    (row, *_) = set_scores(Scores(rows("a", {"g0-0": None})), seed=0)
    assert (row.mean, row.num_ok, row.num_total) == (None, 0, 1)


def test_classes_are_sliced() -> None:
    found = set_scores(Scores(rows("a", {"g0-x": 1.0, "g1-x": 3.0, "g2-y": 5.0})), seed=0)
    assert {row.label: (row.mean, row.num_ok) for row in found if row.label} == {
        "x": (2.0, 2),
        "y": (5.0, 1),
    }


def test_kinds_of_edits_are_sliced_beside_classes() -> None:
    clips = rows("a", {"g0-x": 1.0, "g1-x": 3.0, "g2-y": 5.0})
    kinds = ("delete", "sound", "sound")
    clips = [replace(clip, kind=kind) for clip, kind in zip(clips, kinds, strict=True)]
    found = set_scores(Scores(clips), seed=0)
    own = {row.kind: (row.label, row.mean, row.num_ok, row.num_total) for row in found if row.kind}
    assert own == {"delete": ("", 1.0, 1, 1), "sound": ("", 4.0, 2, 2)}
    assert [row.mean for row in of_all(found)] == [3.0, 3.0]


def test_the_order_of_rows_changes_nothing() -> None:
    clips = rows("a", dict.fromkeys(names(6), 1.0)) + rows(
        "b", {n: float(len(n) + int(n[1])) for n in names(6)}
    )
    one, other = Scores(clips), Scores(clips[::-1])
    assert sorted(map(repr, set_scores(one, seed=3))) == sorted(
        map(repr, set_scores(other, seed=3))
    )
    assert pair_tests(one, ["m.x"], seed=3) == pair_tests(other, ["m.x"], seed=3)


def test_a_steady_difference_is_found_and_chance_is_not() -> None:
    rng = np.random.default_rng(1)
    base = {name: float(rng.standard_normal()) for name in names(12)}
    better = {
        name: value + 0.5 + 0.1 * float(rng.standard_normal()) for name, value in base.items()
    }
    like = {name: value + 0.5 * float(rng.standard_normal()) for name, value in base.items()}
    scores = Scores(rows("base", base) + rows("better", better) + rows("like", like))
    found = {(test.method, test.other): test for test in pair_tests(scores, ["m.x"], seed=0)}
    assert found["base", "better"].differs
    assert found["base", "better"].difference == pytest.approx(-0.5, abs=0.1)
    assert not found["base", "like"].differs
    assert all(test.p_holm >= test.p_value for test in found.values())


def pair(one: str, other: str, p_holm: float) -> PairTest:
    return PairTest("m.x", one, other, 0.0, p_holm, p_holm, 9, 9)


def test_methods_that_do_not_differ_share_a_letter() -> None:
    means = {"a": 3.0, "b": 2.0, "c": 1.0}
    tests = [pair("a", "b", 0.5), pair("b", "c", 0.5), pair("a", "c", 0.01)]
    assert letters(means, tests, "higher") == {"a": "a", "b": "ab", "c": "b"}
    assert letters(means, tests, "lower") == {"c": "a", "b": "ab", "a": "b"}
    assert set(letters(means, [], "higher").values()) == {"a"}
    apart = [pair(*names, 0.001) for names in (("a", "b"), ("b", "c"), ("a", "c"))]
    assert letters(means, apart, "higher") == {"a": "a", "b": "b", "c": "c"}
