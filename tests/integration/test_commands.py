"""The commands that look at a dataset, and plain readers of its shards."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from avipipe.manifests.shards import read_shard
from avipipe.pipeline.remeasure import Remeasure
from tests.integration.builds import ROOT, avipipe, build, published, status


@pytest.fixture(scope="module")
def copy(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset, free to be changed."""
    return Path(shutil.copytree(built, tmp_path_factory.mktemp("copy") / "dataset"))


def clip_ids(out: Path) -> list[str]:
    import pyarrow.parquet as pq

    rows = pq.read_table(out / "manifest" / "clips.parquet").to_pylist()
    return [row["clip_id"] for row in rows if row["decision"] == "keep"]


def test_status_speaks_to_people_too(built: Path) -> None:
    output = avipipe("status", "--out", built).out
    assert "in = kept + dropped + failed + pending" in output
    assert "decide_look" in output


def test_plan_of_a_finished_build_has_nothing_to_run(small_clips: Path, built: Path) -> None:
    words: list[str | Path] = [
        "plan",
        "--source",
        small_clips / "sources.txt",
        "--out",
        built,
        "--json",
    ]
    plan = json.loads(avipipe(*words).out)
    assert sum(stage["to_run"] for stage in plan["stages"]) == 0
    assert plan["num_unfetched"] == 0


