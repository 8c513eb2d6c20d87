"""Curves of an editor's masks over the precision factor, from scores to run and page."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from avipipe.evaluate.cases import Case
from avipipe.evaluate.conclude import conclude, metric_facts
from avipipe.evaluate.mask_curves import F_METRIC, J_METRIC, editor_curves
from avipipe.evaluate.report.render import REPORT_NAME, write_report
from avipipe.evaluate.tables import ClipScore
from tests.browser import text_of


def edit(
    method: str, source: str, precision: int | None, j: float, f: float
) -> tuple[Case, list[ClipScore]]:
    case = Case(
        name=f"{source}-{precision}",
        method=method,
        source=Path(source),
        target_prompt="A cat.",
        group=source,
        precision=precision,
        problem="a test",
    )
    scores = [
        ClipScore(
            name=case.name,
            method=method,
            control="",
            group=source,
            label="",
            seed=None,
            metric=metric,
            status="ok",
            value=value,
            reason="",
            notes="",
            seconds=0.0,
        )
        for metric, value in ((J_METRIC, j), (F_METRIC, f))
    ]
    return case, scores


EDITS = [
    edit("ours@0", "dog", 0, 1.0, 0.8),
    edit("ours@4", "dog", 4, 0.6, 0.4),
    edit("ours@2", "dog", 2, 0.9, 0.7),
    *(edit("ours", "cow", p, j, j) for p, j in ((0, 0.8), (2, 0.7), (4, 0.2))),
    edit("ours@4", "owl", 4, 1.0, 1.0),  # made at one factor alone: it would lift that
    edit("theirs", "dog", 0, 0.5, 0.5),
    edit("none", "dog", None, 0.5, 0.5),
]
CASES = [case for case, _ in EDITS]
CLIPS = [clip for _, clips in EDITS for clip in clips]


def test_a_curve_is_of_edits_that_are_there_at_every_factor() -> None:
    (found,) = editor_curves(CASES, CLIPS)
    assert (found.editor, found.num, found.num_total) == ("ours", 2, 3)
    assert found.curve.precision_P.tolist() == [0, 2, 4]
    assert found.curve.j_P.tolist() == pytest.approx([0.9, 0.8, 0.4])
    assert found.curve.f_P.tolist() == pytest.approx([0.8, 0.7, 0.3])
    assert found.curve.mean_jf == pytest.approx((0.85 + 2 * 0.75 + 0.35) / 4)


def test_other_prompts_are_other_edits() -> None:
    other = CASES[0].model_copy(update={"target_prompt": "A bird."})
    assert editor_curves([other, *CASES[1:2]], CLIPS) == []


def test_edits_of_one_factor_count_as_their_mean() -> None:
    again = edit("ours@0", "dog", 0, 0.0, 0.0)
    seeds = again[0].model_copy(update={"name": "dog-0-again"})
    clips = [clip for clip in CLIPS if clip.method.startswith("ours@")]
    clips += [replace(clip, name="dog-0-again") for clip in again[1]]
    (found,) = editor_curves([seeds, *CASES[:3]], clips)
    assert found.curve.j_P.tolist() == pytest.approx([0.5, 0.9, 0.6])


def test_run_and_page_have_it(tmp_path: Path) -> None:
    facts = {name: metric_facts(name) for name in (J_METRIC, F_METRIC)}
    write_report(conclude(tmp_path, CASES, CLIPS, metrics=facts, seed=0), tmp_path / "work")
    (told,) = json.loads((tmp_path / "run.json").read_text())["mask_curves"]
    assert (told["editor"], told["precision"]) == ("ours", [0, 2, 4])
    text = text_of((tmp_path / REPORT_NAME).read_text(encoding="utf-8"))
    assert "editor p = 0 p = 2 p = 4 mean height edits ours 0.850 0.750 0.350 0.675 2 of 3" in text
