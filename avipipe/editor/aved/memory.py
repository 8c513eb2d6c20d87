"""The memory plan of AvED: what its networks hold on the way to the target and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers as typed_diffusers
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from avipipe.annotators.reading import reading
from avipipe.editor.aved.config import AvedModelsConfig, AvedSettings
from avipipe.editor.aved.relevance import watched
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.memory import (
    MemoryPlan,
    device_bytes,
    peak_bytes,
    size_in_words,
    without_storage,
)
from avipipe.editor.common.needs import SLACK, num_weights
from avipipe.editor.common.placement import Placement

diffusers: Any = typed_diffusers
"""Its classes are built in ways that a type checker cannot follow."""

PICTURE, SOUND = diffusers.UNet2DConditionModel, diffusers.AudioLDM2UNet2DConditionModel
CODER = diffusers.AutoencoderKL

READERS = {
    "picture": ("text_encoder",),
    "sound": ("text_encoder", "text_encoder_2", "projection_model", "language_model", "vocoder"),
}
"""Parts of each pipeline that work by themselves; of the vocoder, little comes on top."""

TOKEN_COPIES = 2
"""Of the target's tokens, in float32: themselves and their gradient."""

LATENT_COPIES = 12
"""Source, target, noise, noisy, told and gradients; all of them are small."""

NUM_WORDS = 77
"""Tokens of the longest prompt of Stable Diffusion; AudioLDM 2 has about as many of it."""

NUM_GENERATED = 8
"""States that GPT-2 gives AudioLDM 2."""


@dataclass(frozen=True, slots=True)
class JointNeeds:
    """Bytes of the models, and of what they hold at work beside their weights."""

    networks: int
    others: int
    denoising: int
    decoding: int
    decoding_tiles: int

    def phases(self, config: AvedModelsConfig) -> dict[str, int]:
        """What is done -> bytes on the device meanwhile."""
        decoding = self.decoding_tiles if config.tiled_vae else self.decoding
        held = {
            "reading and coding": (self.others, decoding),
            "denoising": (self.networks, self.denoising),
        }
        if config.offload == "none":
            held = {name: (self.networks + self.others, more) for name, (_, more) in held.items()}
        return {name: round(SLACK * sum(parts)) for name, parts in held.items()}


def checkpoint_blocks(network: Any) -> None:
    """Have a UNet compute its blocks anew on the way back, so that it need not hold them.

    diffusers' AudioLDM 2 gives its transformers their arguments without names then, one too few, so
    that the padding of words comes to be that of places (0.42.1); here they have names.
    """

    def recomputed(module: Any, *given: Any) -> Any:
        if isinstance(network, SOUND) and isinstance(module, diffusers.Transformer2DModel):
            hidden, states, _, _, options, mask, padding = given
            named = {
                "encoder_hidden_states": states,
                "cross_attention_kwargs": options,
                "attention_mask": mask,
                "encoder_attention_mask": padding,
            }
            return checkpoint(module, hidden, use_reentrant=False, **named)
        return checkpoint(module, *given, use_reentrant=False)

    network.enable_gradient_checkpointing(recomputed)


def plan_joint_memory(
    config: AvedModelsConfig,
    settings: AvedSettings,
    folders: Mapping[str, Path],
    remedies: Mapping[str, str],
    size: tuple[int, int],
    num_frames: int,
) -> MemoryPlan:
    """What an edit will hold, before anything but configurations is read.

    Args:
        folders, remedies: of `picture` and `sound`: where each lies, and what to do otherwise.
        size: width and height of frames.
        num_frames: at the method's own rate.
    Raises:
        WeightsError: the folders hold no such models.
    """
    available = device_bytes(Placement.of(config).device)
    phases = measure_joint(config, settings, folders, remedies, size, num_frames).phases(config)
    plan = MemoryPlan(phases, available, ())
    if plan.fits:
        return plan
    advice = []
    for way in (
        {"offload": "models"},
        {"precision": "bf16"},
        {"offload": "models", "precision": "bf16"},
    ):
        other = config.model_copy(update=way)
        needs = measure_joint(other, settings, folders, remedies, size, num_frames)
        if (changed := max(needs.phases(other).values())) < plan.peak_bytes:
            words = " ".join(f"--set models.{key}={value}" for key, value in way.items())
            advice.append(f"{words}: {size_in_words(changed)}")
    advice.append("fewer frames at once (output.chunk_frames), or smaller ones (output.size)")
    return replace(plan, advice=tuple(advice))


