"""`avipipe eval` from the command line: a run, its report, shards, two runs."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from avipipe.cli import cli
from avipipe.errors import ConfigError
from avipipe.evaluate.datasets import unpacked
from avipipe.evaluate.report.accounts import accounts_of
from avipipe.evaluate.tables import read_run
from tests.browser import browse, in_browser
from tests.integration import lavfi
from tests.integration.editor_shards import Scene, publish_scenes

METRICS = ("--metric", "ssim", "--metric", "warp", "--metric", "loudness", "--metric", "leakage")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["eval", *words], catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources, and edits of two methods; one of an edit is missing."""
    root = tmp_path_factory.mktemp("eval")
    for name in ("source", "good", "bad"):
        (root / name).mkdir()
    for number in range(3):
        graph = f"testsrc2=s=64x48:r=24:d=1:alpha=255,hue=h={90 * number}"
        sound = lavfi.sound(duration_s=1.0)
        for name, extra in (("source", ""), ("good", ",eq=brightness=0.02"), ("bad", ",gblur=3")):
            if (name, number) != ("bad", 2):
                lavfi.write(root / name / f"{number}.mp4", video=graph + extra, audio=sound)
    return root


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    out = folder / "out"
    assert invoke(*asked(folder), "--out", str(out), *METRICS).exit_code == 0
    return out


def asked(folder: Path) -> list[str]:
    edits = [f"--edit={name}={folder / name}" for name in ("good", "bad")]
    return ["run", f"--source={folder / 'source'}", *edits, "--workers=1"]


def test_a_run_leaves_a_row_for_everything(run: Path) -> None:
    clips = pq.read_table(run / "clips.parquet").to_pylist()
    assert len(clips) == 3 * (2 + 4) * 7
    status = {(c["method"], c["name"], c["metric"]): c["status"] for c in clips}
    assert status["good", "0", "ssim.full"] == "ok"
    assert status["bad", "2", "ssim.full"] == "failed"
    assert status["good", "0", "leakage.mean"] == "skipped"
    assert all((c["value"] is None) == (c["status"] != "ok") for c in clips)


def test_sets_compare_on_the_cases_that_all_methods_have(run: Path) -> None:
    rows = pq.read_table(run / "sets.parquet").to_pylist()
    found = {(row["method"], row["support"]): row for row in rows if row["metric"] == "ssim.full"}
    assert found["good", "complete"]["num_ok"] == 3
    assert found["good", "common"]["num_ok"] == found["bad", "common"]["num_ok"] == 2
    assert found["bad", "common"]["mean"] < found["good", "common"]["mean"]
    assert found["control: copy", "common"]["mean"] == pytest.approx(1.0)


def test_a_second_run_is_the_same_and_measures_nothing(folder: Path, run: Path) -> None:
    stores = sorted((run / "work" / "scores").rglob("*.json"))
    before = [path.stat().st_mtime_ns for path in stores]
    tables = [(run / name).read_bytes() for name in ("clips.parquet", "sets.parquet", "run.json")]
    again = invoke(*asked(folder), "--out", str(run), *METRICS)
    assert again.exit_code == 0
    assert [path.stat().st_mtime_ns for path in stores] == before
    names = ("clips.parquet", "sets.parquet", "run.json")
    assert [(run / name).read_bytes() for name in names] == tables


def test_merged_shards_are_the_run(folder: Path, run: Path) -> None:
    parts = [folder / f"part-{index}" for index in (1, 2)]
    for index, part in enumerate(parts, start=1):
        words = [*asked(folder), "--out", str(part), "--shard", f"{index}/2", *METRICS]
        assert invoke(*words, "--work", str(run / "work")).exit_code == 0
    merged = folder / "merged"
    assert invoke("merge", *map(str, parts[::-1]), "--out", str(merged)).exit_code == 0
    for name in ("clips.parquet", "sets.parquet"):
        assert (merged / name).read_bytes() == (run / name).read_bytes()
    for some in ([parts[0]], [parts[0], parts[0]]):
        with pytest.raises(ConfigError, match="expected each of 2 shards once"):
            invoke("merge", *map(str, some), "--out", str(folder / "none"))


