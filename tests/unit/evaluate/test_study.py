"""A study with people: its plan is balanced, and its report knows what answers were made of."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.cases import Case
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.agreement import krippendorff_alpha
from avipipe.evaluate.statistics.bradley_terry import bradley_terry, bradley_terry_interval
from avipipe.evaluate.statistics.proportions import crossed_share
from avipipe.evaluate.study.answers import StudyAnswer, read_answers
from avipipe.evaluate.study.key import KeyTrial, StudyKey, read_key, signed
from avipipe.evaluate.study.plan import COPY, Trial, plan_study
from avipipe.evaluate.study.report import study_report


def cases(num_names: int, methods: str, lacking: Sequence[tuple[int, str]] = ()) -> list[Case]:
    return [
        Case(
            name=f"n{number}",
            method=method,
            source=Path(f"{number}.mp4"),
            edit=Path(f"{method}{number}.mp4"),
            instruction=f"edit {number}",
            group=f"g{number}",
        )
        for number in range(num_names)
        for method in methods
        if (number, method) not in lacking
    ]


def plan(given: list[Case], count: int = 40, checks: int = 0, seed: int = 0) -> list[Trial]:
    return list(
        plan_study(given, num_trials=count, num_checks=checks, seed=seed, is_heard=lambda _: True)
    )


def spread(counts: Counter[Any], keys: Sequence[Any]) -> int:
    found = [counts[key] for key in keys]
    return max(found) - min(found)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("num_names", "methods", "count"),
    [(3, "abc", 6), (4, "abcd", 17), (6, "abcd", 36), (7, "ab", 5), (5, "abcde", 49), (2, "ab", 9)],
)
def test_pairs_cases_and_sides_are_balanced(
    num_names: int, methods: str, count: int, seed: int
) -> None:
    trials = plan(cases(num_names, methods), count, seed=seed)
    pairs = list(combinations(methods, 2))
    assert len(trials) == min(count, len(pairs) * num_names)
    drawn = Counter((t.name, *sorted([t.left.method, t.right.method])) for t in trials)
    assert set(drawn.values()) == {1}
    of_pair = Counter(tuple(sorted([t.left.method, t.right.method])) for t in trials)
    assert spread(of_pair, pairs) <= 1
    assert spread(Counter(t.name for t in trials), [f"n{n}" for n in range(num_names)]) <= 1
    sides = Counter((t.left.method, t.right.method) for t in trials)
    assert all(abs(sides[pair] - sides[pair[::-1]]) <= 1 for pair in pairs)
    assert all(t.left.name == t.right.name == t.source.name == t.name for t in trials)


def test_a_seed_decides_and_the_order_of_cases_does_not() -> None:
    given = cases(5, "abc")
    assert plan(given, 9, 2, seed=3) == plan(given[::-1], 9, 2, seed=3)
    assert plan(given, 9, 2, seed=3) != plan(given, 9, 2, seed=4)


def test_pairs_are_passed_over_where_a_method_lacks_an_edit() -> None:
    trials = plan(cases(3, "abc", lacking=[(1, "a"), (2, "a"), (2, "b")]))
    assert {t.name for t in trials} == {"n0", "n1"}
    assert len(trials) == 3 + 1
    with pytest.raises(ConfigError, match="edits of two methods"):
        plan(cases(3, "a"))


def test_checks_stand_apart_and_have_one_right_answer_on_either_side() -> None:
    trials = plan(cases(8, "ab"), 8, checks=4)
    checks = [t for t in trials if t.is_check]
    assert [place for place, t in enumerate(trials) if t.is_check] == [1, 4, 7, 10]
    assert Counter(t.left.method == COPY for t in checks) == {True: 2, False: 2}
    for check in checks:
        own, other = sorted([check.left, check.right], key=lambda film: film.method)
        assert own.method == COPY
        assert own.sound_of is None
        assert own.video == other.video == check.source.video != other.sound_of
    silent = plan_study(
        cases(4, "ab"), num_trials=4, num_checks=4, seed=0, is_heard=lambda path: path.stem != "1"
    )
    assert 0 < sum(t.is_check for t in silent) < 4
    assert not any(Path("1.mp4") in (t.left.video, t.left.sound_of) for t in silent if t.is_check)


def test_bradley_terry_finds_the_strengths_that_wins_were_made_of() -> None:
    strengths_M = np.array([-1.0, -0.2, 0.3, 0.9])
    odds_MM = 1 / (1 + np.exp(strengths_M[None] - strengths_M[:, None]))
    wins_MM = 1e6 * odds_MM * (1 - np.eye(4))
    wins_MM[0, 3] = wins_MM[3, 0] = 0.0  # never met, but by way of others
    assert bradley_terry(wins_MM[None])[0] == pytest.approx(strengths_M, abs=1e-4)


def test_a_method_that_never_lost_is_strong_and_not_infinite() -> None:
    weak, strong = bradley_terry(np.array([[[0.0, 0.0], [10.0, 0.0]]]))[0]
    assert strong - weak == pytest.approx(np.log(10.5 / 0.5), abs=1e-4)
    apart_MM = np.zeros((4, 4))
    apart_MM[0, 1] = apart_MM[2, 3] = 1.0
    with pytest.raises(Undefined, match="never compared"):
        bradley_terry(apart_MM[None])


def test_intervals_of_strengths_hold_them_and_widen_with_raters_that_differ() -> None:
    rng = np.random.default_rng(0)
    raters_N, clips_N = (a.ravel() for a in np.meshgrid(np.arange(12), np.arange(30)))
    first_N, second_N = np.zeros(360, int), np.ones(360, int)
    calm_N = (rng.random(360) < 0.7).astype(float)
    torn_N = (rng.random(360) < np.where(raters_N < 8, 0.99, 0.12)).astype(float)
    widths = []
    for preferred_N in (calm_N, torn_N):
        strengths_M, low_M, high_M = bradley_terry_interval(
            first_N,
            second_N,
            preferred_N,
            (raters_N, clips_N),
            num_methods=2,
            rng=np.random.default_rng(1),
        )
        assert low_M[0] < np.log(0.7 / 0.3) / 2 < high_M[0]
        assert low_M[0] < strengths_M[0] < high_M[0]
        widths.append(high_M[0] - low_M[0])
    assert widths[1] > 3 * widths[0]


def test_crossed_clusters_add_up() -> None:
    raters_N, clips_N = (a.ravel() for a in np.meshgrid(np.arange(10), np.arange(20)))
    by_rater_N = (raters_N < 6).astype(float)
    crossed = crossed_share(by_rater_N, [raters_N, clips_N])
    alone = crossed_share(by_rater_N, [raters_N])
    assert crossed.effective_num == pytest.approx(alone.effective_num)
    assert crossed.effective_num == pytest.approx(10.0)
    assert (crossed.low, crossed.high) == pytest.approx((alone.low, alone.high))


def test_alpha_is_that_of_krippendorffs_example() -> None:
    rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3"]
    rows += [". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    said = [(unit, v) for row in rows for unit, v in enumerate(row.split()) if v != "."]
    units_N, values_N = (np.array(column) for column in zip(*said, strict=True))
    assert krippendorff_alpha(units_N, values_N) == pytest.approx(0.743, abs=5e-4)
    with pytest.raises(Undefined, match="one and the same"):
        krippendorff_alpha(np.array([0, 0]), np.array(["a", "a"]))
    with pytest.raises(Undefined, match="two people"):
        krippendorff_alpha(np.array([0, 1]), np.array(["a", "b"]))


QUESTIONS = ("synchrony", "overall")


def key_of(num_clips: int = 6) -> StudyKey:
    """Methods x and y on each clip, and a check after every third one."""
    films: dict[str, str] = {}
    trials: dict[str, KeyTrial] = {}
    for n in range(num_clips):
        pair = (COPY, "control: shuffled") if n % 3 == 2 else ("x", "y")
        films |= {f"f{n}0": pair[0], f"f{n}1": pair[1], f"f{n}s": "source"}
        trials[f"t{n}"] = KeyTrial(
            name=f"n{n}",
            group=f"g{n}",
            source=f"f{n}s",
            left=f"f{n}0",
            right=f"f{n}1",
            is_check=n % 3 == 2,
        )
    return StudyKey(
        study="s",
        content="",
        subject="edit",
        seed=0,
        questions=QUESTIONS,
        films=films,
        trials=trials,
    )


def line(rater: str, number: int, choice: str, **changes: Any) -> str:
    """`choice`: 0 or 1 for the key's left or right film, or `same`."""
    film = "same" if choice == "same" else f"f{number}{choice}"
    found = {
        "study": "s",
        "rater": rater,
        "trial": f"t{number}",
        "left": f"f{number}1",
        "right": f"f{number}0",
        "answers": dict.fromkeys(QUESTIONS, film),
        "seconds": 5.0,
        "answered_at": "2026-01-01T00:00:00Z",
    }
    return json.dumps({**found, **changes})


