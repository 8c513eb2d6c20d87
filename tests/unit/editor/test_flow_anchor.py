"""FlowAnchor's parts: anchored attention, magnitude, and the way from one video to the other."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from pydantic import ValidationError
from torch import Tensor

from avipipe.editor.common.cells import touched_cells
from avipipe.editor.common.flow import draw_noise, sample_generator
from avipipe.editor.common.state import Editing, EditStep
from avipipe.editor.flow_anchor.amm import contrast_of, modulate
from avipipe.editor.flow_anchor.config import FlowAnchorSettings
from avipipe.editor.flow_anchor.flow_edit import Edit, flow_edit
from avipipe.editor.flow_anchor.sar import AnchoredAttention, Anchors, anchored
from avipipe.editor.flow_anchor.velocity import Prompts, WanVelocities
from avipipe.errors import RunError

WAN: Any = WanTransformer3DModel
CHANNELS, CELLS = 4, (3, 4, 6)
TEXT_LEN, TEXT_DIM = 8, 16
NUM_WORDS = 5
"""Of the prompt; what is beyond is padding."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def draw(step: int, number: int) -> Tensor:
    return draw_noise((CHANNELS, *CELLS), [sample_generator(0, step, number)])


@pytest.fixture(scope="module")
def wan() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = WAN(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            text_dim=TEXT_DIM,
            freq_dim=16,
            ffn_dim=32,
            num_layers=2,
        )
    return network.requires_grad_(False).eval()


def anchors(text: float = 0.3, space: float = 0.3) -> Anchors:
    words_L = torch.zeros(NUM_WORDS, dtype=torch.bool)
    words_L[[1, 2]] = True
    return Anchors(words_L, cells()[0, 0, :, ::2, ::2].flatten(), text, space)


def cells() -> Tensor:
    inside = torch.zeros(1, 1, *CELLS, dtype=torch.bool)
    inside[..., :2, 2:] = True
    return inside


def prompts(**changes: Any) -> Prompts:
    texts = [normal(1, TEXT_LEN, TEXT_DIM, seed=seed) for seed in (1, 2, 3)]
    for text in texts:
        text[:, NUM_WORDS:] = 0
    values = dict(zip(("source", "target", "away"), texts, strict=True))
    return Prompts(**{**values, "anchors": anchors(), **changes})


def edit() -> Edit:
    return Edit(normal(1, CHANNELS, *CELLS, seed=5), cells())


def edited(wan: Any, given: Prompts, settings: FlowAnchorSettings, **options: Any) -> Tensor:
    options.setdefault("edit", edit())
    return flow_edit(WanVelocities(wan, given, settings), settings=settings, draw=draw, **options)


def test_logits_stay_between_the_least_and_the_most_of_their_head() -> None:
    logits = normal(2, 18, NUM_WORDS)
    refined = anchors(0.7, 0.9).refine(logits)
    for before, after in zip(logits, refined, strict=True):
        assert before.min() <= after.min()
        assert after.max() <= before.max()


def test_words_of_the_edit_are_seen_more_inside_and_less_outside() -> None:
    marks, logits = anchors(), normal(2, 18, NUM_WORDS)
    refined = marks.refine(logits)
    before, after = logits[..., marks.words_L], refined[..., marks.words_L]
    inside = marks.inside_N
    assert (after[:, inside] >= before[:, inside]).all()
    assert (after[:, ~inside] <= before[:, ~inside]).all()
    rest, others = logits[..., ~marks.words_L], refined[..., ~marks.words_L]
    assert (others[:, inside] <= rest[:, inside]).all()
    assert torch.equal(others[:, ~inside], rest[:, ~inside])


def test_no_strength_changes_nothing() -> None:
    logits = normal(2, 18, NUM_WORDS)
    assert torch.equal(anchors(0, 0).refine(logits), logits)