def test_a_run_does_not_differ_from_itself(run: Path) -> None:
    changes = json.loads(invoke("diff", str(run), str(run), "--json").output)
    compared = [change for change in changes if change["difference"] is not None]
    assert compared
    assert {change["difference"] for change in compared} == {0.0}
    odd = run.with_name("[red]\x1b[2J")  # a name is told as it is, and obeyed by no terminal
    odd.symlink_to(run, target_is_directory=True)
    told = invoke("diff", str(odd), str(run)).output
    assert "ssim.full" in told
    assert "[red]\\x1b[2J -> out" in told


def test_a_dry_run_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    words = [*asked(folder), "--out", str(tmp_path / "out"), "--dry-run"]
    plan = json.loads(invoke(*words, "--json").output)
    assert plan["problems"] == [{"method": "bad", "name": "2", "problem": "bad has no edit of it"}]
    assert "ssim.full" in plan["metrics"]
    assert "bad has no edit of it" in invoke(*words).output
    assert not (tmp_path / "out").exists()


def test_every_metric_is_listed() -> None:
    listed = json.loads(invoke("metrics", "--json").output)
    assert listed["avalign.v2"]["weights"] == []
    assert "avalign.v2" in invoke("metrics").output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--out=o"], "--edit METHOD=FOLDER"),
        (["run", "--out=o", "--edit=ours"], "METHOD=FOLDER, such as"),
        (["run", "--out=o", "--edit=a=x", "--edit=a=y"], "another METHOD"),
        (["run", "--out=o", "--cases=c", "--source=s"], "got both"),
        (["run", "--out=o", "--cases=c", "--shard=3/2"], "1 <= I <= N"),
        (["run", "--out=o", "--cases=c", "--metric=fvd.best"], "no metric 'fvd.best'"),
        (["diff", "nowhere", "nowhere"], "avipipe eval run --out"),
    ],
)
def test_what_is_asked_wrongly_is_told(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        invoke(*words)


def test_the_tables_come_back(run: Path) -> None:
    found = read_run(run)
    values = [clip.value for clip in found.clips if clip.value is not None]
    assert np.isfinite(values).all()
    assert len(found.cases) == 3 * 6


def test_the_report_accounts_for_every_score(run: Path) -> None:
    found = read_run(run)
    measured = {clip.metric for clip in found.clips if clip.status == "ok"}
    accounts = accounts_of(found, measured)
    problems = {(method, name) for method, name, _ in accounts.problems}
    rest = [clip for clip in found.clips if (clip.method, clip.name) not in problems]
    empty = {name for _, names in accounts.empty for name in names}
    num_empty = sum(clip.metric in empty for clip in rest)
    num_ok = sum(clip.status == "ok" for clip in rest)
    assert num_ok + num_empty + sum(each.num for each in accounts.missing) == len(rest)
    assert problems == {("bad", "2")}
    assert dict(accounts.empty) == {
        "the case has no mask": ("leakage.mean", "ssim.map", "ssim.zerofill")
    }


def test_clips_of_a_dataset_are_sources_with_their_masks(tmp_path: Path) -> None:
    scenes = [Scene(), Scene("strike")]
    dataset = publish_scenes(tmp_path / "set", scenes, folder=tmp_path / "made")
    out, edits = tmp_path / "out", tmp_path / "edits"
    names = sorted(unpacked(dataset, tmp_path / "all"))
    edits.mkdir()
    for name in names:
        (edits / f"{name}.mp4").write_bytes((tmp_path / "all" / f"{name}.mp4").read_bytes())
    words = ["run", f"--source={dataset}", f"--edit=same={edits}", f"--out={out}", "--workers=1"]
    assert invoke(*words, "--metric=leakage.mean").exit_code == 0
    run = read_run(out)
    own = [case for case in run.cases if not case.control]
    assert [case.name for case in own] == names
    assert all(case.source_prompt and case.mask and case.group != str(case.source) for case in own)
    values = {clip.value for clip in run.clips if clip.method in ("same", "control: copy")}
    assert values == {0.0}


@in_browser
def test_the_report_shows_all_and_loads_nothing(run: Path, tmp_path: Path) -> None:
    page = browse((run / "report.html").read_text(encoding="utf-8"), tmp_path)
    assert page.console == []
    assert page.requests == []
    for words in ("ssim.full", "control: shifted", "bad has no edit of it", "not told apart"):
        assert words in page.text
    assert page.dom.count("<video") == 2 * 5
