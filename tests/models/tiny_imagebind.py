"""A tiny ImageBind by seed, in the layout of its public checkpoint."""

import torch
from torch import Tensor

from tests.models.drawn import drawn_state

SIZES = {"vision": (32, 2, 1 + 256), "audio": (24, 3, 1 + 12 * 19)}
"""Tower -> numbers of a token, blocks, tokens."""
NUM_OUT = 8


def _shapes(tower: str) -> dict[str, tuple[int, ...]]:
    dim, num_blocks, num_tokens = SIZES[tower]
    stem, trunk, head = (
        f"modality_{kind}.{tower}." for kind in ("preprocessors", "trunks", "heads")
    )
    norm = {"weight": (dim,), "bias": (dim,)}
    found: dict[str, tuple[int, ...]] = {
        f"{stem}cls_token": (1, 1, dim),
        f"{stem}pos_embedding_helper.pos_embed": (1, num_tokens, dim),
        f"{head}2.weight": (NUM_OUT, dim),
    }
    norms = [f"{head}0."]
    if tower == "vision":
        found[f"{stem}rgbt_stem.proj.1.weight"] = (dim, 3, 2, 14, 14)
        norms.append(f"{trunk}pre_transformer_layer.0.")
    else:
        found[f"{stem}rgbt_stem.proj.weight"] = (dim, 1, 16, 16)
        norms.append(f"{stem}rgbt_stem.norm_layer.")
    for number in range(num_blocks):
        block = f"{trunk}blocks.{number}."
        norms += [f"{block}norm_1.", f"{block}norm_2."]
        found |= {
            f"{block}attn.in_proj_weight": (3 * dim, dim),
            f"{block}attn.in_proj_bias": (3 * dim,),
            f"{block}attn.out_proj.weight": (dim, dim),
            f"{block}attn.out_proj.bias": (dim,),
            f"{block}mlp.fc1.weight": (4 * dim, dim),
            f"{block}mlp.fc1.bias": (4 * dim,),
            f"{block}mlp.fc2.weight": (dim, 4 * dim),
            f"{block}mlp.fc2.bias": (dim,),
        }
        if tower == "audio":
            found |= {f"{block}attn.bias_k": (1, 1, dim), f"{block}attn.bias_v": (1, 1, dim)}
    return found | {f"{name}{leaf}": shape for name in norms for leaf, shape in norm.items()}


def imagebind_state() -> dict[str, Tensor]:
    """Tensors of both towers."""
    found = {name: shape for tower in SIZES for name, shape in _shapes(tower).items()}
    tensors = drawn_state(found)
    tensors["modality_postprocessors.audio.1.log_logit_scale"] = torch.tensor(20.0).log()
    return tensors
