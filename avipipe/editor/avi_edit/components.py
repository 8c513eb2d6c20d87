"""The models that edit: the network and its encoders, loaded, placed, and asked in turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from avipipe.annotators.base import Frames, Wave
from avipipe.editor.avi_edit.audio_features import resample_states
from avipipe.editor.avi_edit.checkpoints import Checkpoint, find_checkpoint
from avipipe.editor.avi_edit.config import ModelConfig, SampleConfig
from avipipe.editor.avi_edit.data.encoders import Encoders, load_encoders
from avipipe.editor.avi_edit.memory import measure
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.editor.avi_edit.solve import Conditions, Solution, Solving, Step, solve
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.memory import MemoryPlan
from avipipe.editor.common.needs import plan_memory
from avipipe.editor.common.placement import Placement
from avipipe.media.normalize import FPS


@dataclass(frozen=True, slots=True)
class Components:
    """The models, and what is asked of them. All tensors come and go on the CPU.

    Attributes:
        buckets: sizes of clips that the network was trained on.
        identity: what the models are: part -> hash of its weights and settings.
    """

    network: EditorTransformer
    encoders: Encoders
    buckets: tuple[Bucket, ...]
    placement: Placement
    identity: Mapping[str, str]

    def encode_video(self, frames_FHWC: Frames) -> Tensor:
        """Normalised latents (1, C, T, h, w), float32, of F = 4 T - 3 frames; or of one image."""
        frames = torch.from_numpy(np.ascontiguousarray(frames_FHWC))
        with self.placement.at_work(self.encoders.video.model):
            return self.encoders.video.encode(frames).mean[None].float()

    def encode_text(self, text: str) -> Tensor:
        """(1, L, D), without padding."""
        with self.placement.at_work(self.encoders.text.model):
            return self.encoders.text.encode(text)[None]

    def encode_sound(self, wave_N: Wave, num_frames: int) -> Tensor:
        """Hidden states at each video frame, (1, F, states, width), of sound at 16 kHz."""
        with self.placement.at_work(self.encoders.audio.model):
            states_LTC = self.encoders.audio.encode(torch.from_numpy(wave_N))
        return resample_states(states_LTC.float(), FPS, num_frames)[None]

    def solve(
        self,
        conditions: Conditions,
        config: SampleConfig,
        *,
        on_step: Callable[[Step], None] | None = None,
        start: Solving | None = None,
    ) -> Solution:
        """Solve an edit with the network on its device, as `avi_edit.solve.solve` does."""
        with self.placement.at_work(self.network, is_network=True):
            solution = solve(
                self.network,
                conditions.to(self.placement.device),
                config,
                on_step=on_step,
                start=start,
            )
        return Solution(solution.latents.cpu(), solution.mask.cpu(), solution.masks)

    def decode(self, latents: Tensor) -> Frames:
        """Frames (4 T - 3, 16 h, 16 w, 3), uint8, of normalised latents (1, C, T, h, w)."""
        with self.placement.at_work(self.encoders.video.model):
            return self.encoders.video.decode(latents[0]).numpy()


def plan_components(
    config: ModelConfig,
    checkpoint: Checkpoint,
    *,
    size: tuple[int, int] | None,
    num_frames: int | None,
) -> MemoryPlan:
    """What an edit will hold.

    Args:
        size, num_frames: as of `load_components`.
    Raises:
        ConfigError: there is no such device.
    """
    bucket = max(checkpoint.buckets, key=lambda bucket: bucket.num_tokens)
    if size is not None:
        bucket = replace(bucket, width_px=size[0], height_px=size[1])
    if num_frames is not None:
        bucket = replace(bucket, num_frames=num_frames)
    return plan_memory(config, measure(checkpoint, bucket), Placement.of(config).device)


def load_components(
    config: ModelConfig,
    *,
    size: tuple[int, int] | None = None,
    num_frames: int | None = None,
) -> Components:
    """Load everything; nothing is ever downloaded.

    Args:
        size: width and height that will be edited; else the largest of training.
        num_frames: most that will be edited at once; else as in training.
    Raises:
        WeightsError: a weight is missing or not whole: which, what for, its licence, what to run.
        ConfigError: nothing says what adapters adapt, or there is no such device or size.
        RunError: too little memory; what would help.
    """
    placement = Placement.of(config)
    checkpoint = find_checkpoint(config)
    plan_components(config, checkpoint, size=size, num_frames=num_frames).check()
    encoders = load_encoders(checkpoint.encoders, placement.home)
    if config.tiled_vae:
        encoders.video.model.enable_tiling()
    network = checkpoint.load(DTYPES[checkpoint.precision])
    placement.settle(network)
    if config.compile:
        cast(Any, network).compile_repeated_blocks(fullgraph=True)
    identity = _identity(checkpoint, encoders)
    return Components(network, encoders, checkpoint.buckets, placement, identity)


def _identity(checkpoint: Checkpoint, encoders: Encoders) -> dict[str, str]:
    return {
        "network": checkpoint.identity(),
        "video": encoders.video.identity,
        "text": encoders.text.identity,
        "audio": encoders.audio.identity,
    }