def answered(*lines: str, folder: Path) -> tuple[list[StudyAnswer], Counter[str]]:
    path = folder / "answers.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    found, refused = read_answers([path], key_of())
    return found, Counter(each.reason for each in refused)


def test_lines_that_do_not_count_are_counted_with_their_reason(tmp_path: Path) -> None:
    found, refused = answered(
        line("ada", 0, "0"),
        "",
        line("ada", 0, "0")[:-9],
        "[]",
        line("ada", 1, "0", study="another"),
        line("ada", 1, "0", trial="t99"),
        line("ada", 1, "0", left="f00"),
        line("ada", 1, "0", answers={"overall": "f10"}),
        line("ada", 1, "0", answers=dict.fromkeys(QUESTIONS, "f00")),
        line("ada", 1, "0", seconds=-1),
        folder=tmp_path,
    )
    assert [answer.trial for answer in found] == ["t0"]
    assert sum(refused.values()) == 8
    assert refused["not JSON, or cut short"] == refused["of another study"] == 1
    assert refused["of a comparison that this study has not"] == 2
    assert refused["not one answer to each question"] == 2
    assert any(reason.startswith("no answer: seconds") for reason in refused)
    with pytest.raises(ConfigError, match="exports"):
        read_answers([tmp_path / "none.jsonl"], key_of())