def test_head_by_head_is_as_all_at_once(wan: Any) -> None:
    attention = wan.blocks[0].attn2
    width = attention.inner_dim
    video, text = normal(1, 18, width, seed=8), normal(1, TEXT_LEN, width, seed=9)
    found = AnchoredAttention(anchors())(attention, video, text)
    query, key, value = (
        part.unflatten(2, (attention.heads, -1)).transpose(1, 2)
        for part in (
            attention.norm_q(attention.to_q(video)),
            attention.norm_k(attention.to_k(text)),
            attention.to_v(text),
        )
    )
    logits = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    logits[..., :NUM_WORDS] = anchors().refine(logits[..., :NUM_WORDS])
    whole = (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(found, attention.to_out[0](whole), rtol=1e-5, atol=1e-6)


def test_without_strength_attention_is_wans(wan: Any) -> None:
    given = (normal(1, CHANNELS, *CELLS), torch.tensor([700.0]), prompts().target)
    plain = wan(*given).sample
    with anchored(wan, anchors(0, 0)):
        torch.testing.assert_close(wan(*given).sample, plain, rtol=1e-4, atol=1e-5)
    with anchored(wan, anchors()):
        assert (wan(*given).sample - plain).abs().max() > 1e-4
    assert torch.equal(wan(*given).sample, plain)


def test_a_lone_frame_is_not_magnified() -> None:
    change = normal(CHANNELS, 1, 4, 6)
    assert torch.equal(modulate(change, 1.0, "signed"), change)


@pytest.mark.parametrize("contrast", ["signed", "abs"])
def test_gains_lie_between_1_and_what_81_frames_get(contrast: Any) -> None:
    change = normal(CHANNELS, 21, 4, 6)
    gain = modulate(change, 0.5, contrast) / change
    assert gain.min() == pytest.approx(1, abs=1e-5)
    assert gain.max() == pytest.approx(1.5, abs=1e-5)
    still = torch.zeros(CHANNELS, 21, 4, 6)
    assert not modulate(still, 1.0, contrast).any()
    most = contrast_of(change, contrast).flatten().argmax()
    mean = change.mean(0).flatten()
    assert most == (mean if contrast == "signed" else mean.abs()).argmax()


def test_the_network_is_asked_92_times(wan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, refined = [], []
    hook = wan.register_forward_hook(lambda *_: asked.append(1))
    whole = Anchors.refine

    def counted(self: Anchors, logits_NL: Tensor) -> Tensor:
        refined.append(1)
        return whole(self, logits_NL)

    monkeypatch.setattr(Anchors, "refine", counted)
    edited(wan, prompts(), FlowAnchorSettings())
    hook.remove()
    assert len(asked) == 92
    # Of the 20 noise levels from 0.6 on, the first two are left out: layers and heads of one pass.
    assert len(refined) == 18 * len(wan.blocks) * 2


def test_equal_prompts_give_the_source_back(wan: Any) -> None:
    same = prompts(target=prompts().source, anchors=None)
    settings = FlowAnchorSettings(num_steps=6, target_guidance=5.0)
    assert torch.equal(edited(wan, same, settings), edit().source)
    assert not torch.equal(edited(wan, prompts(), settings), edit().source)


def test_options_change_the_edit(wan: Any) -> None:
    ways: tuple[dict[str, Any], ...] = ({}, {"amm": False}, {"contrast": "abs"}, {"num_noises": 2})
    found = [edited(wan, prompts(), FlowAnchorSettings(num_steps=5, **way)) for way in ways]
    found.append(edited(wan, prompts(anchors=None), FlowAnchorSettings(num_steps=5)))
    for index, one in enumerate(found):
        assert all(not torch.equal(one, other) for other in found[:index])


def test_blended_latents_are_the_sources_around_the_mask(wan: Any) -> None:
    found = edited(wan, prompts(), FlowAnchorSettings(num_steps=5, latent_blend=True))
    inside = cells().expand_as(found)
    assert torch.equal(found[~inside], edit().source[~inside])
    assert not torch.equal(found[inside], edit().source[inside])


def test_the_first_frame_of_a_later_part_is_kept(wan: Any) -> None:
    first = normal(1, CHANNELS, 1, *CELLS[1:], seed=6)
    later = Edit(edit().source, cells(), first)
    found = edited(wan, prompts(), FlowAnchorSettings(num_steps=5), edit=later)
    assert torch.equal(found[:, :, :1], first)


def test_an_edit_goes_on_after_any_step(wan: Any, tmp_path: Path) -> None:
    settings, seen = FlowAnchorSettings(num_steps=5), list[EditStep[Editing]]()
    whole = edited(wan, prompts(), settings, on_step=seen.append)
    assert [step.index for step in seen] == [0, 1, 2]
    for step in seen:
        step.editing.save(tmp_path / "state.pt")
        start = Editing.load(tmp_path / "state.pt")
        assert torch.equal(edited(wan, prompts(), settings, start=start), whole)
    damaged = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    with pytest.raises(RunError, match="has changed since it was written"):
        Editing.load(tmp_path / "state.pt")


def test_what_is_no_number_is_refused(wan: Any) -> None:
    broken = prompts(target=torch.full((1, TEXT_LEN, TEXT_DIM), torch.nan))
    with pytest.raises(RunError, match="step 1: the network answers with NaN"):
        edited(wan, broken, FlowAnchorSettings(num_steps=5))


def test_some_step_must_be_left() -> None:
    with pytest.raises(ValidationError, match="expected fewer than num_steps, 2, got 2"):
        FlowAnchorSettings(num_steps=2)


@pytest.mark.parametrize("strides", [(4, 8), (4, 16)])
def test_cells_are_those_that_any_pixel_touches(strides: tuple[int, int]) -> None:
    mask = torch.zeros(9, 32, 48, dtype=torch.bool).numpy()
    mask[5, 17, 33] = True  # of frames 5 … 8, the third latent frame
    found = touched_cells(mask, *strides)
    assert found.shape == (1, 1, 3, 32 // strides[1], 48 // strides[1])
    assert found.nonzero().tolist() == [[0, 0, 2, 17 // strides[1], 33 // strides[1]]]
