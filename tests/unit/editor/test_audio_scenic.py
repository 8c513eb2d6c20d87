"""The parts of AudioScenic, each by what is known of it exactly."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.annotators.base import HEARING_HZ
from avipipe.editor.audio_scenic.config import ScenicSettings
from avipipe.editor.audio_scenic.course import Course, follow, levels_of
from avipipe.editor.audio_scenic.frequency import FrequencyFuser, LowPass, fuse
from avipipe.editor.audio_scenic.hearing import (
    NUM_BANDS,
    Heard,
    loudness,
    mel_bands,
    scene_cells,
)
from avipipe.editor.audio_scenic.inflate import inflate, tuned
from avipipe.editor.audio_scenic.tune import Excerpt, tune, windows
from avipipe.editor.common.diffusion import Prediction, Schedule
from avipipe.errors import ConfigError
from avipipe.manifests.samples import FPS
from tests.scenic_models import TEXT_DIM, unet
from tests.sounds import harmonics, noise

FRAMES, CELLS, MEANING = 5, (6, 8), 8
LOW = LowPass(0.25, 0.25)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(8, 10, 12), (5, 7, 9), (1, 1, 1)])
def test_the_filter_lets_all_through_that_never_changes(size: tuple[int, int, int]) -> None:
    low = LOW.at(size)
    assert low[0, 0, 0] == 1
    video = normal(3, *size)
    assert torch.allclose(fuse(video, torch.ones(1), low), video, atol=1e-5)
    still = fuse(video, torch.zeros(1), low).mean((1, 2, 3))
    assert torch.allclose(still, video.mean((1, 2, 3)), atol=1e-5)


def test_high_frequencies_are_weighed_and_low_ones_are_not() -> None:
    low, size = LowPass(0.25, 0.25, "ideal").at((8, 8, 8)), (8, 8, 8)
    time = torch.arange(8.0)[:, None, None].expand(size)
    slow, fast = torch.full(size, 0.3), torch.cos(torch.pi * time)
    fused = fuse(slow + fast, torch.tensor(3.0), low)
    assert torch.allclose(fused, slow + 3 * fast, atol=1e-5)


def test_the_fuser_begins_as_identity_and_strength_0_leaves_all() -> None:
    fuser = FrequencyFuser(NUM_BANDS, 4)
    video, mel = normal(FRAMES, 4, *CELLS), torch.rand(FRAMES, NUM_BANDS)
    low = LOW.at((FRAMES, *CELLS))
    assert torch.allclose(fuser(video, mel, low, 1.0), video, atol=1e-5)
    for weight in fuser.parameters():
        torch.nn.init.normal_(weight)
    assert torch.allclose(fuser(video, mel, low, 0.0), video, atol=1e-5)
    assert not torch.allclose(fuser(video, mel, low, 1.0), video, atol=1e-2)


def test_loudness_is_1_on_average_and_follows_the_sound() -> None:
    quiet = harmonics(440, duration_s=1)
    wave = np.concatenate([0.1 * quiet, quiet])
    found = loudness(wave, 2 * FPS, 0.1)
    assert found.mean() == pytest.approx(1)
    assert found[FPS + 1 :].min() > 1 > found[: FPS - 1].max()
    even = loudness(wave, 2 * FPS, 1e6)
    assert torch.allclose(even, torch.ones(2 * FPS), atol=1e-4)
    assert torch.equal(loudness(np.zeros(999, np.float32), 7, 0.1), torch.ones(7))


def test_strength_of_magnitude_sways_the_gains() -> None:
    assert torch.equal(heard(magnitude=0.0).gains, torch.ones(FRAMES))
    assert torch.allclose(heard().gains, heard().loudness_F)
    assert heard(magnitude=0.5).gains.mean() == pytest.approx(1)


def test_mel_bands_tell_frames_and_pitches_apart() -> None:
    silence = np.zeros(HEARING_HZ, np.float32)
    bands = mel_bands(np.concatenate([harmonics(440, duration_s=1), silence]), 2 * FPS)
    assert bands.shape == (2 * FPS, NUM_BANDS)
    assert bands[: FPS - 2].max(1).values.min() > 0.5
    assert bands[FPS + 2 :].abs().max() < 1e-6
    high = mel_bands(harmonics(3000, duration_s=1, num_partials=1), FPS)
    assert high[5].argmax() > bands[5].argmax()
    assert mel_bands(noise(0.1, duration_s=1), FPS)[5].min() > 0.1  # no band is between two bins


def test_a_cell_is_of_the_scene_if_all_its_pixels_are() -> None:
    mask = np.ones((1, 16, 16), np.bool_)
    mask[0, 3, 9] = False
    cells = scene_cells(mask, (2, 2))
    assert cells.tolist() == [[[[1, 0], [1, 1]]]]
    assert heard(scene_F1hw=cells).scene_at((1, 1)).tolist() == [[[[0]]]]


def heard(**changes: object) -> Heard:
    values: dict[str, object] = {
        "meaning_D": normal(MEANING, seed=3),
        "loudness_F": torch.tensor([0.2, 0.5, 1.0, 1.3, 2.0]),
        "mel_FM": torch.rand(FRAMES, NUM_BANDS, generator=torch.Generator().manual_seed(4)),
        "scene_F1hw": torch.ones(FRAMES, 1, *CELLS),
    }
    return Heard(**{**values, **changes})  # type: ignore[arg-type]


def network(*, is_fresh: bool) -> object:
    """An inflated UNet; if it is not fresh, nothing of it is zero any more."""
    torch.manual_seed(0)
    found = inflate(unet(), MEANING, LOW).eval()
    if not is_fresh:
        with torch.no_grad():
            for number, weight in enumerate(tuned(found).values()):
                weight.add_(0.2 * normal(*weight.shape, seed=number))
    return found


@torch.no_grad()
def says(model: object, latents: Tensor, sound: Heard | None) -> Tensor:
    words = normal(1, 3, TEXT_DIM, seed=2).expand(len(latents), -1, -1)
    options = {"timestep_cond": sound, "cross_attention_kwargs": {"heard": sound}}
    found: Tensor = model(latents, torch.tensor(7), words, **options, return_dict=False)[0]  # type: ignore[operator]
    return found


LATENTS = normal(FRAMES, 4, *CELLS, seed=1)


def test_a_fresh_inflation_does_to_each_frame_what_the_images_net_did() -> None:
    torch.manual_seed(0)
    flat = unet().eval()
    words = normal(1, 3, TEXT_DIM, seed=2)
    with torch.no_grad():
        one_by_one = torch.cat(
            [flat(frame[None], torch.tensor(7), words, return_dict=False)[0] for frame in LATENTS]
        )
    fresh = network(is_fresh=True)
    assert torch.allclose(says(fresh, LATENTS, None), one_by_one, atol=1e-5)
    changed = LATENTS.clone()
    changed[0] += 1
    assert torch.equal(says(fresh, changed, None)[1:], says(fresh, LATENTS, None)[1:])
    tuned_ = network(is_fresh=False)
    assert not torch.equal(says(tuned_, changed, None)[1:], says(tuned_, LATENTS, None)[1:])


def test_a_sound_is_heard_in_the_scene_alone() -> None:
    model = network(is_fresh=False)
    silent = says(model, LATENTS, None)
    nowhere = says(model, LATENTS, heard(scene_F1hw=torch.zeros(FRAMES, 1, *CELLS)))
    assert torch.equal(nowhere, silent)
    everywhere = says(model, LATENTS, heard())
    assert not torch.allclose(everywhere, silent, atol=1e-3)


@pytest.mark.parametrize("what", ["meaning_D", "loudness_F", "mel_FM"])
def test_all_of_a_sound_counts(what: str) -> None:
    model, plain = network(is_fresh=False), heard()
    other = heard(**{what: getattr(plain, what).roll(1, 0)})
    assert not torch.allclose(says(model, LATENTS, other), says(model, LATENTS, plain), atol=1e-4)


def test_without_strengths_only_the_meaning_counts() -> None:
    model, off = network(is_fresh=False), {"magnitude": 0.0, "frequency": 0.0}
    plain = heard(**off)
    other = heard(**off, loudness_F=plain.loudness_F.flip(0), mel_FM=plain.mel_FM.flip(0))
    assert torch.allclose(says(model, LATENTS, other), says(model, LATENTS, plain), atol=1e-5)


def test_all_that_is_new_and_the_queries_are_tuned() -> None:
    model = network(is_fresh=True)
    before = set(unet().state_dict())
    names = {name.replace(".block.", ".") for name in tuned(model)}
    new = {name.replace(".block.", ".") for name in model.state_dict()}  # type: ignore[attr-defined]
    new = {name.replace("time_embedding.embedding.", "time_embedding.") for name in new} - before
    assert {name for name in names if "to_q" in name and name in before}
    assert names - before == new
    assert all("to_q" in name for name in names & before)


KEPT = torch.linspace(0.9999, 0.01, 100).double()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_step_and_its_return_cancel(prediction: Prediction) -> None:
    schedule = Schedule(KEPT, prediction)
    picture, noise = normal(1, 4, 2, 2), normal(1, 4, 2, 2, seed=1)
    for here, there in [(-1, 30), (30, 80), (80, 99)]:
        at, then = (schedule.noisy(picture, noise, level) for level in (here, there))
        for latents, level in ((at, here), (then, there)):
            said = schedule.target(picture, noise, level)
            assert torch.allclose(schedule.noise(latents, said, level), noise, atol=1e-5)
        assert torch.allclose(schedule.step(at, noise, here, there), then, atol=1e-5)
        assert torch.allclose(schedule.step(then, noise, there, here), at, atol=1e-5)


class Perfect:
    """A `SceneNetwork` that knows of all pictures that their values are normal about 0.5.

    Attributes:
        asked: timesteps, and whether a sound was heard and shapes were seen.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.asked = schedule, list[tuple[int, bool, bool]]()

    def says(
        self, latents: Tensor, timestep: int, sound: Heard | None, shapes: Tensor | None = None
    ) -> Tensor:
        self.asked.append((timestep, sound is not None, shapes is not None))
        alpha, sigma = self.schedule.shares(timestep)
        spread, middle = 0.2, 0.5
        noise = sigma * (latents - alpha * middle) / ((alpha * spread) ** 2 + sigma**2)
        picture = (latents - sigma * noise) / alpha
        return self.schedule.target(picture, noise, timestep)


