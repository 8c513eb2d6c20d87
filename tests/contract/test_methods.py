"""What every editing method must do; a new one is tested by its name, on random tiny components.

Deterministic; the same after SIGKILL in the middle of a part; nothing changed beyond the mask and
its seam; all weights that are missing in one message.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from avipipe.annotators.base import Frames
from avipipe.editor.edit.config import OutputConfig
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.method import Method
from avipipe.editor.edit.methods import METHODS, find_method
from avipipe.errors import WeightsError
from avipipe.media.lossless import read_lossless
from avipipe.synth import generate
from tests.aved_models import SETTINGS, tiny_pictures, tiny_sounds
from tests.edit_models import beyond, fresh_run, sha256
from tests.integration.builds import command, environment
from tests.scenic_models import tiny_scenic
from tests.sounds import RATE_HZ, noise
from tests.wan_models import tiny_wan

Words = tuple[str | Path, ...]

FRAMES, STEPS = 54, 6
BOX = ("--mask-box", "0.3,0.25,0.4,0.5")
RESULTS = ("edited.mp4", "mask.mkv", "preview.mp4")


def avi_edit_words(folder: Path) -> Words:
    return ("--model", fresh_run(folder / "run"), "--set", "solver.shift=1")


def flow_anchor_words(folder: Path) -> Words:
    sizes = ("output.size=[96,64]", "output.chunk_frames=29", "models.precision=fp32")
    settings = tuple(word for each in sizes for word in ("--set", each))
    return ("--source-prompt", "a red cube", "--model", tiny_wan(folder / "wan"), *settings)


def audio_scenic_words(folder: Path) -> Words:
    sizes = ("output.size=[96,64]", "output.chunk_frames=29", "models.precision=fp32")
    models = (f"models.{name}={path}" for name, path in tiny_scenic(folder).items())
    settings = (*sizes, *models, "audio_scenic.tuning_steps=2", "audio_scenic.learning_rate=0.01")
    sound = folder / "rain.wav"
    wavfile.write(sound, RATE_HZ, noise(0.1, duration_s=3))
    return ("--audio", sound, *(word for each in settings for word in ("--set", each)))


def aved_words(folder: Path) -> Words:
    sizes = ("output.size=[96,64]", "output.chunk_frames=49", "models.sound={sound}", *SETTINGS)
    sound = tiny_sounds(folder / "sound")
    settings = tuple(word for each in sizes for word in ("--set", each.format(sound=sound)))
    return ("--source-prompt", "a red cube", "--model", tiny_pictures(folder / "sd"), *settings)


TINY: Mapping[str, Callable[[Path], Words]] = {
    "avi_edit": avi_edit_words,
    "flow_anchor": flow_anchor_words,
    "audio_scenic": audio_scenic_words,
    "aved": aved_words,
}
"""Method -> options of `avipipe edit` with which it edits by tiny components, made in a folder."""

NEEDED = {
    "avi_edit": ("avi_edit", "wan22_ti2v_5b", "wav2vec2"),
    "flow_anchor": ("wan21_t2v_1_3b",),
    "audio_scenic": ("clap", "controlnet_depth", "depth_anything_small", "stable_diffusion_15"),
    "aved": ("audioldm2_large", "sd21_base"),
}
"""Method -> the weights that it cannot do without."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.25 s of something that bounces."""
    folder = tmp_path_factory.mktemp("synth")
    generate(folder, num_clips=1, seed=5, kinds=("bounce",), duration_s=2.25, height_px=160)
    return next((folder / "clips").glob("bounce*"))


LONG = ("audio_scenic", "aved", "flow_anchor")
"""Methods whose edits of many steps are left to the long run; each costs half a minute and more."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in METHODS
    ],
)
def words(
    request: pytest.FixtureRequest, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Words:
    """An edit of the clip, but for where to."""
    made = TINY[request.param](tmp_path_factory.mktemp("components"))
    what = ("--instruction", "make it green", "--prompt", "a green cube", *BOX)
    how = ("--method", request.param, *what)
    return (clip, *how, "--steps", str(STEPS), "--json", "--keep-work", *made)


@pytest.fixture(scope="module")
def whole(words: Words, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The edit, made in one go."""
    out = tmp_path_factory.mktemp("whole") / "out"
    said(words, out)
    return out


def outputs(out: Path) -> set[str]:
    """The files of an edit that are told by their hashes."""
    found = set(json.loads((out / "trace.json").read_bytes())["outputs"])
    assert found >= set(RESULTS)
    return found


def said(words: Words, out: Path) -> str:
    """What a command says in a process of its own; all have as many threads, and so round alike."""
    return subprocess.run(
        command("edit", *words, "--out", out),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_methods_are_known_by_their_names() -> None:
    for name in METHODS:
        method = find_method(name)
        assert issubclass(method, Method)
        assert method.name == name
    assert TINY.keys() == NEEDED.keys() == METHODS.keys()


@pytest.mark.slow
def test_another_seed_gives_another_edit(words: Words, whole: Path, tmp_path: Path) -> None:
    said((*words, "--seed", "1"), tmp_path / "other")
    assert sha256(tmp_path / "other" / "edited.mp4") != sha256(whole / "edited.mp4")


def test_a_killed_edit_goes_on_to_the_same_bytes(words: Words, whole: Path, tmp_path: Path) -> None:
    """And so the same edit gives the same bytes in any process."""
    killed = tmp_path / "killed"
    with subprocess.Popen(
        command("edit", *words, "--out", killed),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if (
                json.loads(line).get("step") == STEPS + 2
            ):  # early in the second part, whatever a method skips
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not killed.exists()
    end = json.loads(said(words, killed).splitlines()[-1])
    steps = [step for chunk in end["edits"][0]["chunks"] for step in chunk["steps"]]
    # It went on in the middle of a part: its first steps were made before.
    assert any(step["seconds"] is None for step in steps)
    for name in outputs(whole):
        assert sha256(killed / name) == sha256(whole / name)
    assert not killed.with_name("killed.partial").exists()


def test_what_is_far_from_the_mask_is_the_source(words: Words, whole: Path) -> None:
    source = frames_of(whole / "work" / "source")
    result = frames_of(whole / "work" / "edit-01")
    assert result.shape == source.shape
    mask = np.asarray(read_lossless(whole / "mask.mkv", "gray") > 0)
    stays = find_method(str(words[2])).mask_tells == "stay"
    away = ~mask if stays else beyond(mask, OutputConfig().margin_px)
    assert 0.1 < away.mean() < 0.9
    assert np.array_equal(result[away], source[away])
    assert (result[mask] != source[mask]).mean() > 0.5


def frames_of(folder: Path) -> Frames:
    return Footage(folder / "frames").read(range(FRAMES))


@pytest.mark.parametrize("name", METHODS)
def test_all_weights_that_are_missing_are_named_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("AVIPIPE_CACHE_DIR", str(tmp_path / "cache"))
    method = find_method(name)
    with pytest.raises(WeightsError) as caught:
        method.load(method.settings())
    needed = NEEDED[name]
    count = f"{len(needed)} weights are" if len(needed) > 1 else f"the weight `{needed[0]}` is"
    assert f"{count} missing" in str(caught.value)
    assert f"avipipe weights pull {' '.join(needed)}" in str(caught.value)
