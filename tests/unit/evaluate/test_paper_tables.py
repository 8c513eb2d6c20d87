"""The tables of papers: their numbers are the papers', and their rows can be made here."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from avipipe.cli import cli
from avipipe.editor.edit.methods import find_method, load_config
from avipipe.errors import ConfigError
from avipipe.evaluate.benchmarks import BENCHMARKS
from avipipe.evaluate.cases import Case
from avipipe.evaluate.catalogue import LISTED
from avipipe.evaluate.conclude import Conclusion
from avipipe.evaluate.paper_tables import TABLES, PaperTable, load_table
from avipipe.evaluate.paper_tables.filled import RowOutcome, filled, markdown
from avipipe.evaluate.tables import ClipScore, EvaluateRun, SetScore


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> PaperTable:
    return load_table(request.param)


def test_all_metrics_are_bound() -> None:
    asked = {column.metric for name in TABLES for column in load_table(name).columns}
    assert not asked - {None} - LISTED.keys()


def test_what_is_better_goes_by_the_paper(table: PaperTable) -> None:
    for column in table.columns:
        known = LISTED.get(column.metric or "")
        assert known is None or known.sense in (column.sense, "none"), column.label
        assert column.note or column.unmeasured, column.label


def test_every_row_is_an_edit_that_can_be_asked_for(table: PaperTable) -> None:
    made = [row for row in table.rows if row.is_run]
    assert table.method in {row.method for row in made}
    ways = set()
    for row in made:
        config = load_config(None, [f"method={row.method}", *row.overrides])
        method = find_method(config.method)
        assert row.film == "edited.mp4" or method.native_fps
        assert (row.method != table.method) or method.mask_tells == table.mask_tells
        assert not config.output.composite, "else the source's pixels would be measured"
        ways.add((row.mask, row.audio, row.precision, json.dumps(config.decisive())))
    assert len(ways) == len(made), "two rows are the same edits"


def test_help_and_docs_name_it(table: PaperTable) -> None:
    help_text = " ".join(CliRunner().invoke(cli, ["eval", "run", "--help"]).output.split())
    assert table.name in help_text.replace("- ", "-")
    docs = (Path(__file__).parents[3] / "docs" / "eval.md").read_text(encoding="utf-8")
    (line,) = (line for line in docs.splitlines() if line.startswith(f"| `{table.name}` |"))
    assert all(f"`{benchmark}`" in line for benchmark in table.benchmarks)


def test_benchmarks_are_known(table: PaperTable) -> None:
    assert {benchmark.loader for benchmark in table.benchmarks.values()} <= BENCHMARKS.keys()


@pytest.mark.parametrize(
    ("name", "benchmark", "row", "label", "number"),
    [
        ("avi-edit-main", "aviset", "avi-edit", "FVD", 312.89),
        ("avi-edit-main", "aviset", "ovi", "Sync-D", 9.12),
        ("avi-edit-main", "aved-bench", "aved", "AC %", 20.45),
        ("avi-edit-main", "aved-bench", "avi-edit", "Sync-C", None),
        ("avi-edit-ablation", "aviset", "no-mask-refiner", "FVD", 372.44),
        ("avi-edit-ablation", "aviset", "no-audio-agent", "Sync-C", 3.83),
        ("aved-main", "aved-bench", "aved", "AV-Align", 0.42),
        ("aved-ablation", "aved-bench", "random-patches", "DINO", 0.902),
        ("audioscenic-main", "davis-audioset", "video-p2p", "Sem-A", 0.525),
        ("audioscenic-ablation", "waterfall", "no-frequency-fuser", "SSIM", 0.9467),
        ("flowanchor-main", "five-bench", "flowanchor", "L.DINO", 0.8193),
        ("flowanchor-main", "anchor-bench", "wan-edit-mask", "M.PSNR", 26.63),
        ("flowanchor-masks", "anchor-bench", "box", "L.CLIP-T", 21.31),
        ("flowanchor-ablation", "anchor-bench", "tau-0.4", "Warp-Err", 1.487),
        ("flowanchor-cost", "anchor-bench", "flowanchor", "time (s)", None),
    ],
)
def test_numbers_are_the_papers(
    name: str, benchmark: str, row: str, label: str, number: float | None
) -> None:
    table = load_table(name)
    labels = [column.label for column in table.columns]
    assert table.published(benchmark)[row][labels.index(label)] == number


def test_names_that_are_wrong_are_told_the_right_ones() -> None:
    table = load_table("flowanchor-main")
    for wrong, says in (
        (lambda: load_table("flowanchor"), "flowanchor-ablation"),
        (lambda: table.chosen_benchmark("davis17"), "five-bench, anchor-bench"),
        (lambda: table.chosen_rows(("ours",)), "wan-edit-mask"),
    ):
        with pytest.raises(ConfigError, match=says):
            wrong()


def concluded(*sets: SetScore, clips: tuple[ClipScore, ...] = ()) -> Conclusion:
    cases = [
        Case(name="a", method=method, making_s=seconds, source=Path("a.mp4"))
        for method, seconds in (("flowanchor", 2.0), ("wan-edit", None), ("control: copy", None))
    ]
    return Conclusion(EvaluateRun(Path("out"), {}, cases, clips), sets, (), ())


def score(method: str, metric: str, mean: float | None, **more: Any) -> SetScore:
    told = {"low": None, "high": None, "num_ok": 3, "num_total": 4, "num_groups": 3, **more}
    return SetScore(method, "", metric, "", "complete", mean, **told)


def test_ours_stand_beside_the_papers_in_its_unit() -> None:
    table = load_table("flowanchor-main")
    rows = {row.name: row for row in table.rows}
    outcomes = [
        RowOutcome(rows["tokenflow"], "published only"),
        RowOutcome(rows["wan-edit"], "run", failed={"a": "too dark", "b": "too dark"}),
        RowOutcome(rows["flowanchor"], "run"),
    ]
    clip = ClipScore("a", "wan-edit", "", "a", "", 0, "fc.l14", "skipped", None, "no eyes", "", 0)
    conclusion = concluded(
        score("flowanchor", "fc.l14", 96.5, low=96.0, high=97.0),
        score("wan-edit", "fc.l14", None, num_ok=0),
        clips=(clip,),
    )
    found = filled(table, "five-bench", outcomes, conclusion)
    place = [column.label for column in table.columns].index("CLIP-F")
    theirs, none, ours = (row.cells[place] for row in found.rows)
    assert (theirs.published, theirs.ours) == (0.963, None)
    assert (none.ours, none.reason) == (None, "no eyes")
    assert (ours.ours, ours.low, ours.high) == pytest.approx((0.965, 0.96, 0.97))
    assert ours.lines(4) == ["0.9650", "[0.9600, 0.9700]", "3 of 4", "paper 0.9703"]
    page = markdown(found, {"Missing files": ["a|b.mp4\nc"], "Nothing": []})
    assert "| 0.9650<br>[0.9600, 0.9700]<br>3 of 4<br>paper 0.9703 |" in page
    assert "- Wan-Edit: 2 of its edits failed: too dark" in page
    assert "CLIP-T: nothing was measured" in page
    assert "- a|b.mp4; c\n" in page
    assert "Nothing" not in page


def test_what_an_edit_costs_is_of_those_that_were_made() -> None:
    table = load_table("flowanchor-cost")
    row = next(row for row in table.rows if row.name == "flowanchor")
    outcome = RowOutcome(row, "run", memory_bytes=3 * 2**30)
    found = filled(table, "anchor-bench", [outcome], concluded())
    time_s, memory_gib = found.rows[0].cells
    assert (time_s.ours, time_s.num_ok, memory_gib.ours) == (2.0, 1, 3.0)
    assert len(found.rows) == 1, "a copy costs nothing, and has no row"


def test_without_a_run_the_published_numbers_stay() -> None:
    table = load_table("avi-edit-main")
    outcomes = [RowOutcome(row, "missing", "weights") for row in table.rows]
    found = filled(table, "aved-bench", outcomes, None)
    assert [row.cells[0].published for row in found.rows] == [413.82, None, None, 349.31]
    assert found.rows[0].cells[0].reason == "weights"
    assert "people are asked" in found.unmeasured["overall preference %"]


def test_a_table_with_too_few_numbers_is_refused() -> None:
    told = load_table("flowanchor-masks").model_dump()
    told["rows"][0]["published"]["anchor-bench"] = (1.0,)
    with pytest.raises(ValidationError, match="expected 6 numbers"):
        PaperTable.model_validate(told)
