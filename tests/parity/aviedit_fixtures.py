"""Weights and inputs by the recipe of the AVI-Edit reference numbers.

The numbers in `data/aviedit` were made with suimuc/AVI-Edit-Framework@3d6f200 and
Wan-Video/Wan2.2@42bf4cf (both Apache-2.0), fallenshock/FlowEdit@457f402 and
TianxingWu/FreeInit@410286d (both MIT), or from published formulas; weights and inputs are drawn
anew from seeds. `AVIPIPE_PARITY_DIR` names a folder with another such set, of other sizes.
"""

import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avipipe.editor.avi_edit.convert import convert
from avipipe.editor.avi_edit.network.loading import assemble
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.sizes import EditorConfig

DATA = Path(os.environ.get("AVIPIPE_PARITY_DIR", Path(__file__).parent / "data")) / "aviedit"
Array = npt.NDArray[Any]

MANIFEST: dict[str, Any] = json.loads((DATA / "manifest.json").read_text())
SCENARIO: dict[str, Any] = MANIFEST["scenario"]


def keys(name: str) -> dict[str, Any]:
    """`tiny`, `full` or `wan`."""
    found: dict[str, Any] = json.loads((DATA / f"keys_{name}.json").read_text())
    return found


def arrays(name: str) -> dict[str, Tensor]:
    """The arrays of a file, as tensors."""
    with np.load(DATA / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def given(name: str) -> Tensor:
    """An input that is drawn from its seed."""
    recipe = MANIFEST["inputs"][name]
    values = np.random.default_rng(recipe["seed"]).standard_normal(recipe["shape"])
    if recipe["kind"] == "binary":
        values = (values > recipe["greater_than"]).astype(np.float32)
    else:
        values = values.astype(np.float32)
        if recipe["scale"] != 1:
            values = values * np.float32(recipe["scale"])
        if recipe["shift"] != 0:
            values = values + np.float32(recipe["shift"])
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    assert digest.startswith(recipe["sha256_16"])
    return torch.from_numpy(values)


def weights(name: str) -> dict[str, Tensor]:
    """The weights of a tiny network under their official names."""
    drawn = {}
    exceptions = MANIFEST["weight_exceptions"] if name == "tiny" else {}
    for key, facts in keys(name)["tensors"].items():
        weight = _weight(key, facts["shape"], exceptions.get(key))
        assert np.isclose(weight.sum(dtype=np.float64), facts["sum"], rtol=0, atol=1e-4)
        drawn[key] = torch.from_numpy(weight)
    return drawn


def _weight(key: str, shape: list[int], exception: list[float] | None) -> Array:
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if exception is not None:
        mean, std = exception
        return np.float32(mean) + np.float32(std) * n
    if len(shape) > 1:
        return n * np.float32(1 / np.sqrt(np.prod(shape[1:])))
    return 1 + np.float32(0.02) * n if key.endswith(".weight") else np.float32(0.02) * n


def config() -> EditorConfig:
    """Sizes of the tiny AVI-Edit network."""
    sizes = SCENARIO["network"]
    return EditorConfig(
        num_layers=sizes["num_layers"],
        num_attention_heads=sizes["num_heads"],
        attention_head_dim=sizes["dim"] // sizes["num_heads"],
        ffn_dim=sizes["ffn_dim"],
        in_channels=sizes["out_dim"],
        freq_dim=sizes["freq_dim"],
        text_dim=sizes["text_dim"],
        text_len=SCENARIO["text_tokens"],
        audio_layers=sizes["audio_inject_layers"],
        audio_dim=sizes["audio_dim"],
        num_audio_tokens=sizes["num_audio_token"],
        gamr_layers=sizes["audio_inject_layers"],
        gamr_ffn_dim=sizes["gamr_ffn_dim"],
    )


def network(*, backbone_p: bool = True) -> EditorTransformer:
    """The tiny AVI-Edit network, or the same without the backbone's embedding of p."""
    sizes = config().model_copy(update={"backbone_p": backbone_p})
    released = weights("tiny")
    if not backbone_p:
        refined = ("masktype_embedding_refine", "masktype_embedding_projection_refine")
        released = {
            key: weight
            for key, weight in released.items()
            if not key.startswith("masktype_") or key.startswith(refined)
        }
    return assemble(sizes, convert(released, sizes, where=DATA), where=DATA)


def wan() -> EditorTransformer:
    """The tiny Wan network, with fresh weights for all else."""
    sizes = SCENARIO["wan_network"]
    names = keys("wan")["official_to_diffusers"]
    config = EditorConfig(
        num_layers=sizes["num_layers"],
        num_attention_heads=sizes["num_heads"],
        attention_head_dim=sizes["dim"] // sizes["num_heads"],
        ffn_dim=sizes["ffn_dim"],
        in_channels=sizes["in_dim"],
        freq_dim=sizes["freq_dim"],
        text_dim=sizes["text_dim"],
        text_len=sizes["text_len"],
        audio_layers=(0,),
        gamr_layers=(0,),
    )
    backbone = {names[key]: weight for key, weight in weights("wan").items()}
    return assemble(config, backbone, where=DATA)


def close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare as the reference numbers ask for."""
    assert got.shape == expected.shape
    allowed = tolerance * max(1.0, float(expected.abs().max()))
    assert float((got - expected).abs().max()) <= allowed
