"""Operations of the network against products counted by hand."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from avipipe.editor.avi_edit.flops import Flops, forward_flops
from avipipe.editor.avi_edit.network.loading import blank_clip, build
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.train.metrics import learning_flops

SIZES = EditorConfig.preset("tiny")
BUCKET = Bucket(9, 64, 96)


def linear(rows: int, in_features: int, out_features: int) -> int:
    return 2 * rows * in_features * out_features


def attention(queries: int, keys: int, frames: int = 1) -> int:
    """Four projections, scores and weighted sums, of frames that attend each to its own keys."""
    dim = SIZES.dim
    projections = linear(2 * queries + 2 * keys, dim, dim)
    return projections + 2 * linear(queries, keys // frames, dim)


def added(**changes: Any) -> Flops:
    """What a change of the sizes adds to the operations."""
    changed = EditorConfig(**(SIZES.model_dump() | changes))
    more, less = (forward_flops(sizes, BUCKET) for sizes in (changed, SIZES))
    return Flops(
        more.backbone - less.backbone, more.audio - less.audio, more.refiner - less.refiner
    )


def test_operations_of_a_layer_are_those_of_its_products() -> None:
    dim, tokens, frames = SIZES.dim, BUCKET.num_tokens, BUCKET.latent_size[0]
    heard = (SIZES.num_audio_tokens + 1) * frames
    whole, text = attention(tokens, tokens), attention(tokens, SIZES.text_len)
    ffn = 2 * linear(tokens, dim, SIZES.ffn_dim)
    assert added(num_layers=SIZES.num_layers + 1) == Flops(whole + text + ffn, 0, 0)
    listening = attention(tokens, heard, frames)
    injection = linear(frames, dim, 2 * dim) + listening
    assert added(audio_layers=(0, 1, 2)) == Flops(0, injection, 0)
    looking = attention(tokens, tokens, frames)
    refining = whole + looking + ffn + listening
    assert added(gamr_layers=(0, 1, 2)) == Flops(0, 0, refining)
    precision = linear(1, 1 + dim + 6 * dim, dim)
    assert added(backbone_p=False) == Flops(-precision, 0, 0)


def test_a_training_step_is_three_passes() -> None:
    model = build(SIZES)
    clip = blank_clip(SIZES, BUCKET)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = model(**clip)
        torch.autograd.backward([output.velocity.sum(), output.mask_logits.sum()])
    expected = learning_flops(SIZES, BUCKET, None)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.03)


def test_operations_of_the_real_network() -> None:
    """Of 81 frames at 704 x 1280: the figures that published speeds are compared with."""
    flops = forward_flops(EditorConfig.preset("wan2.2-5b"), Bucket(81, 704, 1280))
    assert flops == Flops(290_476_293_494_784, 5_634_642_364_416, 89_159_803_607_040)
