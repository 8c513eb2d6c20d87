"""The memory plan of AvED: what its networks hold on the way to the target and back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from diffusers import Transformer2DModel
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from avipipe.editor.aved.config import NATIVE_FPS, AvedModelsConfig, AvedSettings
from avipipe.editor.aved.kinds import FIRST_WORDS, NETWORKS, ModelKind, ModelPart
from avipipe.editor.aved.relevance import watched
from avipipe.editor.common.dtypes import DTYPES, Precision
from avipipe.editor.common.image_codec import blank_image_codec
from avipipe.editor.common.memory import (
    MemoryPlan,
    device_bytes,
    less_by,
    peak_bytes,
    weight_bytes,
    without_storage,
)
from avipipe.editor.common.needs import SLACK, image_decoding_needs, num_weights
from avipipe.editor.common.placement import Placement

READERS: dict[ModelPart, tuple[str, ...]] = {
    "picture": ("text_encoder",),
    "sound": ("text_encoder", "text_encoder_2", "projection_model", "language_model", "vocoder"),
}
"""Parts of each pipeline that work by themselves; of the vocoder, little comes on top."""

LAYERS: Any = Transformer2DModel
"""Of transformers, in either network; untyped in its library."""

TOKEN_COPIES = 2
"""Of the target's tokens, in float32: themselves and their gradient."""

LATENT_COPIES = 12
"""Source, target, noise, noisy, told and gradients; all of them are small."""

SPECTRA_A_SECOND, NUM_MELS = 100, 64
"""Of AudioLDM 2: 160 samples of 16 kHz each."""

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
    that the padding of words comes to be that of places (0.42.1). Here they have names, and it is
    the layers in them that are computed anew.
    """

    def recomputed(module: Any, *given: Any) -> Any:
        if isinstance(network, NETWORKS["sound"]) and isinstance(module, LAYERS):
            hidden, states, _, _, options, mask, padding = given
            return module(
                hidden,
                encoder_hidden_states=states,
                cross_attention_kwargs=options,
                attention_mask=mask,
                encoder_attention_mask=padding,
                return_dict=False,
            )
        return checkpoint(module, *given, use_reentrant=False)

    network.enable_gradient_checkpointing(recomputed)


def plan_joint_memory(
    config: AvedModelsConfig,
    settings: AvedSettings,
    kinds: Mapping[ModelPart, ModelKind],
    size: tuple[int, int],
    num_frames: int,
) -> MemoryPlan:
    """What an edit will hold, before anything but configurations is read.

    Args:
        size: width and height of frames.
        num_frames: at the method's own rate.
    """
    available = device_bytes(Placement.of(config).device)
    needs = measure_joint(config.precision, settings, kinds, size, num_frames)
    plan = MemoryPlan(needs.phases(config), available, ())
    if plan.fits:
        return plan
    less = measure_joint("bf16", settings, kinds, size, num_frames)
    ways = (
        ({"offload": "models"}, needs),
        ({"precision": "bf16"}, less),
        ({"offload": "models", "precision": "bf16"}, less),
    )
    tried = [
        (way, max(of_way.phases(config.model_copy(update=way)).values())) for way, of_way in ways
    ]
    advice = less_by(plan.peak_bytes, tried)
    frames = "fewer frames at once (output.chunk_frames), or smaller ones (output.size)"
    return replace(plan, advice=(*advice, frames))


def measure_joint(
    precision: Precision,
    settings: AvedSettings,
    kinds: Mapping[ModelPart, ModelKind],
    size: tuple[int, int],
    num_frames: int,
) -> JointNeeds:
    """What models need for so many frames of a width and height."""
    dtype, (width, height) = DTYPES[precision], size
    picture, sound = kinds["picture"], kinds["sound"]
    shape = (height // picture.stride, width // picture.stride)
    grid = (settings.grid_side * shape[0], settings.grid_side * shape[1])
    passes = [
        (_pass(picture, grid, dtype), -(-num_frames // settings.grid_side**2)),
        (_pass(sound, _sound_shape(sound, num_frames), dtype), 1),
    ]
    tokens = sum(count * each.tokens for each, count in passes)
    latents = sum(count * each.latents for each, count in passes)
    target = TOKEN_COPIES * tokens // dtype.itemsize * torch.float32.itemsize
    readers = dtype.itemsize * sum(
        num_weights(kinds[part].folder / name) for part, names in READERS.items() for name in names
    )
    coders = sum(
        _weight_bytes(blank_image_codec, kind.coder, torch.float32) for kind in kinds.values()
    )
    decoding, decoding_tiles = image_decoding_needs(picture.coder, size, torch.float32)
    return JointNeeds(
        networks=sum(
            _weight_bytes(NETWORKS[part].from_config, kind.network, dtype)
            for part, kind in kinds.items()
        ),
        others=readers + coders,
        denoising=max(each.peak for each, _ in passes)
        + 2 * tokens
        + target
        + LATENT_COPIES * latents,
        decoding=decoding,
        decoding_tiles=decoding_tiles,
    )


def _sound_shape(kind: ModelKind, num_frames: int) -> tuple[int, int]:
    """Latents of the sound of so many frames at 4 a second, as AudioLDM 2 has them."""
    halvings = 2 ** (len(kind.network["block_out_channels"]) - 1)
    seconds = (num_frames + 1) / NATIVE_FPS
    rows = math.ceil(seconds * SPECTRA_A_SECOND / (kind.stride * halvings)) * halvings
    return rows, NUM_MELS // kind.stride


class _Pass(NamedTuple):
    """Bytes on the way through a network and back, of its tapped tokens, and of latents."""

    peak: int
    tokens: int
    latents: int


def _pass(kind: ModelKind, shape: tuple[int, int], dtype: torch.dtype) -> _Pass:
    with without_storage(dtype):
        network = NETWORKS[kind.part].from_config(kind.network).requires_grad_(False)
        checkpoint_blocks(network)
        latents = torch.empty(1, kind.network["in_channels"], *shape, requires_grad=True)
        sizes = list[int]()

        def there_and_back() -> None:
            with watched(network, 0) as shown:
                network(latents, torch.empty(1, dtype=torch.int64), **_texts(kind.network))
            sizes.append(sum(tokens.nbytes for tokens in shown.tokens))
            torch.autograd.grad(shown.tokens, latents, [torch.ones_like(t) for t in shown.tokens])

        peak = peak_bytes(network, there_and_back)
        return _Pass(peak, sizes[0], latents.numel() * torch.float32.itemsize)


def _texts(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a network reads, by the widths of its cross-attention."""
    widths = config["cross_attention_dim"]
    if isinstance(widths, int):
        return {"encoder_hidden_states": torch.empty(1, NUM_WORDS, widths)}
    level = widths[0] if isinstance(widths[0], (list, tuple)) else widths
    generated = next((width for width in level[:FIRST_WORDS] if width), 1)
    words = next((width for width in level[FIRST_WORDS:] if width), generated)
    return {
        "encoder_hidden_states": torch.empty(1, NUM_GENERATED, generated),
        "encoder_hidden_states_1": torch.empty(1, NUM_WORDS, words),
        "encoder_attention_mask_1": torch.empty(1, NUM_WORDS),
    }


def _weight_bytes(
    made: Callable[[Mapping[str, Any]], Any], config: Mapping[str, Any], dtype: torch.dtype
) -> int:
    with torch.device("meta"):
        return weight_bytes(made(config), dtype)
