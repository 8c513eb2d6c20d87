"""The spread of offsets of lips and voice, from scores to the page."""

from pathlib import Path

import pytest

from avipipe.evaluate.cases import Case
from avipipe.evaluate.conclude import conclude, metric_facts
from avipipe.evaluate.report.offsets import OFFSET_METRIC, offset_lines
from avipipe.evaluate.report.render import REPORT_NAME, write_report
from avipipe.evaluate.tables import ClipScore


def clip(name: str, method: str, offset_frames: int | None) -> ClipScore:
    return ClipScore(
        name=name,
        method=method,
        control="",
        group=name,
        label="",
        seed=None,
        metric=OFFSET_METRIC,
        status="undefined" if offset_frames is None else "ok",
        value=None if offset_frames is None else offset_frames / 25,
        reason="" if offset_frames is not None else "no face was followed for 2 s",
        notes="",
        seconds=0.0,
    )


CLIPS = [
    *(clip(f"{n}", "ours", offset) for n, offset in enumerate((-15, 0, 0, 3, None))),
    clip("0", "theirs", None),
]


def test_cases_are_counted_by_their_offset_in_pictures() -> None:
    (line,) = offset_lines(CLIPS, ["ours", "theirs"])
    assert (line.method, line.num) == ("ours", 4)
    assert [bar for bar in line.bars if bar[1]] == [(-15, 1, 0.5), (0, 2, 1.0), (3, 1, 0.5)]
    assert [step for step, _, _ in line.bars] == list(range(-15, 16))


@pytest.mark.parametrize("offset_frames", [7, -7])
def test_the_page_draws_them(offset_frames: int, tmp_path: Path) -> None:
    cases = [Case(name="0", method="ours", group="0", problem="a test")]
    facts = {OFFSET_METRIC: metric_facts(OFFSET_METRIC)}
    clips = [clip("0", "ours", offset_frames)]
    write_report(conclude(tmp_path, cases, clips, metrics=facts, seed=0), tmp_path / "work")
    page = (tmp_path / REPORT_NAME).read_text(encoding="utf-8")
    assert f"<title>{offset_frames} pictures: 1</title>" in page
    assert f'x="{offset_frames + 15.1}"' in page
    assert page.count("<rect") == 1
