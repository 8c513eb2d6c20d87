"""Trains a tiny Stable Diffusion to change backdrops by tones, for AudioScenic: minutes on a CPU.

    python -m examples.tiny.train_audio_scenic demo/scenic
    avipipe edit … --method audio_scenic --model demo/scenic/diffusion

The folder has a Stable Diffusion with AudioScenic's own layers beside it, a CLAP, a Depth Anything
and a ControlNet, all as hubs have them. The latter two are as they begin: depth is random, and
as a ControlNet begins with zeros, it holds no shapes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

from avipipe.annotators.base import HEARING_HZ
from avipipe.annotators.signal import resample
from avipipe.editor.audio_scenic.config import ScenicSettings
from avipipe.editor.audio_scenic.frequency import LowPass
from avipipe.editor.audio_scenic.hearing import Heard, loudness, mel_bands, scene_cells
from avipipe.editor.audio_scenic.inflate import inflate
from avipipe.editor.audio_scenic.network import SceneNetwork
from avipipe.editor.audio_scenic.readers import SoundReader, read_blank
from avipipe.editor.audio_scenic.trained import save_trained
from avipipe.editor.common.diffusion import Schedule, load_schedule
from avipipe.editor.common.image_codec import ImageCodec
from avipipe.editor.common.patch_codec import PatchCodec
from avipipe.media.normalize import SAMPLE_RATE_HZ
from examples.tiny.backdrops import Backdrop, draw_backdrop
from examples.tiny.scenic_parts import depth_reader, write_text_reader
from examples.tiny.shapes import RGB

UNET: Any = UNet2DConditionModel
CONTROLNET: Any = ControlNetModel
SCHEDULER: Any = DDIMScheduler

CHANNELS = 3
"""Of latents: the mean colour of a cell of 8 x 8 pixels."""

WIDTH = 32
"""Of the network, which has a single level: a colour has to be seen everywhere at once."""

TEXT_DIM, NUM_TOKENS = 8, 4
"""Of the text, which is always blank."""

MEANING_DIM = 16
"""Of a sound's embedding."""

TRAINED_FRAMES = 8
"""Of the videos that are learnt from: edited may be longer ones."""

NUM_SCENES = 400
"""That are learnt from: a shape in as many places as a network of this size needs."""

HEARING_STEPS, HEARD_SCENES = 40, 48
"""Of CLAP, and the sounds that it learns from: after that, it tells all tones apart."""

STILL_STEPS, VIDEO_STEPS = 800, 400
"""Of the network: colours are learnt from single frames, and loudness from videos. Both take little
more than a minute of one CPU, after which six of six edits have the new colour."""

BATCH = 16
"""Frames of a step that learns from frames."""

LR = 3e-3
"""Of AdamW, after 50 steps of warm-up; over the last third it falls to 0."""

NOISINESS = 0.6
"""Power of what is drawn from 0 to 1 for a timestep: below 1, what is noisy is seen more often, as
there alone the sound decides."""

NO_SOUND, NO_MASK = 0.25, 0.25
"""Shares of frames or videos without a sound, as the way to noise needs it; and with one that the
shape hears as well, as in tuning."""

Told = Callable[[str, int, float], None]
"""Is told what is learnt, a step and its loss."""


@dataclass(frozen=True, slots=True)
class TinyScenic:
    """The parts that learn, and those by which they do.

    Attributes:
        network: with an inflated UNet.
        own: the parameters of the UNet of images in it, by its own names.
    """

    network: SceneNetwork
    own: dict[str, nn.Parameter]
    sound: SoundReader
    codec: ImageCodec
    schedule: Schedule

    @classmethod
    def begin(cls, folder: Path, seed: int = 0) -> "TinyScenic":
        """Write what is not learnt to a folder, and lay out what is."""
        torch.manual_seed(seed)
        diffusion = folder / "diffusion"
        write_text_reader(diffusion, TEXT_DIM, NUM_TOKENS)
        SCHEDULER(prediction_type="v_prediction").save_pretrained(diffusion / "scheduler")
        codec = PatchCodec(z_dim=CHANNELS)
        codec.save_config(diffusion / "vae")
        depth_reader().save_pretrained(folder / "depth")
        CONTROLNET(**_sizes(), conditioning_embedding_out_channels=(4, 4, 4, 4)).save_pretrained(
            folder / "controlnet"
        )
        unet = UNET(**_sizes(), out_channels=CHANNELS, up_block_types=("CrossAttnUpBlock2D",))
        own = dict(unet.named_parameters())
        settings = ScenicSettings()
        low = LowPass(settings.space_stop, settings.time_stop, settings.response)
        inflate(unet, MEANING_DIM, low, seed=seed)
        blank_1LD = read_blank(diffusion, "")
        network = SceneNetwork(unet, None, blank_1LD, torch.float32, 0.0)
        schedule = load_schedule(diffusion / "scheduler", "")
        return cls(network, own, _sound_reader(), ImageCodec(codec), schedule)

    def finish(self, folder: Path) -> None:
        """Write what was learnt to the folder of `begin`."""
        diffusion = folder / "diffusion"
        unet = UNET.from_config(self.network.unet.config)
        unet.load_state_dict({name: weight.detach() for name, weight in self.own.items()})
        unet.save_pretrained(diffusion / "unet")
        save_trained(self.network.unet, diffusion)
        self.sound.model.save_pretrained(folder / "clap")
        self.sound.extractor.save_pretrained(folder / "clap")


