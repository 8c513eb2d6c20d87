"""Edits of small clips by the tiny network: what comes out, whatever goes in."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from av.video.reformatter import Colorspace

from avipipe.annotators.base import Frames, Mask
from avipipe.audio_agent.files import read_sound
from avipipe.editor.avi_edit.method import AviEdit
from avipipe.editor.edit.chunks import plan_chunks
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.job import Job
from avipipe.editor.edit.method import Part
from avipipe.editor.edit.run import edit
from avipipe.editor.edit.trace import Trace
from avipipe.errors import AnnotatorError, ConfigError, RunError
from avipipe.manifests import rle
from avipipe.media.ffmpeg import run as ffmpeg
from avipipe.media.lossless import read_lossless
from avipipe.media.probe import probe
from tests.edit_models import Quiet, avi_edit, beyond, fresh_run, sha256

pytestmark = pytest.mark.usefixtures("one_thread")

BOX = {"box": [0.3, 0.25, 0.4, 0.5]}
FRAMES = 54
MARGIN_PX = 16


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose weights are random."""
    return fresh_run(tmp_path_factory.mktemp("model") / "run")


def job(video: Path, *edits: dict[str, Any]) -> Job:
    return Job.model_validate({"video": video, "edits": edits})


def change(**options: Any) -> dict[str, Any]:
    return {
        "instruction": "replace the ball with a cube",
        "prompt": "a cube",
        "mask": BOX,
        **options,
    }


def done(video: Path, out: Path, run: Path, *edits: dict[str, Any], **settings: Any) -> Trace:
    model = avi_edit(run, **settings)
    return edit(job(video, *edits), out, model, Quiet(), keep_work=True)


def decoded(path: Path) -> Frames:
    """All frames of an mp4."""
    with av.open(str(path)) as container:
        return np.stack(
            [
                frame.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU709)
                for frame in container.decode(video=0)
            ]
        )


def masks_of(out: Path, name: str = "mask.mkv") -> Mask:
    return np.asarray(read_lossless(out / name, "gray") > 0)


