"""The control that goes through a VAE, on a tiny random one of Wan's kind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from avipipe.cli import cli  # noqa: E402
from avipipe.editor.common.codec import load_codec  # noqa: E402
from avipipe.errors import ConfigError, WeightsError  # noqa: E402
from avipipe.evaluate.cases import Case, completed  # noqa: E402
from avipipe.evaluate.controls import controls_of  # noqa: E402
from avipipe.evaluate.extractors import wan_vae  # noqa: E402
from avipipe.evaluate.extractors.wan_vae import restored, vae_folder  # noqa: E402
from avipipe.evaluate.measuring import measure  # noqa: E402
from avipipe.evaluate.metric import Score  # noqa: E402
from avipipe.evaluate.views import MediaView  # noqa: E402
from avipipe.media.lossless import write_lossless  # noqa: E402
from tests.integration import lavfi  # noqa: E402
from tests.wan_models import WAN22_VAE, vae  # noqa: E402

Frames = npt.NDArray[np.uint8]
NAMES = ["ssim.full", "loudness.change"]


def write_vae(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(0)
    vae(**changes).save_pretrained(folder / "vae")
    return folder


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vae(tmp_path_factory.mktemp("wan"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    graph, sound = "testsrc2=s=36x28:r=24:d=0.5", lavfi.sound(duration_s=0.5)
    return lavfi.write(folder / "clip.mp4", video=graph, audio=sound)


def pictures(num: int, height: int, width: int) -> Frames:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (num, height, width, 3), dtype=np.uint8)


def round_trip(wan: Path, frames: Frames) -> Frames:
    return np.stack(list(restored(vae_folder(wan), iter(frames))))


@pytest.mark.parametrize("changes", [{}, WAN22_VAE])
def test_what_comes_back_is_what_the_editor_decodes(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    wan = write_vae(tmp_path, **changes)
    frames = pictures(5, 16, 32)
    codec = load_codec(wan, "fp32", "cpu", remedy="")
    expected = codec.decode(codec.encode(torch.from_numpy(frames)).mean)
    found = round_trip(wan, frames)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected.numpy().astype(int)).max() <= 1


def test_any_number_of_pictures_of_any_size_comes_back(
    wan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = pictures(3, 14, 20)
    found = round_trip(wan, frames)
    assert found.shape == frames.shape
    padded = np.pad(frames, ((0, 2), (0, 2), (0, 4), (0, 0)), mode="edge")
    np.testing.assert_array_equal(found, round_trip(wan, padded)[:3, :14, :20])
    monkeypatch.setattr(wan_vae, "CHUNK_FRAMES", 2)
    parts = [round_trip(wan, frames[:2]), round_trip(wan, frames[2:])]
    np.testing.assert_array_equal(round_trip(wan, frames), np.concatenate(parts))


def test_the_film_of_a_control_shows_what_came_back(tmp_path: Path) -> None:
    frames = pictures(50, 28, 36)
    write_lossless(tmp_path / "film.mkv", iter(frames), "rgb24")
    view = MediaView(tmp_path / "film.mkv", tmp_path)
    np.testing.assert_array_equal(view.pictures.motion_THWC, frames)


def test_the_control_has_the_pictures_of_the_vae_and_the_sound_of_the_source(
    wan: Path, clip: Path, tmp_path: Path
) -> None:
    own = completed([Case(name="a", method="m", source=clip, edit=clip)], "test")
    asked = controls_of(own, seed=0, vae=vae_folder(wan))
    cases = {case.control: case for case in asked if case.control in ("copy", "vae")}
    found = {
        each.case.control: each for each in measure(list(cases.values()), NAMES, tmp_path / "work")
    }
    copy, restored_one = found["copy"].scores, found["vae"].scores
    assert all(score.status == "ok" for score in restored_one.values()), restored_one
    assert value(copy["ssim.full"]) == pytest.approx(1)
    assert value(restored_one["ssim.full"]) < 0.99
    assert value(restored_one["loudness.change"]) == value(copy["loudness.change"])
    (again,) = measure([cases["vae"]], NAMES, tmp_path / "work")
    assert again.num_measured == 0
    other = write_vae(tmp_path / "other", z_dim=6)
    changed = cases["vae"].model_copy(update={"vae": vae_folder(other)})
    (anew,) = measure([changed], NAMES, tmp_path / "work")
    assert anew.num_measured == len(NAMES)
    assert value(anew.scores["ssim.full"]) != value(restored_one["ssim.full"])


def value(score: Score) -> float:
    assert score.value is not None, score
    return score.value


def test_what_is_no_vae_of_wan_is_told_before_anything_is_measured(
    wan: Path, tmp_path: Path
) -> None:
    assert vae_folder(wan) == vae_folder(wan / "vae")
    with pytest.raises(ConfigError, match=r"found no config\.json"):
        vae_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "PatchCodec"}')
    with pytest.raises(ConfigError, match="found a PatchCodec"):
        vae_folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        vae_folder(tmp_path)
    (tmp_path / "config.json").write_bytes((wan / "vae/config.json").read_bytes())
    with pytest.raises(WeightsError, match="--vae"):
        next(restored(vae_folder(tmp_path), iter(pictures(1, 16, 16))))


def test_the_command_takes_a_vae_or_says_what_to_give(
    wan: Path, clip: Path, tmp_path: Path
) -> None:
    words = ["eval", "run", f"--source={clip.parent}", f"--edit=m={clip.parent}"]
    words += ["--metric=warp.dis", "--workers=1", f"--out={tmp_path / 'out'}"]
    told = CliRunner().invoke(cli, words)
    assert told.exit_code == 0, told.output
    (note,) = json.loads((tmp_path / "out/run.json").read_text())["notes"]
    assert "--vae" in note
    assert "--vae" in (tmp_path / "out/report.html").read_text()
    told = CliRunner().invoke(cli, [*words, f"--vae={tmp_path}"])
    assert isinstance(told.exception, ConfigError)
    assert "found no config.json" in str(told.exception)
    told = CliRunner().invoke(cli, [*words, f"--vae={wan}", "--no-controls"])
    assert isinstance(told.exception, ConfigError)
    planned = CliRunner().invoke(cli, [*words, f"--vae={wan}", "--dry-run"])
    assert "control: vae" in planned.output