def test_to_noise_and_back_gives_the_source_back_whatever_is_predicted() -> None:
    source = 0.5 + 0.2 * normal(FRAMES, 4, *CELLS)
    course = Course(source, heard(), torch.zeros(1), None, torch.zeros(4, *CELLS), 50)
    results = list[Tensor]()
    for prediction in get_args(Prediction):
        schedule = Schedule(torch.linspace(0.9999, 0.01, 1000).double(), prediction)
        network = Perfect(schedule)
        results.append(follow(network, schedule, course))  # type: ignore[arg-type]
        there, back = network.asked[:50], network.asked[50:]
        assert [level for level, *_ in there] == [level for level, *_ in reversed(back)]
        assert not any(is_heard or is_held for _, is_heard, is_held in there)
        assert all(is_heard and is_held for _, is_heard, is_held in back)
    assert (results[0] - source).abs().mean() < 0.04
    assert torch.allclose(results[0], results[1], atol=1e-4)


def test_steps_lead_to_noise_and_back() -> None:
    schedule = Schedule(KEPT, "epsilon")
    assert levels_of(schedule, 4) == [-1, 24, 49, 74, 99, 74, 49, 24, -1]
    assert schedule.shares(-1) == (1, 0)
    with pytest.raises(ConfigError, match="at most 100,"):
        levels_of(schedule, 101)


