"""AudioScenic with random tiny models, loaded as in production from the hub's layouts."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from avipipe.annotators.base import HEARING_HZ  # noqa: E402
from avipipe.annotators.imagebind.views import audio_views  # noqa: E402
from avipipe.editor.audio_scenic import tune as tuning  # noqa: E402
from avipipe.editor.audio_scenic.config import ScenicModelsConfig  # noqa: E402
from avipipe.editor.audio_scenic.frequency import LowPass  # noqa: E402
from avipipe.editor.audio_scenic.inflate import inflate, tuned  # noqa: E402
from avipipe.editor.audio_scenic.method import AudioScenic, AudioScenicConfig  # noqa: E402
from avipipe.editor.audio_scenic.trained import load_trained, save_trained  # noqa: E402
from avipipe.editor.audio_scenic.tune import restore  # noqa: E402
from avipipe.editor.common.patch_codec import PatchCodec  # noqa: E402
from avipipe.editor.edit.footage import Footage  # noqa: E402
from avipipe.editor.edit.job import EditSpec, MaskSpec  # noqa: E402
from avipipe.editor.edit.method import Part, Scene  # noqa: E402
from avipipe.editor.edit.video import fit_sound  # noqa: E402
from avipipe.errors import ConfigError, RunError, WeightsError  # noqa: E402
from avipipe.evaluate.extractors.imagebind import ImageBindHuge  # noqa: E402
from tests.edit_models import Quiet  # noqa: E402
from tests.models.tiny_imagebind import imagebind_state  # noqa: E402
from tests.scenic_models import tiny_scenic, unet  # noqa: E402
from tests.sounds import harmonics, noise  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, FRAMES = (96, 64), 9
SPEC = EditSpec(
    instruction="make it rain", audio="rain.wav", mask=MaskSpec(box=(0.3, 0.2, 0.4, 0.6))
)
DONE = "tuned.pt"


def settings(folders: dict[str, Path], models: Any = None, **scenic: Any) -> AudioScenicConfig:
    return AudioScenicConfig.model_validate(
        {
            "models": {**folders, "precision": "fp32", **(models or {})},
            "audio_scenic": {"num_steps": 2, "tuning_steps": 6, **scenic},
            "output": {"size": SIZE, "chunk_frames": FRAMES},
        }
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_scenic(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def loaded(folders: dict[str, Path]) -> AudioScenic:
    return AudioScenic.load(settings(folders))


@pytest.fixture
def method(loaded: AudioScenic) -> AudioScenic:
    """With a network that hears and mixes frames, as a tuned one does; the same for each test."""
    weights = tuned(loaded.components.network.unet).values()
    with torch.no_grad():
        for number, (weight, before) in enumerate(
            zip(weights, loaded.components.untuned, strict=True)
        ):
            generator = torch.Generator().manual_seed(number)
            weight.copy_(before + 0.2 * torch.randn(weight.shape, generator=generator))
    return loaded


def pictures(num_frames: int = FRAMES) -> Any:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (num_frames, SIZE[1], SIZE[0], 3), dtype=np.uint8)


def part(**changes: Any) -> Part:
    mask = np.ones((FRAMES, SIZE[1], SIZE[0]), dtype=bool)
    mask[:, 16:40, 32:72] = False
    values: dict[str, Any] = {
        "frames_FHWC": pictures(),
        "mask_FHW": mask,
        "precision": 0,
        "task": "edit",
        "prompt": "",
        "source_prompt": None,
        "anchor_words": (),
        "wave_N": noise(0.1, duration_s=FRAMES / 24),
        "first_HWC": None,
        "controls": {},
        "references": (),
        "seed": 0,
    }
    return Part(**{**values, **changes})


def edited(method: AudioScenic, given: Part, folder: Path, name: str = "a") -> Any:
    return method.edit(given, folder / f"{name}.pt", Quiet()).frames_FHWC


def test_a_part_goes_to_noise_and_back(method: AudioScenic, tmp_path: Path) -> None:
    told = Quiet()
    result = method.edit(part(), tmp_path / "a.pt", told)
    assert result.frames_FHWC.shape == part().frames_FHWC.shape
    assert result.frames_FHWC.dtype == np.uint8
    assert told.num_done == method.num_steps == len(result.steps) == 4
    sigmas = [step.sigma for step in result.steps]
    assert sigmas[0] == 0
    assert sigmas[1] == sigmas[3] < sigmas[2]  # type: ignore[operator]
    assert np.array_equal(result.shown_FHW, part().mask_FHW)
    again = method.edit(part(), tmp_path / "a.pt", told)
    assert told.num_skipped == 4
    assert np.array_equal(again.frames_FHWC, result.frames_FHWC)


def test_what_is_given_reaches_the_network(method: AudioScenic, tmp_path: Path) -> None:
    everywhere = np.ones_like(part().mask_FHW)
    frames = part().frames_FHWC.copy()
    frames[4] = 255 - frames[4]
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"wave_N": harmonics(300, duration_s=FRAMES / 24)},
        {"mask_FHW": everywhere},
        {"first_HWC": np.zeros_like(frames[0])},
        {"frames_FHWC": frames},
    )
    found = [edited(method, part(**each), tmp_path, str(n)) for n, each in enumerate(changes)]
    for index, one in enumerate(found):
        assert all(not np.array_equal(one, other) for other in found[:index]), changes[index]
    plain = settings({}, models={}).audio_scenic
    without = AudioScenic(method.components, method.config)
    for change in ({"magnitude": 0.0}, {"frequency": 0.0}, {"temperature": 9.0}):
        without.config = method.config.model_copy(
            update={"audio_scenic": plain.model_copy(update=change)}
        )
        assert not np.array_equal(edited(without, part(), tmp_path, str(change)), found[0])


def test_where_all_stays_no_sound_is_heard(method: AudioScenic, tmp_path: Path) -> None:
    nowhere = np.zeros_like(part().mask_FHW)
    sounds = (noise(0.1, duration_s=FRAMES / 24), harmonics(300, duration_s=FRAMES / 24))
    one, other = (
        edited(method, part(mask_FHW=nowhere, wave_N=wave), tmp_path, str(number))
        for number, wave in enumerate(sounds)
    )
    assert np.array_equal(one, other)


def test_the_first_frame_is_the_one_that_was_edited_before(
    method: AudioScenic, tmp_path: Path
) -> None:
    models, first = method.components, pictures()[5]
    found = edited(method, part(first_HWC=first), tmp_path)
    assert np.array_equal(found[0], models.decode(models.encode(first[None]))[0])


def test_offloading_and_tiles_change_no_edit(
    loaded: AudioScenic, folders: dict[str, Path], tmp_path: Path
) -> None:
    restore(tuned(loaded.components.network.unet).values(), loaded.components.untuned)
    other = AudioScenic.load(settings(folders, {"offload": "models", "tiled_vae": True}))
    one, two = (edited(each, part(), tmp_path, str(n)) for n, each in enumerate((loaded, other)))
    assert np.array_equal(one, two)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A video of 20 frames that hum."""
    footage = Footage(tmp_path / "frames")
    footage.write_all(iter(pictures(20)))
    wavfile.write(tmp_path / "hum.wav", HEARING_HZ, harmonics(200, duration_s=1))
    fit_sound(tmp_path / "hum.wav", 20, tmp_path / "hum.flac")
    return Scene(footage, tmp_path / "hum.flac", has_sound=True)


