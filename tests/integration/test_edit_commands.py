"""`avipipe edit` as people call it: batches, options, and what it says of what is wrong."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from avipipe.cli import cli
from avipipe.manifests import rle
from avipipe.media.ffmpeg import run as ffmpeg
from tests.edit_models import fresh_run, refused, sha256

pytestmark = pytest.mark.usefixtures("one_thread")

BOX = "--mask-box=0.3,0.25,0.4,0.5"
QUICK = ("--steps", "2", "--set", "solver.guidance=1")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_run(tmp_path_factory.mktemp("model") / "run")


def called(*words: object) -> Result:
    return CliRunner().invoke(cli, ["edit", *map(str, words)], catch_exceptions=False)


def write_jobs(path: Path, *jobs: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, jobs)), encoding="utf-8")
    return path


def test_a_file_of_edits_and_plain_words(clip: Path, fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "edits.yaml").write_text(
        f"video: {clip}\n"
        "edits:\n"
        "- {instruction: replace the ball with a cube, mask: {box: [0.3, 0.25, 0.4, 0.5]}}\n"
        "- {instruction: remove the picture, mask: {box: [0, 0, 0.2, 0.2]}, seed: 1}\n"
    )
    out = tmp_path / "out"
    done = called("--edit", tmp_path / "edits.yaml", "--model", fresh, "--out", out, *QUICK)
    assert done.exit_code == 0
    assert "Note: no prompt was given" in done.output
    assert "remove the picture: mask (box, p = 4)" in done.output
    assert f"Video: {out / 'edited.mp4'}" in done.output
    assert {"mask-1.mkv", "mask-2.mkv"} <= {path.name for path in out.iterdir()}


def test_a_bad_job_costs_its_neighbours_nothing(
    clip: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"video": str(clip), "instruction": "make it red", "mask": {"box": [0.3, 0.2, 0.4, 0.5]}}
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    jobs = write_jobs(
        tmp_path / "jobs.jsonl",
        {"name": "good", **told},
        {"name": "broken", **told, "video": "broken.mp4"},
        {"name": "gone", **told, "video": "gone.mp4"},
        {"name": "nothing", **told, "mask": {"box": [0.3, 0.2, 0.4, 0]}},
        {"name": "last", **told, "seed": 2},
    )
    words = ["--batch", jobs, "--model", fresh, "--out", tmp_path / "out", *QUICK]
    code, message = refused(words, capsys)
    assert code == 5
    assert "3 of 5 jobs failed: broken, gone, nothing" in message
    assert "none that is known here" in message
    assert "expected a file at" in message
    made = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".partial"}
    assert made == {"good", "last"}
    before = (tmp_path / "out" / "good" / "edited.mp4").stat().st_mtime_ns

    write_jobs(jobs, {"name": "good", **told}, {"name": "gone", **told, "seed": 3})
    done = called(*words, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[-1]) == {"event": "end", "done": 2, "failed": 0}
    assert (tmp_path / "out" / "good" / "edited.mp4").stat().st_mtime_ns == before
    assert (tmp_path / "out" / "gone" / "edited.mp4").is_file()


def test_all_clips_of_a_dataset(built: Path, fresh: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--batch", built, "--split", "train", "--instruction", "make it new", "--out", out]
    done = called(*words, "--model", fresh, "--precision", "4", *QUICK)
    assert done.exit_code == 0
    assert "2 of 2 jobs are done" in done.output
    for trace in (json.loads(path.read_bytes()) for path in out.glob("*/trace.json")):
        assert trace["video"]["num_frames"] == 54
        assert trace["edits"][0]["mask"]["precision"] == 4
        assert trace["edits"][0]["prompt"].startswith("A ")
        assert not trace["video"]["fps"] % 24


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ([], 2, "--instruction"),
        (["--instruction", "make it better"], 2, "names nothing"),
        (["--instruction", " ", BOX], 2, "instruction is empty"),
        (["--instruction", "add a cat"], 2, "say where"),
        (["--instruction", "x", "--mask-box", "1,2,3"], 2, "mask.box"),
        (["--instruction", "x", "--mask-box", "a"], 2, "40,20,320,240"),
        (["--instruction", "x", "--mask-box", "0.97,0,0.01,0.01"], 2, "empty"),
        (["--instruction", "x", BOX, "--precision", "9"], 2, "0 to 4, got 9"),
        (["--instruction", "x", "--mask-words", "dog", "--precision", "9"], 2, "0 to 4, got 9"),
        (["--instruction", "x", BOX, "--set", "solver.seed=3"], 2, "--seed"),
        (["--instruction", "x", BOX, "--mask-words", "dog"], 2, "box and words"),
        (["--instruction", "x", BOX, "--control", "pose"], 2, "KIND=FILE"),
        (["--instruction", "x", BOX, "--audio", "none.wav"], 2, "none.wav"),
        (["--instruction", "x", BOX, "--set", "output.size=[100,64]"], 2, "32"),
        (["--instruction", "x", BOX, "--set", "solver.step=3"], 2, "num_steps"),
        (["--instruction", "x", BOX, "--model", "nowhere"], 4, "avipipe train"),
        (["--instruction", "x", "--profile", "huge"], 2, "huge"),
    ],
)
def test_wrong_options_say_what_to_do(
    options: list[str],
    code: int,
    told: str,
    clip: Path,
    fresh: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [clip, "--out", tmp_path / "out", "--model", fresh, *QUICK, *options]
    found, message = refused(words, capsys)
    assert (found, told in message) == (code, True), message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mask": {"box": [0, 0, 1e-9, 1e-9]}}, "empty"),
        ({"controls": {"pose": "long.mp4"}}, "cut it to the length"),
        ({"references": ["text.png"]}, "expected an image"),
        ({"audio": "long.mp4"}, "expected an audio stream"),
    ],
)
def test_a_wrong_last_edit_does_not_cost_the_first(
    change: dict[str, Any],
    told: str,
    clip: Path,
    fresh: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    ffmpeg(["-f", "lavfi", "-i", "color=s=284x160:d=9", str(tmp_path / "long.mp4")], timeout_s=60)
    good = {"instruction": "make it red", "mask": {"box": [0.3, 0.25, 0.4, 0.5]}}
    edits = {"video": str(clip), "edits": [good, {**good, **change}]}
    (tmp_path / "edits.yaml").write_text(json.dumps(edits))
    out = tmp_path / "out"
    words = ["--edit", tmp_path / "edits.yaml", "--model", fresh, "--out", out, *QUICK]
    code, message = refused(words, capsys)
    assert (code in (1, 2), told in message) == (True, True), message
    assert not list((tmp_path / "out.partial" / "work").glob("edit-*/chunk-*"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--edit", "e.yaml", "--precision", "0"], "--edit or --precision"),
        (["--batch", "jobs.jsonl"], "--batch or VIDEO"),
    ],
)
def test_options_that_would_go_unread_are_refused(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = refused(["a.mp4", "--out", tmp_path / "out", *options], capsys)
    assert (code, told in message) == (2, True), message


def test_options_of_an_edit_do_not_reach_a_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for batch, option in (("jobs.jsonl", "--seed=1"), ("dataset", BOX)):
        words = ["--batch", batch, option, "--instruction", "x", "--out", tmp_path / "out"]
        code, message = refused(words, capsys)
        assert (code, "leave one out" in message) == (2, True), message


def test_a_job_has_a_name_that_a_folder_can_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/b", "..", ".clips"):
        jobs = write_jobs(tmp_path / "jobs.jsonl", {"name": name, "video": "a.mp4"})
        code, message = refused(["--batch", jobs, "--out", tmp_path / "out"], capsys)
        assert (code, repr(name) in message) == (3, True), message


def test_masks_that_do_not_fit_the_video(
    clip: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    square, wide = np.full((160, 160), 255, np.uint8), np.ones((160, 284), np.bool_)
    assert cv2.imwrite(str(tmp_path / "square.png"), square)
    rle.write_masks(tmp_path / "short.json", [rle.encode(wide)] * 20, size=wide.shape)
    rle.write_masks(tmp_path / "empty.json", [rle.encode(~wide)] * 54, size=wide.shape)
    for name, told in (
        ("square.png", "284x160"),
        ("short.json", "54 frames"),
        ("empty.json", "empty"),
    ):
        words = [clip, "--out", tmp_path / "out", "--model", fresh, *QUICK, "--instruction", "x"]
        code, message = refused([*words, "--mask", tmp_path / name], capsys)
        assert (code, told in message) == (2, True), message


def test_missing_weights_name_the_command(
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    words = [clip, "--out", tmp_path / "out", "--instruction", "x", BOX]
    code, message = refused(words, capsys)
    assert code == 4
    assert "avipipe weights pull avi_edit" in message


def test_a_missing_key_names_the_variable(
    clip: Path,
    fresh: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    words = [clip, "--out", tmp_path / "out", "--model", fresh, *QUICK, BOX, "--audio", "agent"]
    words += ["--instruction", "add a knock", "--set", "audio_tools.sounds=elevenlabs"]
    code, message = refused(words, capsys)
    assert code == 2
    assert "ELEVENLABS_API_KEY" in message


def test_too_little_memory_says_what_would_help(
    clip: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [clip, "--out", tmp_path / "out", "--model", fresh, *QUICK, BOX, "--instruction", "x"]
    code, message = refused([*words, "--set", "output.size=[32000,32000]"], capsys)
    assert code == 5
    assert "too little memory" in message
    assert "a smaller picture" in message


def test_json_for_pipes(clip: Path, fresh: Path, tmp_path: Path) -> None:
    words = [clip, "--out", tmp_path / "out", "--model", fresh, *QUICK, BOX, "--json"]
    done = called(*words, "--instruction", "add a bird", "--tile-vae", "--offload", "models")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events].count("step") == 8
    assert events[-1]["event"] == "end"
    assert events[-1]["outputs"]["edited.mp4"] == sha256(tmp_path / "out" / "edited.mp4")
