"""Edits by AudioScenic as people call it, with tiny random models: what is told, what refused."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import wavfile

from avipipe.cli import cli
from avipipe.editor.edit.footage import Footage
from avipipe.manifests import rle
from avipipe.media.lossless import read_lossless
from avipipe.media.probe import probe
from tests.edit_models import refused, with_options
from tests.scenic_models import tiny_scenic
from tests.sounds import RATE_HZ, knocks

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES, CHUNK = 54, 18
NOTHING = "the mask covers all here: nothing is edited"
SCENE: Mapping[str, str] = {
    "--method": "audio_scenic",
    "--instruction": "turn the wall into a workshop",
    "--mask-box": "0.3,0.25,0.4,0.5",
    "--steps": "1",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of tiny models."""
    folders = tiny_scenic(tmp_path_factory.mktemp("weights"))
    models = [f"models.{name}={folder}" for name, folder in folders.items()]
    settings = [*models, "output.size=[96,64]", "models.precision=fp32"]
    settings.append("audio_scenic.tuning_steps=1")
    return [word for each in settings for word in ("--set", each)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sounds") / "knocks.wav"
    wavfile.write(path, RATE_HZ, knocks())
    return path


options = partial(with_options, SCENE)


def write_masks(clip: Path, path: Path) -> None:
    """All stays in the first frames, then what is in the middle."""
    width, height = map(int, probe(clip).video.shape)
    everything = np.ones((height, width), np.bool_)
    middle = np.zeros_like(everything)
    middle[height // 4 : 3 * height // 4, width // 3 : 2 * width // 3] = True
    counts = [rle.encode(everything)] * CHUNK + [rle.encode(middle)] * (FRAMES - CHUNK)
    rle.write_masks(path, counts, size=everything.shape)


def test_what_stays_is_the_source_to_the_last_bit(
    clip: Path, sound: Path, small: list[str], tmp_path: Path
) -> None:
    out, masks = tmp_path / "out", tmp_path / "masks.json"
    write_masks(clip, masks)
    words = options(mask_box=None, mask=masks, audio=sound, out=out, prompt="A workshop.")
    done = CliRunner().invoke(
        cli, ["edit", str(clip), *words, "--keep-work", *small], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "what stays (run-length codes) is 4" in done.output
    assert "Note: the network does not read the prompt" in done.output
    source, result = (
        Footage(out / "work" / folder / "frames").read(range(FRAMES))
        for folder in ("source", "edit-01")
    )
    edited = np.asarray(read_lossless(out / "mask.mkv", "gray") > 0)
    assert not edited[:, 20:44, 40:56].any()
    assert not edited[:CHUNK].any()
    assert np.array_equal(result[~edited], source[~edited])
    assert (result[edited] != source[edited]).mean() > 0.5
    trace = json.loads((out / "trace.json").read_bytes())
    (told,) = trace["edits"]
    assert told["mask"]["tells"] == "stay"
    assert told["mask"]["given_share"] + told["mask"]["refined_share"] == pytest.approx(1)
    assert told["sound"]["file"] == str(sound)
    assert [chunk["num_frames"] for chunk in told["chunks"]] == [CHUNK, 19, 19]
    assert [chunk["skipped"] for chunk in told["chunks"]] == [NOTHING, "", ""]
    page = (out / "trace.html").read_text()
    assert "which stays; edited is" in page
    assert 'with what <span class="given">stays</span>' in page


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"audio": None}, "it needs --audio FILE"),
        ({"set": "flow_anchor.gamma=1"}, "unknown key `flow_anchor`"),
        ({"offload": "blocks"}, "models.offload"),
        ({"steps": "2000"}, "at most 1000"),
    ],
)
def test_what_it_cannot_do_is_refused(
    changes: dict[str, str | None],
    told: str,
    clip: Path,
    sound: Path,
    small: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = options(**{"audio": sound, "out": tmp_path / "out", **changes})
    code, message = refused([str(clip), *words, *small], capsys)
    assert (code, told in message) == (2, True), message
    assert not list(tmp_path.iterdir())