@pytest.fixture(scope="module")
def edited(clip: Path, fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip with a box edited, in four chunks; its frames are kept."""
    out = tmp_path_factory.mktemp("edited") / "out"
    torch.set_num_threads(1)
    done(clip, out, fresh, change())
    return out


def test_a_folder_with_everything_is_left(edited: Path, clip: Path) -> None:
    names = {path.name for path in edited.iterdir()}
    assert names == {
        "edited.mp4",
        "mask.mkv",
        "preview.mp4",
        "trace.json",
        "trace.html",
        "job.json",
        "kept.jsonl",
        "work",
    }
    trace = Trace.model_validate_json((edited / "trace.json").read_bytes())
    assert trace.video.sha256 == sha256(clip)
    assert (trace.video.num_frames, trace.video.edited_size) == (FRAMES, (96, 64))
    assert trace.outputs == {
        name: sha256(edited / name) for name in ("edited.mp4", "preview.mp4", "mask.mkv")
    }
    (one,) = trace.edits
    assert (one.task, one.mask.kind, one.mask.precision) == ("edit", "box", 4)
    assert [chunk.start for chunk in one.chunks] == [0, 12, 28, 40]
    assert all(len(chunk.steps) == 3 for chunk in one.chunks)
    assert one.mask.refined_share <= one.mask.given_share
    assert trace.models["network"]
    assert not trace.fallbacks
    page = (edited / "trace.html").read_text()
    assert 'href="mask.mkv"' in page
    assert "replace the ball with a cube" in page
    assert page.count('<img src="data:image/jpeg') == 4


def test_the_file_shows_the_source_away_from_the_mask(edited: Path) -> None:
    source = Footage(edited / "work" / "source" / "frames").read(range(FRAMES))
    away = beyond(masks_of(edited), MARGIN_PX)
    written = decoded(edited / "edited.mp4").astype(np.int64)
    assert written.shape == source.shape
    assert np.abs(written - source)[away].mean() < 4  # of 255, by the codec


def test_picture_and_sound_are_of_one_length(edited: Path) -> None:
    for name in ("edited.mp4", "preview.mp4"):
        info = probe(edited / name)
        assert info.video.num_packets == FRAMES
        assert info.video.start_s == info.audio.start_s == 0
        assert info.video.end_s == info.audio.end_s == FRAMES / 24
    assert masks_of(edited).shape == (FRAMES, 64, 96)


def test_chunks_go_on_from_the_frame_they_share(
    clip: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = avi_edit(fresh)
    canvas = model.canvas((96, 64))
    (first, second, *_) = plan_chunks(FRAMES, canvas.most_frames, canvas.frame_step)
    seen = list[Part]()

    def spy(part: Part, *rest: Any) -> Any:
        seen.append(part)
        return original(part, *rest)

    original = model.edit
    monkeypatch.setattr(model, "edit", spy)
    edit(job(clip, change()), tmp_path / "out", model, Quiet(), keep_work=True)
    result = Footage(tmp_path / "out" / "work" / "edit-01" / "frames")
    assert seen[0].first_HWC is None
    assert seen[1].first_HWC is not None
    assert np.array_equal(seen[1].first_HWC, result.read(range(second.start, second.start + 1))[0])
    assert len({part.seed for part in seen}) == len(seen)
    assert first.frames[-1] == second.start


def test_what_is_done_is_not_done_again(edited: Path, clip: Path, fresh: Path) -> None:
    before = (edited / "trace.json").stat().st_mtime_ns
    model, listener = avi_edit(fresh), Quiet()
    trace = edit(job(clip, change()), edited, model, listener)
    assert trace.video.num_frames == FRAMES
    assert not listener.texts
    assert (edited / "trace.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["out", "out.partial"])
def test_folders_of_earlier_versions_go_on(
    name: str, edited: Path, clip: Path, fresh: Path, tmp_path: Path
) -> None:
    """Those do not say the method, nor what is only for some; done or not, they stay whole."""
    folder = tmp_path / name
    shutil.copytree(edited, folder)
    told = json.loads((folder / "job.json").read_bytes())
    del told["config"]["method"]
    for each in told["job"]["edits"]:
        del each["source_prompt"], each["anchor_words"]
    (folder / "job.json").write_text(json.dumps(told))
    if name != "out":  # killed before the videos
        for path in folder.glob("*.*"):
            if path.name != "job.json":
                path.unlink()
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "kept.jsonl"]
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    (folder / "kept.jsonl").write_text(json.dumps(hashes) + "\n")
    for _ in range(2):
        done(clip, tmp_path / "out", fresh, change())
    assert sha256(tmp_path / "out" / "edited.mp4") == sha256(edited / "edited.mp4")


def test_two_runs_do_not_share_a_folder(clip: Path, fresh: Path, tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    partial.mkdir()
    descriptor = os.open(partial, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(RunError, match=r"another run is at work in .*out\.partial"):
        done(clip, tmp_path / "out", fresh, change())
    os.close(descriptor)
    assert not list(partial.iterdir())
    (tmp_path / "out").mkdir()  # one that is empty will do
    assert done(clip, tmp_path / "out", fresh, change()).video.num_frames == FRAMES


def test_too_little_memory_of_the_cpu_is_told(
    clip: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AviEdit, "_conditions", lambda *_: torch.empty(1 << 60))
    with pytest.raises(RunError, match=r"too little memory for 13 frames of 96x64.*--offload"):
        done(clip, tmp_path / "out", fresh, change())


def test_a_folder_that_cannot_be_made(clip: Path, fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match="choose another --out"):
        done(clip, tmp_path / "file" / "out", fresh, change())


def test_a_folder_of_another_edit_is_not_touched(edited: Path, clip: Path, fresh: Path) -> None:
    with pytest.raises(ConfigError, match=r"another --out.*\n.*job\.edits"):
        done(clip, edited, fresh, change(seed=7))
    with pytest.raises(ConfigError, match=r"solver\.num_steps: 3 -> 4"):
        done(clip, edited, fresh, change(), solver={"num_steps": 4})


@pytest.mark.parametrize(
    ("name", "codec"), [("mute.mp4", ["copy"]), ("mute.avi", ["mpeg4", "-bf", "2"])]
)
def test_a_video_without_sound_is_edited_in_silence(
    name: str, codec: list[str], clip: Path, fresh: Path, tmp_path: Path
) -> None:
    ffmpeg(["-i", str(clip), "-an", "-c:v", *codec, str(tmp_path / name)], timeout_s=60)
    trace = done(tmp_path / name, tmp_path / "out", fresh, change())
    assert trace.video.num_frames == FRAMES
    assert "no sound" in trace.fallbacks[0]
    assert "no sound" in (tmp_path / "out" / "trace.html").read_text()
    info = probe(tmp_path / "out" / "edited.mp4")
    assert info.audio.end_s == FRAMES / 24


def test_a_given_sound_is_fitted_and_heard(
    edited: Path, clip: Path, fresh: Path, tmp_path: Path
) -> None:
    tone = "sine=frequency=440:sample_rate=44100:duration=1.5"
    ffmpeg(["-f", "lavfi", "-i", tone, str(tmp_path / "tone.wav")], timeout_s=60)
    out = tmp_path / "out"
    trace = done(clip, out, fresh, change(audio=str(tmp_path / "tone.wav")))
    assert "silence follows" in trace.fallbacks[0]
    assert trace.edits[0].files == {str(tmp_path / "tone.wav"): sha256(tmp_path / "tone.wav")}
    assert probe(out / "edited.mp4").audio.end_s == FRAMES / 24
    # The network hears it: the pictures are others, too.
    ours, theirs = (Footage(place / "work" / "edit-01" / "frames") for place in (out, edited))
    first = range(12)
    assert not np.array_equal(ours.read(first), theirs.read(first))


def test_edits_follow_each_other(clip: Path, fresh: Path, tmp_path: Path) -> None:
    second = {
        "instruction": "remove the picture",
        "mask": {"polygon": [[0, 0], [0.5, 0], [0, 0.5]]},
        "seed": 3,
    }
    trace = done(clip, tmp_path / "out", fresh, change(), second)
    assert [one.task for one in trace.edits] == ["edit", "deletion"]
    assert trace.edits[1].prompt == "The empty background of the scene."
    assert trace.edits[1].mask.precision == 2
    parts = [
        Footage(tmp_path / "out" / "work" / name / "frames").read(range(FRAMES))
        for name in ("source", "edit-01", "edit-02")
    ]
    for number in (1, 2):
        away = beyond(masks_of(tmp_path / "out", f"mask-{number}.mkv"), MARGIN_PX)
        assert np.array_equal(parts[number][away], parts[number - 1][away])
        assert not np.array_equal(parts[number], parts[number - 1])


def test_a_stretch_without_mask_is_left_alone(clip: Path, fresh: Path, tmp_path: Path) -> None:
    there = np.zeros((160, 284), np.bool_)
    there[40:120, 80:200] = True
    masks = [rle.encode(there & (frame < 10)) for frame in range(FRAMES)]
    rle.write_masks(tmp_path / "m.json", masks, size=(160, 284))
    mask = {"file": str(tmp_path / "m.json")}
    trace = done(clip, tmp_path / "out", fresh, change(mask=mask))
    skipped = [chunk.skipped for chunk in trace.edits[0].chunks]
    assert not skipped[0]
    assert all("empty" in text for text in skipped[1:])
    source = Footage(tmp_path / "out" / "work" / "source" / "frames").read(range(13, FRAMES))
    result = Footage(tmp_path / "out" / "work" / "edit-01" / "frames").read(range(13, FRAMES))
    assert np.array_equal(result, source)


def test_controls_and_references_reach_the_network(
    edited: Path, clip: Path, fresh: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "like.png"
    assert cv2.imwrite(str(picture), np.full((50, 40, 3), 200, np.uint8))
    options = {"references": [str(picture)], "controls": {"pose": str(clip)}}
    trace = done(clip, tmp_path / "out", fresh, change(**options))
    assert (trace.edits[0].controls, trace.edits[0].num_references) == (("pose",), 1)
    assert sha256(tmp_path / "out" / "edited.mp4") != sha256(edited / "edited.mp4")
    with pytest.raises(ConfigError, match="scribble, pose, got depth"):
        done(clip, tmp_path / "no", fresh, change(controls={"depth": str(clip)}))


def test_words_are_looked_for(clip: Path, fresh: Path, tmp_path: Path) -> None:
    trace = done(clip, tmp_path / "out", fresh, change(mask={}))
    mask = trace.edits[0].mask
    assert mask.kind == "words 'ball'"
    assert mask.details["backends"] == {
        "detect": "motion",
        "segment": "grabcut",
        "propagate": "flow",
    }
    assert "did not find 'ball' by its name" in trace.fallbacks[0]
    assert 0.005 < mask.given_share < 0.5


def test_an_instruction_and_a_scene_that_name_nothing(
    small_clips: Path, clip: Path, fresh: Path, tmp_path: Path
) -> None:
    vague = change(instruction="make it better", mask={})
    with pytest.raises(ConfigError, match=r"names nothing.*--mask-words"):
        done(clip, tmp_path / "vague", fresh, vague)
    nowhere = change(instruction="add a bird", mask={"words": "bird"})
    with pytest.raises(ConfigError, match="say where with --mask-box"):
        done(clip, tmp_path / "nowhere", fresh, nowhere)
    still = next((small_clips / "clips").glob("voice_over_still*"))
    with pytest.raises(ConfigError, match=r"'ball' was found.*--mask-box"):
        done(still, tmp_path / "still", fresh, change(mask={}))


def test_insertion_is_told_the_box(clip: Path, fresh: Path, tmp_path: Path) -> None:
    trace = done(clip, tmp_path / "out", fresh, change(instruction="add a bird"))
    assert (trace.edits[0].task, trace.edits[0].mask.precision) == ("insertion", 4)


def test_the_agent_edits_the_sound(clip: Path, fresh: Path, tmp_path: Path) -> None:
    told = change(instruction="replace the knocking with a car horn", audio="agent")
    out = tmp_path / "out"
    trace = done(clip, out, fresh, told)
    sound = trace.edits[0].sound
    assert sound["way"] == "agent"
    assert sound["iterations"] >= 1
    assert (out / sound["trace"]).is_file()
    assert f'href="{sound["trace"]}"' in (out / "trace.html").read_text()
    assert probe(out / "edited.mp4").audio.end_s == FRAMES / 24
    before, after = (read_sound(path) for path in (clip, out / "edited.mp4"))
    assert np.abs(before.wav_CN[0, :50_000] - after.wav_CN[0, :50_000]).max() > 0.02
    vague = change(audio="agent", instruction="make it better")
    with pytest.raises(AnnotatorError, match="names no sound"):
        done(clip, tmp_path / "vague", fresh, vague)
