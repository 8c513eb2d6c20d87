"""The codec without weights: exact both ways, at any strides, and loaded as a VAE is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avipipe.editor.common.cells import touched_cells
from avipipe.editor.common.codec import config_of, load_codec, read_config
from avipipe.editor.common.image_codec import (
    ImageCodec,
    channels_of,
    from_latents,
    read_image_codec,
    read_image_config,
    stride_of,
    to_latents,
    to_uint8,
)
from avipipe.editor.common.memory import peak_bytes
from avipipe.editor.common.needs import decoding_needs, image_decoding_needs
from avipipe.editor.common.patch_codec import PatchCodec
from avipipe.errors import WeightsError

SIZES = st.fixed_dictionaries(
    {
        "blocks": st.integers(1, 3),
        "block_px": st.integers(1, 5),
        "temporal": st.integers(1, 5),
        "channels": st.integers(1, 3),
        "cells": st.tuples(*(st.integers(1, 3),) * 3),
        "dtype": st.sampled_from([torch.float32, torch.bfloat16]),
    }
)


def codec_of(sizes: dict[str, Any]) -> Any:
    return PatchCodec(
        in_channels=sizes["channels"],
        z_dim=sizes["channels"] * sizes["blocks"] ** 2,
        scale_factor_temporal=sizes["temporal"],
        scale_factor_spatial=sizes["blocks"] * sizes["block_px"],
    )


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@given(SIZES)
@settings(deadline=None, max_examples=60)
def test_what_is_decoded_is_encoded_to_the_same_latents(sizes: dict[str, Any]) -> None:
    codec, (num_latents, height, width) = codec_of(sizes), sizes["cells"]
    latents = normal(2, codec.config.z_dim, num_latents, height, width, dtype=sizes["dtype"])
    video = codec.decode(latents).sample
    stride_px, temporal = codec.config.scale_factor_spatial, sizes["temporal"]
    frames = 1 + (num_latents - 1) * temporal
    assert video.shape == (2, sizes["channels"], frames, height * stride_px, width * stride_px)
    found = codec.encode(video).latent_dist
    assert torch.equal(found.mean, latents)
    assert torch.equal(found.sample(), found.mode())
    # The video is constant on its blocks, so that it comes back as well.
    assert torch.equal(codec.decode(found.mean).sample, video)


@given(SIZES)
@settings(deadline=None, max_examples=20)
def test_a_still_picture_is_a_video_of_one_frame(sizes: dict[str, Any]) -> None:
    codec = codec_of(sizes)
    side_px = 2 * codec.config.scale_factor_spatial
    picture = normal(1, sizes["channels"], side_px, side_px)
    latents = codec.encode(picture).latent_dist.mean
    assert torch.equal(latents, codec.encode(picture[:, :, None]).latent_dist.mean[:, :, 0])
    assert torch.equal(
        codec.decode(latents).sample, codec.decode(latents[:, :, None]).sample[:, :, 0]
    )


def test_a_latent_is_the_mean_of_its_frames_and_block() -> None:
    codec: Any = PatchCodec(z_dim=12, scale_factor_temporal=4, scale_factor_spatial=16)
    video = normal(1, 3, 9, 32, 48)
    latents = codec.encode(video).latent_dist.mean
    assert latents.shape == (1, 12, 3, 2, 3)
    first, later = video[0, 1, 0, :8, 8:16], video[0, 2, 5:, 24:, 32:40]
    torch.testing.assert_close(latents[0, 4 + 1, 0, 0, 0], first.mean())
    torch.testing.assert_close(latents[0, 8 + 2, 2, 1, 2], later.mean())


def test_what_a_mask_touches_is_all_that_its_pixels_change() -> None:
    codec: Any = PatchCodec(z_dim=12, scale_factor_spatial=16)
    video, mask = normal(1, 3, 9, 32, 48), torch.zeros(9, 32, 48, dtype=torch.bool)
    mask[4, 10:20, 20] = True
    changed = torch.where(mask, 2.0, video)
    before, after = (codec.encode(each).latent_dist.mean for each in (video, changed))
    touched = touched_cells(mask.numpy(), 4, 16)
    assert torch.equal((before != after).any(1, keepdim=True), touched)


def test_cells_that_cannot_be_cut_are_refused() -> None:
    for sizes in ({"z_dim": 6}, {"z_dim": 27}, {"z_dim": 2}):
        with pytest.raises(ValueError, match=r"expected a z_dim of 3 n \* n"):
            PatchCodec(**sizes)


@pytest.fixture
def wan(tmp_path: Path) -> Path:
    PatchCodec(scale_factor_spatial=16).save_config(tmp_path / "vae")
    return tmp_path


def test_it_is_loaded_as_a_vae_is(wan: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 256, (5, 4, 6, 3), generator=draw, dtype=torch.uint8)
    blocks[2:] = blocks[1]  # as the frames of a cell share their colours
    frames = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    encoder = load_codec(wan, "fp32", "cpu", remedy="")
    assert (encoder.temporal_stride, encoder.spatial_stride) == (4, 16)
    latents = encoder.encode(frames)
    assert latents.mean.shape == (12, 2, 2, 3)
    assert 1.5 < latents.mean.abs().max() <= 2
    assert torch.equal(encoder.decode(latents.mean), frames)
    assert load_codec(wan, "bf16", "cpu", remedy="").encode(frames).mean.dtype == torch.bfloat16


def test_identities_follow_the_sizes(wan: Path) -> None:
    one = load_codec(wan, "fp32", "cpu", remedy="").identity
    PatchCodec(scale_factor_spatial=16, z_dim=3).save_config(wan / "vae")
    assert load_codec(wan, "fp32", "cpu", remedy="").identity != one


def test_another_class_or_cell_is_refused(wan: Path) -> None:
    path = wan / "vae" / "config.json"
    config = json.loads(path.read_bytes())
    path.write_text(json.dumps({**config, "_class_name": "AutoencoderKL"}))
    expected = "expected the configuration of AutoencoderKLWan or PatchCodec, found that of Autoenc"
    with pytest.raises(WeightsError, match=f"{expected}oderKL. Get it"):
        load_codec(wan, "fp32", "cpu", remedy="Get it")
    path.write_text(json.dumps({**config, "z_dim": 7}))
    with pytest.raises(WeightsError, match="n divides the 16 pixels"):
        load_codec(wan, "fp32", "cpu", remedy="Get it")


def test_the_plan_of_memory_is_what_it_holds(wan: Path) -> None:
    codec = load_codec(wan, "fp32", "cpu", remedy="").model
    config, latents = read_config(wan, ""), torch.zeros(1, 12, 9, 4, 6)
    assert config == config_of(codec)
    whole, tiles = decoding_needs(config, (96, 64), 33, torch.float32)
    held = peak_bytes(codec, lambda: codec.decode(latents))
    assert held <= whole <= 2.5 * held
    assert held <= tiles


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    sizes: Any = {"latents_mean": -0.3, "latents_std": 0.4}
    PatchCodec(**sizes).save_config(tmp_path / "vae")
    return tmp_path / "vae"


def test_it_is_loaded_as_a_vae_of_images_is(stills: Path) -> None:
    draw = np.random.default_rng(0)
    frames = draw.integers(0, 256, (2, 4, 6, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    codec = ImageCodec(read_image_codec(stills, "", torch.float32))
    config = read_image_config(stills, "")
    assert (stride_of(config), channels_of(config)) == (8, 12)
    latents = codec.encode(frames)
    assert latents.shape == (2, 12, 2, 3)
    assert np.array_equal(to_uint8(codec.decode(latents)), frames)
    black = ImageCodec(codec.model).encode(np.zeros_like(frames))
    torch.testing.assert_close(black, torch.full_like(black, (-1 + 0.3) / 0.4))


def test_spectra_come_back_as_they_were() -> None:
    sizes: Any = {"latents_mean": -8.0, "latents_std": 3.0}
    codec = PatchCodec(in_channels=1, z_dim=16, scale_factor_spatial=4, **sizes)
    spectra = normal(1, 1, 12, 64)
    latents = to_latents(codec, spectra)
    assert latents.shape == (1, 16, 3, 16)
    torch.testing.assert_close(from_latents(codec, latents), spectra, rtol=0, atol=1e-5)


def test_in_place_of_a_vae_of_images_no_other_class_or_cell_is_read(stills: Path) -> None:
    path = stills / "config.json"
    config = json.loads(path.read_bytes())
    path.write_text(json.dumps({**config, "_class_name": "AutoencoderKLWan"}))
    expected = (
        "expected the configuration of AutoencoderKL or PatchCodec, found that of Autoencoder"
    )
    with pytest.raises(WeightsError, match=f"{expected}KLWan. Get it"):
        read_image_codec(stills, "Get it", torch.float32)
    path.write_text(json.dumps({**config, "z_dim": 7}))
    with pytest.raises(WeightsError, match="n divides the 8 pixels"):
        read_image_codec(stills, "Get it", torch.float32)


def test_the_plan_of_memory_for_images_is_what_it_holds(stills: Path) -> None:
    codec, latents = read_image_codec(stills, "", torch.float32), torch.zeros(1, 12, 8, 12)
    whole, tiles = image_decoding_needs(read_image_config(stills, ""), (96, 64), torch.float32)
    assert peak_bytes(codec, lambda: codec.decode(latents)) == whole == tiles
