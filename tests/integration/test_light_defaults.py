"""The profile for real material as it comes: its models, its numbers, no limit set.

On a plain case of either side; how often it is right is measured by `bench/filter.py`.
"""

from pathlib import Path

import pytest

from avipipe.decision.model import shipped
from avipipe.manifests.records import Drop, Keep
from avipipe.pipeline.workspace import Workspace
from tests.integration.builds import assert_adds_up, build, light_runs, status

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
TALKING_HEAD, MUSIC_ONLY = "clip_009.mp4", "clip_001.mp4"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the real clips of ../shared"),
    pytest.mark.skipif(not light_runs(), reason="the weights of `light` are not here"),
]


def test_the_shipped_numbers_tell_a_talking_head_from_laid_over_music(tmp_path: Path) -> None:
    listing = tmp_path / "sources.txt"
    listing.write_text(f"{CLIPS / TALKING_HEAD}\n{CLIPS / MUSIC_ONLY}\n")
    done = build(listing, tmp_path / "out", "--profile", "light", "--executor", "inline")
    assert "cross-validated" in done.err
    assert_adds_up(status(tmp_path / "out"))

    kept: dict[str, bool] = {}
    least = shipped("light").min_probability
    with Workspace.at(str(tmp_path / "out")).survey() as (survey, lines):
        for state in survey.clips(lines):
            assert state.last.record is not None
            name = Path(state.row.source.uri).name
            kept[name] = isinstance(state.last.record.outcome, Keep)
            decisions = [
                visit.record.outcome.evidence
                for visit in state.visits
                if visit.stage.name.startswith("decide_")
                and visit.record is not None
                and isinstance(visit.record.outcome, Keep | Drop)
            ]
            decision = decisions[-1]
            assert decision["min_probability"] == least
            assert (decision["probability"] >= least) is kept[name]
    assert kept == {TALKING_HEAD: True, MUSIC_ONLY: False}