def test_plan_forecasts_a_build_and_writes_nothing(small_clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words: list[str | Path] = ["plan", "--source", small_clips / "sources.txt", "--out", out]
    plan = json.loads(avipipe(*words, "--json").out)
    assert plan["num_unfetched"] == 5
    assert plan["hours_unfetched"] * 3600 == pytest.approx(5 * 2.25, rel=0.1)
    assert "CPU hours" in avipipe(*words).out
    assert not out.exists()


def test_why_tells_the_story_of_a_clip(built: Path) -> None:
    name = clip_ids(built)[0]
    story = avipipe("why", name, "--out", built).out
    for stage in ("fetch", "listen", "look", "cut", "mask", "pair"):
        assert f"{stage}: kept" in story
    assert "ok   something moves: motion " in story
    assert story.count("(no_instance)") == 1
    assert story.count("probability that it is good 0.") == 3, "one for each decision"
    assert "motion goes with the sound: p 0." in story
    assert "heard as: " in story
    stages = json.loads(avipipe("why", name, "--out", built, "--json").out)[0]["stages"]
    assert stages[-1]["status"] == "keep"


def test_why_of_an_unknown_item_says_what_is_expected(built: Path) -> None:
    done = avipipe("why", "nobody", "--out", built)
    assert done.code == 2
    assert "expected a clip id" in done.err


def test_refilter_shows_flips_and_changes_nothing(copy: Path) -> None:
    before = published(copy)
    words: list[str | Path] = [
        "refilter",
        "--out",
        copy,
        "--set",
        "stages.decide.min_clip_s=60",
        "--json",
    ]
    flips = json.loads(avipipe(*words).out)
    assert {flip["clip_id"] for flip in flips} >= set(clip_ids(copy))
    assert {flip["after"] for flip in flips} == {"too_short"}
    assert published(copy) == before


def test_refilter_applied_retracts_and_takes_back(small_clips: Path, copy: Path) -> None:
    source = small_clips / "sources.txt"
    kept = clip_ids(copy)
    strict = "stages.decide.min_clip_s=60"
    assert avipipe("refilter", "--out", copy, "--set", strict, "--apply").code == 0
    build(source, copy, "--set", strict, "--executor", "inline")
    index = json.loads((copy / "dataset.json").read_text())
    assert sorted(index["retracted"]) == sorted(kept)
    assert status(copy)["listen"]["keep"] == 5, "nothing was recomputed or lost"
    assert avipipe("verify", "--out", copy).code == 0
    usual = "stages.decide.min_clip_s=2"
    assert avipipe("refilter", "--out", copy, "--set", usual, "--apply").code == 0
    build(source, copy, "--set", usual, "--executor", "inline")
    assert json.loads((copy / "dataset.json").read_text())["retracted"] == []
    assert clip_ids(copy) == kept


def decision_file(folder: Path, *, min_probability: float) -> Path:
    """Numbers that like clips by their loudness."""
    knots = [[-60.0, -1.0], [-10.0, 1.0]]
    numbers = {
        "version": 1,
        "name": "mine",
        "intercept": 0.0,
        "min_probability": min_probability,
        "backends": {},
        "terms": {"level": {"knots": knots, "prior": knots}},
        "data": "five clips of my own",
    }
    path = folder / "decision.yaml"
    path.write_text(yaml.safe_dump(numbers), encoding="utf-8")
    return path


def test_numbers_of_ones_own_travel_with_the_dataset(
    small_clips: Path, copy: Path, tmp_path: Path
) -> None:
    path = decision_file(tmp_path, min_probability=0.1)
    chosen = f"stages.decide.model={path}"
    changed = json.loads(avipipe("refilter", "--out", copy, "--set", chosen, "--json").out)
    assert all(flip["before"] != flip["after"] for flip in changed)
    assert avipipe("refilter", "--out", copy, "--set", chosen, "--apply").code == 0
    path.unlink()
    flips = avipipe("refilter", "--out", copy, "--set", "stages.decide.min_clip_s=60", "--json")
    assert {flip["after"] for flip in json.loads(flips.out)} == {"too_short"}
    config = copy / "config.yaml"
    done = build(small_clips / "sources.txt", copy, "--config", str(config), "--executor", "inline")
    assert "The decision is not calibrated for" not in done.err, "a level needs no annotator"
    card = (copy / "README.md").read_text()
    assert "numbers are `mine`, fitted on five clips of my own." in card
    assert "is at least **0.1**" in card
    name = clip_ids(copy)[0]
    last = json.loads(avipipe("why", name, "--out", copy, "--json").out)[0]["stages"]
    decided = next(stage for stage in last if stage["stage"] == "decide_mask")["evidence"]
    assert [each["measure"] for each in decided["contributions"]] == ["level"]
    assert avipipe("verify", "--out", copy).code == 0


def test_verify_measures_clips_against_their_sources_again(built: Path) -> None:
    num_clips = len(clip_ids(built))
    said = avipipe("verify", "--out", built, "--deep").out
    assert (
        f"{num_clips} clips measured again against their sources, 0 whose source is no local file"
        in said
    )
    assert avipipe("verify", "--out", built, "--deep", "--fast").code == 2


def test_another_clips_picture_and_sound_are_found_again(built: Path) -> None:
    samples = [sample for shard in sorted(built.glob("shards/*.tar")) for sample in read(shard)]
    (_, first), (_, second) = samples[:2]
    facts = json.loads(first["json"])
    again = Remeasure(max_offset_ms=20.0)
    assert list(again.check(facts, first)) == []
    (of_picture,) = again.check(facts, {**first, "mp4": second["mp4"]})
    assert "other pictures" in of_picture
    (of_sound,) = again.check(facts, {**first, "flac": second["flac"]})
    assert "other sound" in of_sound
    facts["source"]["sha256"] = "of another file"
    assert list(again.check(facts, second)) == []
    assert (again.num_measured, again.num_without_source) == (3, 1)


def read(shard: Path) -> list[tuple[str, dict[str, bytes]]]:
    with shard.open("rb") as file:
        return [(key, dict(members)) for key, members in read_shard(file, shard.name)]


@pytest.fixture
def work(built: Path, tmp_path: Path) -> Path:
    """A work folder in which all is done, for a dataset that is yet to be begun."""
    work = Path(shutil.copytree(built / "work", tmp_path / "work"))
    (work / "sources.jsonl").unlink()
    return work


def test_a_longer_list_adds_a_generation_and_rewrites_nothing(
    small_clips: Path, work: Path, tmp_path: Path
) -> None:
    lines = (small_clips / "sources.txt").read_text().splitlines()
    listing, out = small_clips / "growing.txt", tmp_path / "out"
    listing.write_text("\n".join(lines[:2]) + "\n")
    options = ("--work", str(work), "--executor", "inline")
    build(listing, out, *options)
    first = published(out)
    listing.write_text("\n".join(lines) + "\n")
    build(listing, out, *options)
    second = published(out)
    shards = {name for name in first if name.endswith(".tar")}
    assert shards
    assert all(second[name] == first[name] for name in shards)
    assert {name for name in second if "-0002-" in name}
    assert avipipe("verify", "--out", out).code == 0


def test_a_dataset_can_be_published_by_url(
    small_clips: Path, built: Path, work: Path, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/out"
    words = ["--work", str(work), "--executor", "inline"]
    done = avipipe("build", "--source", small_clips / "sources.txt", "--out", url, *words)
    assert done.code == 0, done.err
    assert published(tmp_path / "out") == published(built)


def test_a_remote_dataset_needs_a_work_folder(small_clips: Path) -> None:
    done = avipipe("build", "--source", small_clips / "sources.txt", "--out", "s3://bucket/set")
    assert done.code == 2
    assert "--work" in done.err


def test_the_example_reads_shards_without_avipipe(built: Path) -> None:
    script = ROOT / "examples" / "read_shards.py"
    code = f"import sys, runpy; sys.argv = ['x', {str(built)!r}]; "
    code += f"runpy.run_path({str(script)!r}, run_name='__main__'); "
    code += "assert not any(name.split('.')[0] == 'avipipe' for name in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in clip_ids(built))


def test_doctor_says_that_this_machine_can_run() -> None:
    done = avipipe("doctor", "--json")
    assert done.code == 0
    findings = json.loads(done.out)
    assert all(finding["ok"] for finding in findings if finding["needed"])
    assert {"ffmpeg", "vad: energy", "propagate: flow"} <= {each["what"] for each in findings}
