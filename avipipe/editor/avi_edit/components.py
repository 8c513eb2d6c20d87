"""The models that edit: the network and its encoders, loaded, placed, and asked in turn."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from avipipe.annotators.base import Frames, Wave
from avipipe.editor.avi_edit.audio_features import resample_states
from avipipe.editor.avi_edit.checkpoints import Checkpoint, find_checkpoint
from avipipe.editor.avi_edit.config import ModelConfig, SampleConfig
from avipipe.editor.avi_edit.data.encoders import Encoders, load_encoders
from avipipe.editor.avi_edit.memory import measure, plan_memory
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.editor.avi_edit.solve import Conditions, Solution, Solving, Step, solve
from avipipe.editor.common.dtypes import DTYPES
from avipipe.errors import ConfigError
from avipipe.media.normalize import FPS


@dataclass(frozen=True, slots=True)
class Components:
    """The models, and what is asked of them. All tensors come and go on the CPU.

    Attributes:
        buckets: sizes of clips that the network was trained on.
        identity: what the models are: part -> hash of its weights and settings.
    """

    config: ModelConfig
    network: EditorTransformer
    encoders: Encoders
    buckets: tuple[Bucket, ...]
    device: torch.device
    identity: Mapping[str, str]

    def encode_video(self, frames_FHWC: Frames) -> Tensor:
        """Normalised latents (1, C, T, h, w), float32, of F = 4 T - 3 frames; or of one image."""
        frames = torch.from_numpy(np.ascontiguousarray(frames_FHWC))
        with self._at_work(self.encoders.video.model):
            return self.encoders.video.encode(frames).mean[None].float()

    def encode_text(self, text: str) -> Tensor:
        """(1, L, D), without padding."""
        with self._at_work(self.encoders.text.model):
            return self.encoders.text.encode(text)[None]

    def encode_sound(self, wave_N: Wave, num_frames: int) -> Tensor:
        """Hidden states at each video frame, (1, F, states, width), of sound at 16 kHz."""
        with self._at_work(self.encoders.audio.model):
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
        with self._at_work(self.network):
            solution = solve(
                self.network, conditions.to(self.device), config, on_step=on_step, start=start
            )
        return Solution(solution.latents.cpu(), solution.mask.cpu(), solution.masks)

    def decode(self, latents: Tensor) -> Frames:
        """Frames (4 T - 3, 16 h, 16 w, 3), uint8, of normalised latents (1, C, T, h, w)."""
        with self._at_work(self.encoders.video.model):
            return self.encoders.video.decode(latents[0]).numpy()

    @contextmanager
    def _at_work(self, model: Any) -> Iterator[None]:
        """Keep a model on the device while it is needed."""
        offload = self.config.offload
        if offload == "none" or (offload == "blocks" and model is self.network):
            yield
            return
        model.to(self.device)
        try:
            yield
        finally:
            model.to("cpu")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()  # so that the next model finds it in one piece


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
    device = _device(config)
    checkpoint = find_checkpoint(config)
    bucket = max(checkpoint.buckets, key=lambda bucket: bucket.num_tokens)
    if size is not None:
        bucket = replace(bucket, width_px=size[0], height_px=size[1])
    if num_frames is not None:
        bucket = replace(bucket, num_frames=num_frames)
    plan_memory(config, measure(checkpoint, bucket), device).check()
    home = device if config.offload == "none" else torch.device("cpu")
    encoders = load_encoders(checkpoint.encoders, home)
    if config.tiled_vae:
        encoders.video.model.enable_tiling()
    network = checkpoint.load(DTYPES[checkpoint.precision])
    cast(nn.Module, network).to(home).requires_grad_(False).eval()
    if config.offload == "blocks":
        _offload_blocks(network, device)
    if config.compile:
        cast(Any, network).compile_repeated_blocks(fullgraph=True)
    return Components(
        config, network, encoders, checkpoint.buckets, device, _identity(checkpoint, encoders)
    )


def _device(config: ModelConfig) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("models.device: cuda, but torch finds no GPU here; leave it out, or: cpu")
    return torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _offload_blocks(network: EditorTransformer, device: torch.device) -> None:
    """Bring each block to the device when its turn comes, the next one meanwhile."""
    cast(Any, network).enable_group_offload(
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=device.type == "cuda",
    )


def _identity(checkpoint: Checkpoint, encoders: Encoders) -> dict[str, str]:
    return {
        "network": checkpoint.identity(),
        "video": encoders.video.identity,
        "text": encoders.text.identity,
        "audio": encoders.audio.identity,
    }