def _sizes() -> dict[str, Any]:
    """Those of the UNet that its ControlNet shares."""
    return {
        "in_channels": CHANNELS,
        "block_out_channels": (WIDTH,),
        "down_block_types": ("CrossAttnDownBlock2D",),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 2,
        "cross_attention_dim": TEXT_DIM,
    }


def _sound_reader() -> SoundReader:
    layers = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = ClapConfig(
        text_config={**layers, "vocab_size": 8, "projection_dim": MEANING_DIM},
        audio_config={
            "patch_size": 16,
            "patch_stride": [16, 16],
            "patch_embeds_hidden_size": 16,
            "hidden_size": 32,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "projection_dim": MEANING_DIM,
            "enable_fusion": False,
        },
        projection_dim=MEANING_DIM,
    )
    extractor = ClapFeatureExtractor(truncation="rand_trunc", max_length_s=1)
    return SoundReader(ClapModel(config), extractor)


def learn_hearing(
    sound: SoundReader, scenes: Sequence[Backdrop], told: Told, *, seed: int = 0
) -> None:
    """Have CLAP tell tones apart: the embedding of each colour's goes its own way."""
    model, rate_hz = sound.model, sound.extractor.sampling_rate
    inputs = sound.extractor(
        [scene.tone() for scene in scenes],
        truncation="rand_trunc",
        sampling_rate=rate_hz,
        return_tensors="pt",
    )
    features = inputs["input_features"]
    colours = torch.tensor([list(RGB).index(scene.colour) for scene in scenes])
    ways_CD = torch.eye(MEANING_DIM)[: len(RGB)]
    optimiser = torch.optim.AdamW(
        [*model.audio_model.parameters(), *model.audio_projection.parameters()], lr=2e-3
    )
    generator = torch.Generator().manual_seed(seed)
    model.train()  # it begins with a batch norm
    for step in range(HEARING_STEPS):
        rows = torch.randint(len(scenes), (BATCH,), generator=generator)
        found_BD = model.get_audio_features(features[rows]).pooler_output
        scores_BC = 10 * functional.normalize(found_BD, dim=-1) @ ways_CD.T
        loss = functional.cross_entropy(scores_BC, colours[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        told("hearing", step + 1, loss.item())
    model.eval()


@dataclass(frozen=True, slots=True)
class Lessons:
    """Scenes as they are shown: latents (N, F, C, h, w), and what is heard with each."""

    latents: Tensor
    heard: Sequence[Heard]

    @classmethod
    def of(cls, scenes: Sequence[Backdrop], parts: TinyScenic) -> "Lessons":
        """Encode scenes; what is heard is heard around the shapes."""
        latents = torch.stack([parts.codec.encode(scene.frames()) for scene in scenes])
        size = latents.shape[-2:]
        return cls(latents, [_heard(scene, parts.sound, (size[0], size[1])) for scene in scenes])


def _heard(scene: Backdrop, sound: SoundReader, cells: tuple[int, int]) -> Heard:
    wave_N = resample(scene.tone(), from_hz=SAMPLE_RATE_HZ, to_hz=HEARING_HZ)
    num_frames, temperature = len(scene.loudness_F), ScenicSettings().temperature
    return Heard(
        sound.meaning(wave_N),
        loudness(wave_N, num_frames, temperature),
        mel_bands(wave_N, num_frames),
        scene_cells(~scene.mask, cells),
    )


def train(parts: TinyScenic, lessons: Lessons, told: Told, *, seed: int = 0) -> None:
    """Learn colours from single frames, then loudness from videos.

    Frames of several videos may be shown at once only as long as what goes along time does nothing,
    as at the beginning.
    """
    generator = torch.Generator().manual_seed(seed)
    meaning = parts.network.unet.time_embedding.meaning
    _learn(
        [*parts.own.values(), *meaning.parameters()],
        STILL_STEPS,
        lambda: _loss_of_stills(parts, lessons, generator),
        lambda step, loss: told("frames", step, loss),
    )
    _learn(
        list(parts.network.unet.parameters()),
        VIDEO_STEPS,
        lambda: _loss_of_video(parts, lessons, generator),
        lambda step, loss: told("videos", step, loss),
    )


def _learn(
    weights: list[nn.Parameter],
    steps: int,
    loss_of: Callable[[], Tensor],
    told: Callable[[int, float], None],
) -> None:
    optimiser = torch.optim.AdamW(weights, lr=LR, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    course = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / 50, 3 * (1 - step / steps))
    )
    for step in range(steps):
        loss = loss_of()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        course.step()
        told(step + 1, loss.item())


def _loss_of_stills(parts: TinyScenic, lessons: Lessons, generator: torch.Generator) -> Tensor:
    """Of frames of several videos, each at its own timestep, without what goes along time."""
    network, schedule = parts.network, parts.schedule
    count, num_frames = lessons.latents.shape[:2]
    scenes = torch.randint(count, (BATCH,), generator=generator)
    frames = torch.randint(num_frames, (BATCH,), generator=generator)
    latents = lessons.latents[scenes, frames]
    each = [lessons.heard[scene] for scene in scenes]
    hearing = [
        _draw_hearing(heard.scene_F1hw[frame], generator)
        for heard, frame in zip(each, frames, strict=True)
    ]
    heard = Heard(
        torch.stack([heard.meaning_D for heard in each]),
        torch.ones(BATCH),
        torch.zeros(BATCH, each[0].mel_FM.shape[1]),
        torch.stack(hearing),
    )
    timesteps = _draw_timesteps(BATCH, schedule, generator)
    noise = torch.randn(latents.shape, generator=generator)
    kept = schedule.kept_T[timesteps].float().view(-1, 1, 1, 1)
    said = network.unet(
        kept.sqrt() * latents + (1 - kept).sqrt() * noise,
        timesteps,
        encoder_hidden_states=network.blank_1LD.expand(BATCH, -1, -1),
        timestep_cond=heard,
    ).sample
    return functional.mse_loss(said, kept.sqrt() * noise - (1 - kept).sqrt() * latents)


def _loss_of_video(parts: TinyScenic, lessons: Lessons, generator: torch.Generator) -> Tensor:
    """Of one video, as AudioScenic tunes."""
    schedule = parts.schedule
    row = int(torch.randint(len(lessons.latents), (), generator=generator))
    latents, heard = lessons.latents[row], lessons.heard[row]
    scene_F1hw = _draw_hearing(heard.scene_F1hw, generator)
    timestep = int(_draw_timesteps(1, schedule, generator))
    noise = torch.randn(latents.shape, generator=generator)
    said = parts.network.says(
        schedule.noisy(latents, noise, timestep),
        timestep,
        replace(heard, scene_F1hw=scene_F1hw) if scene_F1hw.any() else None,
    )
    return functional.mse_loss(said, schedule.target(latents, noise, timestep))


def _draw_hearing(scene: Tensor, generator: torch.Generator) -> Tensor:
    """Which cells hear: none, all, or those around the shape."""
    drawn = float(torch.rand((), generator=generator))
    if drawn < NO_SOUND:
        return torch.zeros_like(scene)
    return torch.ones_like(scene) if drawn < NO_SOUND + NO_MASK else scene


def _draw_timesteps(count: int, schedule: Schedule, generator: torch.Generator) -> Tensor:
    shares = torch.rand(count, generator=generator) ** NOISINESS
    return (schedule.num_timesteps * shares).long()


def make(folder: Path, told: Told, *, seed: int = 0) -> None:
    """Train all parts, and write their folder, whole or not at all."""
    rng = np.random.default_rng(seed)
    scenes = [draw_backdrop(rng, num_frames=TRAINED_FRAMES) for _ in range(NUM_SCENES)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        draft = Path(place) / folder.name
        parts = TinyScenic.begin(draft, seed)
        learn_hearing(parts.sound, scenes[:HEARD_SCENES], told, seed=seed)
        train(parts, Lessons.of(scenes, parts), told, seed=seed)
        parts.finish(draft)
        draft.rename(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began_s = time.monotonic()

    def told(what: str, step: int, loss: float) -> None:
        if step % 100 == 0 or (what == "hearing" and step == HEARING_STEPS):
            seconds = time.monotonic() - began_s
            print(f"{what}, step {step}: loss {loss:.3f}, {seconds:.0f} s", flush=True)

    make(given.folder, told, seed=given.seed)
    print(f"{given.folder}: tiny models, for avipipe edit --method audio_scenic")


if __name__ == "__main__":
    main()
