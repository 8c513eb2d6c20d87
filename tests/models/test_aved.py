"""AvED with a tiny random Stable Diffusion and AudioLDM 2, loaded as in production."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import torch
from diffusers.utils import logging as diffusers_logging

from avipipe.annotators.base import Wave
from avipipe.audio_agent.files import write_sound
from avipipe.audio_agent.tools import Sound
from avipipe.editor.aved.method import Aved, AvedConfig, native_frames, word_spans
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.job import EditSpec
from avipipe.editor.edit.method import Part, Result, Scene
from avipipe.errors import ConfigError, RunError, WeightsError
from examples.tiny.audioldm2 import TinySounds
from examples.tiny.stable_diffusion import TinyPictures
from tests.aved_models import tiny_pictures, tiny_sounds
from tests.edit_models import Quiet

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, FRAMES = (64, 48), 25
SPEC = EditSpec(instruction="make it green", prompt="a green cube", source_prompt="a red cube")


def settings(models: Path, ways: Any = None, **aved: Any) -> AvedConfig:
    return AvedConfig.model_validate(
        {
            "models": {"picture": models / "sd", "sound": models / "sound", **(ways or {})},
            "aved": {"num_steps": 2, "picture_block": 1, **aved},
            "output": {"size": SIZE, "chunk_frames": FRAMES},
        }
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_pictures(folder / "sd")
    tiny_sounds(folder / "sound")
    return folder


@pytest.fixture(scope="module")
def method(models: Path) -> Aved:
    return Aved.load(settings(models))


def part(**changes: Any) -> Part:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "frames_FHWC": rng.integers(0, 256, (FRAMES, SIZE[1], SIZE[0], 3), dtype=np.uint8),
        "mask_FHW": np.ones((FRAMES, SIZE[1], SIZE[0]), dtype=bool),
        "precision": 0,
        "task": "edit",
        "prompt": "a green cube",
        "source_prompt": "a red cube",
        "anchor_words": (),
        "wave_N": (0.1 * rng.standard_normal(16_667)).astype(np.float32),
        "first_HWC": None,
        "controls": {},
        "references": (),
        "seed": 0,
    }
    return Part(**{**values, **changes})


def heard(result: Result) -> Wave:
    assert result.sound_N is not None
    return result.sound_N


def test_a_part_is_edited_step_by_step(method: Aved, tmp_path: Path) -> None:
    told, given = Quiet(), part()
    result = method.edit(given, tmp_path / "a.pt", told)
    assert told.num_done == method.num_steps == len(result.steps) == 2
    assert result.frames_FHWC.shape == given.frames_FHWC.shape
    assert result.native_FHWC is not None
    assert result.native_FHWC.shape == (4, SIZE[1], SIZE[0], 3)
    assert heard(result).shape == (16_667,)
    assert 0 < np.abs(heard(result)).max() <= 1
    assert 0 < result.shown_FHW.mean() < 1
    again = method.edit(given, tmp_path / "a.pt", told)
    assert told.num_skipped == 2
    assert np.array_equal(again.frames_FHWC, result.frames_FHWC)
    assert np.array_equal(heard(again), heard(result))


def test_what_is_given_reaches_picture_and_sound(method: Aved, tmp_path: Path) -> None:
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"prompt": "a green ball"},
        {"source_prompt": "a red ball"},
        {"anchor_words": ("cube",)},
        {"seed": 1},
    )
    found = [
        method.edit(part(**each), tmp_path / f"{n}.pt", Quiet()) for n, each in enumerate(changes)
    ]
    for index, one in enumerate(found):
        for other in found[:index]:
            assert not np.array_equal(one.frames_FHWC, other.frames_FHWC), changes[index]
            assert not np.array_equal(heard(one), heard(other)), changes[index]


def test_a_mask_limits_pictures_alone(method: Aved, tmp_path: Path) -> None:
    mask = np.zeros_like(part().mask_FHW)
    mask[:, :16, :16] = True
    result = method.edit(part(mask_FHW=mask), tmp_path / "a.pt", Quiet())
    assert not (result.shown_FHW & ~mask).any()
    empty = method.edit(part(mask_FHW=mask & ~mask), tmp_path / "b.pt", Quiet())
    assert not empty.shown_FHW.any()
    assert np.array_equal(empty.frames_FHWC, part().frames_FHWC)
    assert heard(empty).any()


def test_a_video_of_one_frame_is_refused(method: Aved, tmp_path: Path) -> None:
    whole = part()
    one = part(
        frames_FHWC=whole.frames_FHWC[:1],
        mask_FHW=whole.mask_FHW[:1],
        wave_N=np.zeros(667, np.float32),
    )
    with pytest.raises(ConfigError, match="two frames or more"):
        method.edit(one, tmp_path / "a.pt", Quiet())


def test_a_later_part_goes_on_from_the_frame_it_shares(method: Aved, tmp_path: Path) -> None:
    first = np.zeros_like(part().frames_FHWC[0])
    result = method.edit(part(first_HWC=first), tmp_path / "a.pt", Quiet())
    plain = method.edit(part(), tmp_path / "b.pt", Quiet())
    assert np.array_equal(result.frames_FHWC[0], first)
    assert np.array_equal(result.frames_FHWC[3:], plain.frames_FHWC[3:])


def test_models_that_predict_something_else_are_refused(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models / "sound", folder / "sound")
    tiny_pictures(folder / "sd", prediction="sample")
    with pytest.raises(WeightsError, match="expected a network that predicts epsilon or v_pred"):
        Aved.load(settings(folder))


@pytest.mark.slow
def test_velocity_models_edit_too(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    shutil.rmtree(folder / "sd")
    tiny_pictures(folder / "sd", prediction="v_prediction")
    method = Aved.load(settings(folder))
    assert method.components.schedules["picture"].prediction == "v_prediction"
    assert method.edit(part(), tmp_path / "a.pt", Quiet()).steps


@pytest.mark.slow
def test_offloading_and_tiles_change_no_edit(method: Aved, models: Path, tmp_path: Path) -> None:
    other = Aved.load(settings(models, {"offload": "models", "tiled_vae": True}))
    plain, found = (
        each.edit(part(), tmp_path / f"{n}.pt", Quiet()) for n, each in enumerate((method, other))
    )
    assert np.array_equal(found.frames_FHWC, plain.frames_FHWC)
    assert np.array_equal(heard(found), heard(plain))


def test_words_of_the_edit_are_what_the_other_prompt_lacks(method: Aved) -> None:
    source, target = word_spans("a red  cube rolls", "a green cube rolls", ())
    assert (source, target) == ([(2, 5)], [(2, 7)])
    assert word_spans("a red cube", "a green cube", ("Cube",)) == ([], [(8, 12)])
    components = method.components
    marks = components.marks_for_pictures("a red cube", [(2, 5)])
    words = components.pictures.tokenizer("a red cube").input_ids
    tokens = components.pictures.tokenizer.convert_ids_to_tokens(words)
    assert [t for t, m in zip(tokens, marks.tolist(), strict=True) if m] == ["red</w>"]
    assert components.marks_for_sounds("a red cube", [(2, 5)]).tolist() == [
        *(False, True, False, False, False),
    ]


def test_the_middle_of_each_quarter_of_a_second_is_edited() -> None:
    assert native_frames(25) == [3, 9, 15, 21]
    assert len(native_frames(241)) == 40
    assert native_frames(241)[-1] == 237


def test_what_is_missing_or_of_no_use_is_told_at_once(method: Aved) -> None:
    method.check(SPEC)
    wrong = EditSpec(
        instruction="make it green",
        controls={"pose": Path("pose.mp4")},
        references=(Path("cat.png"),),
        audio="agent",
    )
    with pytest.raises(ConfigError) as caught:
        method.check(wrong)
    for part_of in (
        "needs --source-prompt",
        "needs --prompt",
        "--control is",
        "--reference is of no use",
        "--audio, as it edits the sound itself, is of no use",
    ):
        assert part_of in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source_prompt": "A Green, cube."}, "the prompts say the same"),
        ({"anchor_words": ("dog",)}, "got 'dog'"),
        (
            {"source_prompt": f"{'a ' * 80}cube", "prompt": f"{'a ' * 80}ball"},
            "beyond what a model reads",
        ),
    ],
)
def test_prompts_must_differ_in_what_is_read(
    changes: dict[str, Any], told: str, method: Aved
) -> None:
    with pytest.raises(ConfigError, match=told):
        method.check(SPEC.model_copy(update=changes))


def test_a_silent_video_is_refused(method: Aved, tmp_path: Path) -> None:
    path, zeros = tmp_path / "audio.flac", np.zeros((2, 48_000), np.float32)
    write_sound(path, Sound(zeros, 48_000))
    for has_sound in (False, True):
        with pytest.raises(ConfigError, match="the video has no sound"):
            method.fit(Scene(Footage(tmp_path), path, has_sound), tmp_path, Quiet(), seed=0)
    write_sound(path, Sound(zeros + 0.1, 48_000))
    method.fit(Scene(Footage(tmp_path), path, has_sound=True), tmp_path, Quiet(), seed=0)


def named(folder: Path, kind: str) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": kind}))


def test_weights_of_another_kind_are_refused(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    named(folder / "sd", "StableDiffusionXLPipeline")
    with pytest.raises(WeightsError, match="a StableDiffusionPipeline, found a StableDiffusionXL"):
        Aved.load(settings(folder))
    shutil.rmtree(folder / "sd")
    tiny_pictures(folder / "sd", in_channels=9)
    with pytest.raises(WeightsError, match=r"takes 9 and gives 4 channels, for latents of 4"):
        Aved.load(settings(folder))
    with pytest.raises(WeightsError, match="cannot be loaded as a StableDiffusionPipeline"):
        Aved.load(settings(tmp_path))


def test_blocks_and_sizes_that_do_not_fit_are_refused(models: Path) -> None:
    with pytest.raises(ConfigError, match=r"aved.picture_block: .* one of 1, got 0"):
        Aved.load(settings(models, picture_block=0))
    with pytest.raises(ConfigError, match=r"aved.sound_block: .* one of 0, got 3"):
        Aved.load(settings(models, sound_block=3))
    config = settings(models)
    odd = config.model_copy(update={"output": config.output.model_copy(update={"size": (60, 48)})})
    with pytest.raises(ConfigError, match="sides that 8 divides, got 60x48"):
        Aved.load(odd)


def test_bars_that_were_turned_off_stay_off(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusers.utils.logging._tqdm_active", False)
    Aved.load(settings(models))
    assert not diffusers_logging.is_progress_bar_enabled()


def test_too_little_memory_is_told_before_anything_is_loaded(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    (folder / "sd" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not looked at")
    monkeypatch.setattr("avipipe.editor.aved.memory.device_bytes", lambda device: 1000)
    with pytest.raises(RunError, match=r"(?s)too little memory.*denoising.*models.offload=models"):
        Aved.load(settings(folder))


def test_too_little_memory_at_work_is_told_with_what_the_method_has(
    method: Aved, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Aved, "_joint_edit", lambda *_: torch.empty(1 << 60))
    with pytest.raises(RunError, match="too little memory for 25 frames of 64x48") as caught:
        method.edit(part(), tmp_path / "state.pt", Quiet())
    assert "--offload models, " in str(caught.value)
    assert "blocks" not in str(caught.value)


def test_codecs_without_weights_take_the_place_of_both_vaes(tmp_path: Path) -> None:
    """As in the models that `make edit-tiny METHOD=aved` trains: around a mask nothing changes."""
    TinyPictures.random().save(tmp_path / "sd")
    TinySounds.random().save(tmp_path / "sound")
    method = Aved.load(settings(tmp_path, num_steps=1))
    assert method.components.mel_form.rate_hz == 16_000
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (FRAMES, SIZE[1] // 4, SIZE[0] // 4, 3), dtype=np.uint8)
    frames_FHWC = blocks.repeat(4, 1).repeat(4, 2)
    mask_FHW = np.zeros(frames_FHWC.shape[:3], dtype=bool)
    mask_FHW[:, :, 32:] = True
    result = method.edit(
        part(frames_FHWC=frames_FHWC, mask_FHW=mask_FHW), tmp_path / "state", Quiet()
    )
    assert result.native_FHWC is not None
    is_kept = result.native_FHWC == frames_FHWC[native_frames(FRAMES)]
    assert is_kept[:, :, :32].all()
    assert not is_kept[:, :, 32:].all()
    assert len(heard(result)) == 16_667