def weights_of(method: AudioScenic) -> list[Any]:
    return [weight.detach().clone() for weight in tuned(method.components.network.unet).values()]


def is_equal(one: list[Any], other: list[Any]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_tuning_that_was_interrupted_goes_on(
    loaded: AudioScenic,
    scene: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tuning, "KEPT_EVERY", 2)
    told = Quiet()
    loaded.fit(scene, tmp_path / "whole", told, seed=0)
    whole = weights_of(loaded)

    class Gone(Quiet):
        def said(self, text: str) -> None:
            if "tuned 4" in text:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loaded.fit(scene, tmp_path / "broken", Gone(), seed=0)
    loaded.fit(scene, tmp_path / "broken", told, seed=0)
    assert [text for text in told.texts if "tuned 2" in text] == told.texts[1:2]  # made once
    assert is_equal(weights_of(loaded), whole)
    assert [path.name for path in (tmp_path / "broken").iterdir()] == [DONE]
    loaded.fit(scene, tmp_path / "other", told, seed=1)
    assert not is_equal(weights_of(loaded), whole)
    loaded.fit(scene, tmp_path / "broken", told, seed=0)
    assert is_equal(weights_of(loaded), whole)
    none = AudioScenic(loaded.components, settings({}, tuning_steps=0))
    none.fit(scene, tmp_path / "none", told, seed=0)  # nothing is left of what was tuned before
    assert is_equal(weights_of(none), list(loaded.components.untuned))


def test_damage_of_what_was_tuned_is_told(
    loaded: AudioScenic, scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / DONE).write_bytes(b"nothing")
    with pytest.raises(RunError, match=DONE):
        loaded.fit(scene, tmp_path / "fit", Quiet(), seed=0)


def test_a_video_without_sound_is_refused(
    loaded: AudioScenic, scene: Scene, tmp_path: Path
) -> None:
    silent = Scene(scene.footage, scene.sound, has_sound=False)
    with pytest.raises(ConfigError, match="this video has none"):
        loaded.fit(silent, tmp_path / "fit", Quiet(), seed=0)


def test_what_is_missing_or_of_no_use_is_told_at_once(loaded: AudioScenic) -> None:
    loaded.check(SPEC)
    loaded.check(SPEC.model_copy(update={"audio": "agent"}))
    wrong = EditSpec(
        instruction="remove the dog",
        source_prompt="a dog",
        controls={"pose": Path("pose.mp4")},
        references=(Path("cat.png"),),
    )
    with pytest.raises(ConfigError) as caught:
        loaded.check(wrong)
    for part_of in (
        *("it needs --audio FILE", "--mask-words: what stays", "makes no deletion"),
        *("--source-prompt is of no use", "--control is", "--reference is of no use"),
    ):
        assert part_of in str(caught.value)
    assert not loaded.fallbacks(SPEC)
    (told,) = loaded.fallbacks(SPEC.model_copy(update={"prompt": "rain"}))
    assert "does not read the prompt" in told


@pytest.mark.parametrize(
    ("of_unet", "told"),
    [
        ({"in_channels": 9}, "takes 9 and gives 4 channels, for latents of 4"),
        ({"num_class_embeds": 3}, "with num_class_embeds"),
    ],
)
def test_weights_of_another_kind_are_refused(
    of_unet: dict[str, Any], told: str, tmp_path: Path
) -> None:
    other = tiny_scenic(tmp_path, of_unet=of_unet)
    with pytest.raises(WeightsError, match=told):
        AudioScenic.load(settings(other))


def test_a_controlnet_of_another_network_is_refused(tmp_path: Path) -> None:
    other = tiny_scenic(tmp_path, of_controlnet={"cross_attention_dim": 16})
    with pytest.raises(WeightsError, match="with other cross_attention_dim"):
        AudioScenic.load(settings(other))


@pytest.mark.parametrize("name", ["diffusion", "controlnet", "depth", "clap"])
def test_a_folder_of_something_else_is_told(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=f"Name the folder of a whole one in models.{name}"):
        AudioScenic.load(settings({**folders, name: tmp_path}))


@pytest.fixture
def trained(folders: dict[str, Path], tmp_path: Path) -> tuple[dict[str, Path], list[Any]]:
    """Folders with what was trained on many videos, and its values."""
    diffusion = tmp_path / "diffusion"
    shutil.copytree(folders["diffusion"], diffusion)
    video = inflate(unet(), 8, LowPass(0.25, 0.25), seed=7)
    with torch.no_grad():
        video.time_embedding.meaning.weight.fill_(0.5)
    save_trained(video, diffusion)
    return {**folders, "diffusion": diffusion}, [*tuned(video).values()]


def test_tuning_begins_with_what_was_trained_before(
    loaded: AudioScenic, trained: tuple[dict[str, Path], list[Any]]
) -> None:
    where, values = trained
    method = AudioScenic.load(settings(where))
    assert is_equal(list(method.components.untuned), values)
    assert is_equal(weights_of(method), values)
    differing = {name for name, value in method.identity.items() if value != loaded.identity[name]}
    assert differing == {"diffusion"}


def test_what_was_trained_of_another_network_is_refused(
    trained: tuple[dict[str, Path], list[Any]],
) -> None:
    folder = trained[0]["diffusion"]
    with pytest.raises(WeightsError, match=r"time_embedding.meaning.weight"):
        load_trained(inflate(unet(), 16, LowPass(0.25, 0.25)), folder, "")
    with pytest.raises(WeightsError, match=r"it lacks \d+ of its tensors"):
        load_trained(inflate(unet(layers_per_block=2), 8, LowPass(0.25, 0.25)), folder, "")
    save_trained(inflate(unet(layers_per_block=2), 8, LowPass(0.25, 0.25)), folder)
    with pytest.raises(WeightsError, match=r"found \d+ more tensors"):
        load_trained(inflate(unet(), 8, LowPass(0.25, 0.25)), folder, "")


def test_a_codec_may_stand_in_place_of_the_vae(tmp_path: Path) -> None:
    channels = {"in_channels": 12, "out_channels": 12}
    other = tiny_scenic(tmp_path, of_unet=channels, of_controlnet={"in_channels": 12})
    shutil.rmtree(other["diffusion"] / "vae")
    PatchCodec(z_dim=12).save_config(other["diffusion"] / "vae")
    method = AudioScenic.load(settings(other))
    blocks = pictures()[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2)
    latents = method.components.encode(blocks)
    assert latents.shape == (FRAMES, 12, SIZE[1] // 8, SIZE[0] // 8)
    assert np.array_equal(method.components.decode(latents), blocks)
    assert edited(method, part(), tmp_path).shape == blocks.shape


@pytest.fixture
def imagebind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny checkpoint of ImageBind, where what measures finds it, too."""
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    torch.save(imagebind_state(), tmp_path / "imagebind_huge.pth")
    return tmp_path / "imagebind_huge.pth"


def test_imagebind_may_read_sounds_in_place_of_clap(
    folders: dict[str, Path], imagebind: Path, tmp_path: Path
) -> None:
    others = {name: folder for name, folder in folders.items() if name != "clap"}
    method = AudioScenic.load(settings(others, {"imagebind": imagebind}))
    models = method.components
    assert method.identity.keys() == {*others, "imagebind"}
    wave_N = noise(0.1, duration_s=3)
    views = audio_views(wave_N[None], sample_rate_hz=HEARING_HZ, is_shared=False)
    measuring = ImageBindHuge()
    measuring.setup()
    found = models.sound.meaning(wave_N)
    np.testing.assert_allclose(found.numpy(), measuring.audio(views).mean(axis=0), atol=1e-6)
    assert models.network.unet.time_embedding.meaning.in_features == len(found)
    assert edited(method, part(), tmp_path).shape == part().frames_FHWC.shape


def test_what_is_no_imagebind_is_told(folders: dict[str, Path], imagebind: Path) -> None:
    others = {name: folder for name, folder in folders.items() if name != "clap"}
    lost = imagebind_state()
    del lost["modality_trunks.audio.blocks.1.attn.bias_k"]
    for tensors, told in ((lost, "blocks.1.attn.bias_k"), ({"a": torch.ones(1)}, "KeyError")):
        torch.save(tensors, imagebind)
        with pytest.raises(WeightsError, match=rf"{told}.*models.imagebind"):
            AudioScenic.load(settings(others, {"imagebind": imagebind}))
    with pytest.raises(ValueError, match="clap is not read beside imagebind"):
        ScenicModelsConfig(clap=folders["clap"], imagebind=imagebind)


def test_sizes_that_are_no_cells_are_refused(folders: dict[str, Path]) -> None:
    config = settings(folders)
    output = config.output.model_copy(update={"size": (100, 64)})
    with pytest.raises(ConfigError, match="sides that 16 divides, got 100x64"):
        AudioScenic.load(config.model_copy(update={"output": output}))


def test_too_little_memory_is_told_before_anything_is_loaded(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "diffusion"
    shutil.copytree(folders["diffusion"], folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not looked at")
    monkeypatch.setattr("avipipe.editor.common.needs.device_bytes", lambda device: 1000)
    with pytest.raises(RunError) as caught:
        AudioScenic.load(settings({**folders, "diffusion": folder}))
    told = str(caught.value)
    for words in ("too little memory", "tuning", "solving", "models.offload=models"):
        assert words in told
    assert "blocks" not in told
