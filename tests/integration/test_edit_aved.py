"""Edits by AvED as people call it, with tiny random models: what comes out, and what is refused."""

import json
from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from avipipe.audio_agent.files import read_sound
from avipipe.cli import cli
from avipipe.editor.edit.footage import Footage
from avipipe.media.probe import probe
from tests.aved_models import SETTINGS, tiny_pictures, tiny_sounds
from tests.edit_models import refused, with_options

pytestmark = pytest.mark.usefixtures("one_thread")

AVED: Mapping[str, str] = {
    "--method": "aved",
    "--instruction": "make it green and high",
    "--prompt": "a green cube",
    "--source-prompt": "a red cube",
    "--steps": "1",
}
FRAMES = 54


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("weights")
    sizes = ("output.size=[64,48]", "output.chunk_frames=49", *SETTINGS)
    settings = [*sizes, f"models.sound={tiny_sounds(folder / 'sound')}"]
    words = [word for each in settings for word in ("--set", each)]
    return ["--model", str(tiny_pictures(folder / "sd")), *words]


options = partial(with_options, AVED)


def test_picture_and_sound_are_edited_without_a_mask(
    clip: Path, models: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = [*options(out=out), *models, "--keep-work"]
    done = CliRunner().invoke(cli, ["edit", str(clip), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    trace = json.loads((out / "trace.json").read_bytes())
    (edit,) = trace["edits"]
    assert edit["mask"]["kind"] == "whole picture"
    assert edit["mask"]["given_share"] == 1
    assert 0 < edit["mask"]["refined_share"] < 1
    assert edit["sound"] == {"way": "edited by the method"}
    assert trace["outputs"].keys() == {"edited.mp4", "mask.mkv", "native.mp4", "preview.mp4"}
    with av.open(str(out / "native.mp4")) as native:
        assert native.streams.video[0].average_rate == 4
        assert sum(1 for _ in native.decode(video=0)) == 9  # a frame for each quarter begun
    assert '<a href="native.mp4">' in (out / "trace.html").read_text()
    sound = read_sound(out / "work" / "edit-01" / "sound" / "method.flac")
    assert sound.wav_CN.shape == (2, FRAMES * 2000)
    assert np.abs(sound.wav_CN).max() > 0
    assert probe(out / "edited.mp4").video.fps == Fraction(24)
    assert len(Footage(out / "work" / "edit-01" / "frames").read(range(FRAMES))) == FRAMES


@pytest.mark.slow  # two clips: 6 s; what batches have in common is tested with FlowAnchor
def test_clips_of_a_dataset_are_edited_with_their_captions_and_sounds(
    built: Path, models: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = options(source_prompt=None, out=out, batch=built, split="train")
    done = CliRunner().invoke(cli, ["edit", *words, *models], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    edits = [json.loads(path.read_bytes())["edits"][0] for path in out.glob("*/trace.json")]
    assert len({edit["source_prompt"] for edit in edits}) == len(edits) == 2
    assert all(edit["source_prompt"].startswith("A ") for edit in edits)
    assert all(edit["sound"] == {"way": "edited by the method"} for edit in edits)


def test_a_silent_video_is_refused(
    clip: Path, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = tmp_path / "silent.mp4"
    with av.open(str(clip)) as source, av.open(str(silent), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    words = [str(silent), *options(out=tmp_path / "out"), *models]
    code, message = refused(words, capsys)
    assert (code, "the video has no sound" in message) == (2, True), message


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("flow_anchor.gamma=1", "unknown key `flow_anchor`"),
        ("solver.num_steps=3", "unknown key `solver`"),
        ("models.offload=blocks", "models.offload"),
        ("aved.first_timestep=960", "expected no more than last_timestep, 949, got 960"),
    ],
)
def test_settings_of_other_methods_are_refused(
    setting: str, told: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(clip), *options(out=tmp_path / "out"), "--set", setting]
    code, message = refused(words, capsys)
    assert (code, told in message) == (2, True), message
    assert not list(tmp_path.iterdir())