def test_tuning_lowers_the_loss(tmp_path: Path) -> None:
    model, losses = network(is_fresh=True), list[float]()
    excerpt = Excerpt(normal(1, 4, *CELLS).expand(FRAMES, -1, -1, -1), heard())

    def ask(latents: Tensor, timestep: int, sound: Heard) -> Tensor:
        words = torch.zeros(len(latents), 3, TEXT_DIM)
        options = {"timestep_cond": sound, "cross_attention_kwargs": {"heard": sound}}
        said: Tensor = model(  # type: ignore[operator]
            latents, torch.tensor(timestep), words, **options, return_dict=False
        )[0]
        return said

    tune(
        ask,
        tuned(model),
        Schedule(KEPT, "epsilon"),
        [excerpt],
        ScenicSettings(tuning_steps=75, learning_rate=0.02),
        tmp_path,
        seed=0,
        told=lambda step, loss: losses.append(loss),
    )
    assert len(losses) == 3
    assert losses[-1] < 0.95 * losses[0]
    assert tuned(model)["time_embedding.meaning.weight"].abs().max() > 0  # it hears


def test_windows_cover_all_frames_evenly() -> None:
    assert windows(5, 24) == [range(5)]
    assert windows(54, 24) == [range(24), range(15, 39), range(30, 54)]
    assert windows(48, 24) == [range(24), range(24, 48)]