def test_of_several_answers_the_latest_counts(tmp_path: Path) -> None:
    later = {"answered_at": "2026-01-02T00:00:00Z"}
    lines = [line("ada", 0, "1", **later), line("ada", 0, "0"), line("ada", 0, "1", **later)]
    found, refused = answered(*lines, line("bob", 0, "0"), folder=tmp_path)
    assert [answer.answers["overall"] for answer in found] == ["f01", "f00"]
    assert refused == {"answered anew later": 1, "said twice": 1}


def test_a_report_counts_the_attentive_alone_where_asked(tmp_path: Path) -> None:
    good = [line(r, n, "0") for r in ("ada", "bob") for n in range(6)]
    bad = [line("eve", n, "1") for n in range(6)]
    found, _ = answered(*good, *bad, folder=tmp_path)
    everyone = study_report(key_of(), found, [], attentive_only=False, seed=0)
    assert {r.rater: (r.num_passed, r.is_attentive) for r in everyone.raters} == {
        "ada": (2, True),
        "bob": (2, True),
        "eve": (0, False),
    }
    overall = everyone.questions[1]
    assert overall.num == 3 * 4
    first = overall.methods[0]
    assert (first.method, first.num) == ("x", 12)
    assert first.share.share == pytest.approx(2 / 3)
    assert first.share.low < 0.5 < first.share.high
    assert overall.left_share == pytest.approx(1 / 3)
    attentive = study_report(key_of(), found, [], attentive_only=True, seed=0)
    assert attentive.left_out == ("eve",)
    overall = attentive.questions[1]
    assert overall.methods[0].share.share == 1.0
    assert overall.methods[0].share.low < 0.8
    pair = overall.pairs[0]
    assert (pair.first, pair.num_won, pair.num_same, pair.num_lost) == ("x", 8, 0, 0)
    assert overall.alpha is None
    assert "no agreement" in overall.reasons[0]


def test_ties_are_half_wins_and_one_rater_is_told(tmp_path: Path) -> None:
    found, _ = answered(*(line("ada", n, "same") for n in range(6)), folder=tmp_path)
    (question, _) = study_report(key_of(), found, [], attentive_only=False, seed=0).questions
    assert [each.share.share for each in question.methods] == [0.5, 0.5]
    assert [each.strength for each in question.methods] == pytest.approx([0.0, 0.0])
    assert question.left_share is None
    assert "one rater only" in question.reasons[0]
    nobody = study_report(key_of(), [], [], attentive_only=False, seed=0)
    assert nobody.questions[0].reasons == ("nobody answered it",)


def test_a_key_comes_back_or_says_what_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "study.key.json"
    key = signed(key_of())
    path.write_text(key.model_dump_json())
    assert read_key(path) == key
    path.write_text(key.model_dump_json().replace('"x"', '"y"'))
    with pytest.raises(ManifestError, match="was changed"):
        read_key(path)
    path.write_text('{"study": "s"}')
    with pytest.raises(ManifestError, match="not the key of a study"):
        read_key(path)
    with pytest.raises(ConfigError, match="beside its page"):
        read_key(tmp_path / "none.json")