def measure_joint(
    config: AvedModelsConfig,
    settings: AvedSettings,
    folders: Mapping[str, Path],
    remedies: Mapping[str, str],
    size: tuple[int, int],
    num_frames: int,
) -> JointNeeds:
    """What the models in some folders need.

    Raises:
        WeightsError: the folders hold no such models.
    """
    kinds = {"picture": PICTURE, "sound": SOUND}
    networks, coders = dict[str, Any](), dict[str, Any]()
    for part, folder in folders.items():
        with reading(folder, f"the models of {part} in diffusers' layout", remedies[part]):
            networks[part] = kinds[part].load_config(folder / "unet", local_files_only=True)
            coders[part] = CODER.load_config(folder / "vae", local_files_only=True)
    width, height = size
    dtype = DTYPES[config.precision]
    stride = 2 ** (len(coders["picture"]["block_out_channels"]) - 1)
    shape = (height // stride, width // stride)
    sees = {
        "picture": tuple(settings.grid_side * cells for cells in shape),
        "sound": _sound_shape(networks["sound"], coders["sound"], num_frames),
    }
    num_inputs = {"picture": -(-num_frames // settings.grid_side**2), "sound": 1}
    passes = {
        part: _pass(kinds[part], networks[part], sees[part], dtype, settings) for part in folders
    }
    tokens = sum(
        num_inputs[part]
        * (2 * tokens + TOKEN_COPIES * tokens // dtype.itemsize * torch.float32.itemsize)
        for part, (_, tokens, _) in passes.items()
    )
    latents = sum(
        LATENT_COPIES * num_inputs[part] * torch.float32.itemsize * numel
        for part, (_, _, numel) in passes.items()
    )
    readers = dtype.itemsize * sum(
        num_weights(folders[part] / name) for part, names in READERS.items() for name in names
    )
    coding = sum(_weight_bytes(CODER, coder, torch.float32) for coder in coders.values())
    tile = int(coders["picture"].get("sample_size", max(size)))
    small = (min(height, tile) // stride, min(width, tile) // stride)
    return JointNeeds(
        networks=sum(_weight_bytes(kinds[part], networks[part], dtype) for part in folders),
        others=readers + coding,
        denoising=max(peak for peak, _, _ in passes.values()) + tokens + latents,
        decoding=_decoding(coders["picture"], shape),
        decoding_tiles=_decoding(coders["picture"], small),
    )


def _sound_shape(
    network: Mapping[str, Any], coder: Mapping[str, Any], num_frames: int
) -> tuple[int, int]:
    """Latents of the sound of so many frames at 4 a second, as AudioLDM 2 has them."""
    stride = 2 ** (len(coder["block_out_channels"]) - 1)
    step = 2 ** (len(network["block_out_channels"]) - 1)
    seconds = num_frames / _FRAMES_A_SECOND + 1 / _FRAMES_A_SECOND
    rows = -(-round(seconds * _SPECTRA_A_SECOND) // (stride * step)) * step
    return rows, _MELS // stride


_FRAMES_A_SECOND = 4
"""AvED's own rate."""

_SPECTRA_A_SECOND = 100
"""Of AudioLDM 2: 16 kHz, 160 samples each."""

_MELS = 64
"""Of AudioLDM 2."""


def _pass(
    kind: Any,
    config: Mapping[str, Any],
    shape: Sequence[int],
    dtype: torch.dtype,
    settings: AvedSettings,
) -> tuple[int, int, int]:
    """Bytes on the way through a network and back, bytes of its tokens, and number of latents."""
    with without_storage(dtype):
        network = kind.from_config(config).requires_grad_(False)
        checkpoint_blocks(network)
        latents = torch.empty(1, config["in_channels"], *shape, requires_grad=True)
        sizes = list[int]()

        def there_and_back() -> None:
            with watched(network, 0) as shown:
                network(latents, torch.empty(1, dtype=torch.int64), **_texts(config))
            sizes.append(sum(tokens.nbytes for tokens in shown.tokens))
            torch.autograd.grad(shown.tokens, latents, [torch.ones_like(t) for t in shown.tokens])

        peak = peak_bytes(network, there_and_back)
        return peak, sizes[0], latents.numel()


def _texts(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a network reads, by the widths of its cross-attention."""
    widths = config["cross_attention_dim"]
    if isinstance(widths, int):
        return {"encoder_hidden_states": torch.empty(1, NUM_WORDS, widths)}
    level = widths[0] if isinstance(widths[0], (list, tuple)) else widths
    generated = next((width for width in level[:2] if width), 1)
    words = next((width for width in level[2:] if width), generated)
    return {
        "encoder_hidden_states": torch.empty(1, NUM_GENERATED, generated),
        "encoder_hidden_states_1": torch.empty(1, NUM_WORDS, words),
        "encoder_attention_mask_1": torch.empty(1, NUM_WORDS),
    }


def _weight_bytes(kind: Any, config: Mapping[str, Any], dtype: torch.dtype) -> int:
    with torch.device("meta"):
        model = kind.from_config(config)
    return dtype.itemsize * sum(weight.numel() for weight in model.parameters())


def _decoding(config: Mapping[str, Any], shape: tuple[int, int]) -> int:
    """Bytes that the VAE holds for one frame."""
    with without_storage(), torch.no_grad():
        model = CODER.from_config(config)
        latents = torch.empty(1, model.config.latent_channels, *shape)
        return peak_bytes(model, lambda: model.decode(latents))
