"""AvED's parts: grids, contrast, relevance, sound, what is carried between frames, and the loop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from avipipe.editor.aved.carry import KeyChange, carried
from avipipe.editor.aved.config import AvedSettings
from avipipe.editor.aved.contrast import (
    cross_modal_nce,
    draw_pairs,
    draw_patches,
    info_nce,
    narrowed,
)
from avipipe.editor.aved.denoise import Denoiser, Reading, Readings
from avipipe.editor.aved.grids import (
    draw_order,
    frames_to_tokens,
    from_grids,
    level_shape,
    to_grids,
    tokens_to_frames,
)
from avipipe.editor.aved.optimise import (
    JointEdit,
    JointEditing,
    JointLatents,
    contrast,
    joint_edit,
)
from avipipe.editor.aved.relevance import min_max, watched
from avipipe.editor.aved.sound import MelForm, fitted
from avipipe.editor.common.diffusion import Schedule
from avipipe.editor.common.flow import sample_generator
from avipipe.editor.common.state import EditStep
from avipipe.errors import RunError
from tests.aved_models import CLIP_DIM, GPT_DIM, T5_DIM, picture_network, sound_network

FRAMES, CELLS = 4, (4, 6)
NUM_WORDS = 6
SCHEDULE = Schedule(torch.linspace(0.999, 0.01, 1000), "epsilon")
FEW = AvedSettings(num_steps=3, relevance=0.5)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> Tensor:
    return functional.normalize(normal(*shape, seed=seed), dim=-1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(step: int, purpose: str) -> torch.Generator:
    return sample_generator(0, step, purpose)


def picture_reading(seed: int, *marks: int) -> Reading:
    arguments = {"encoder_hidden_states": normal(1, NUM_WORDS, CLIP_DIM, seed=seed)}
    return Reading(arguments, "encoder_hidden_states", marked(*marks))


def sound_reading(seed: int, *marks: int) -> Reading:
    arguments = {
        "encoder_hidden_states": normal(1, 8, GPT_DIM, seed=seed),
        "encoder_hidden_states_1": normal(1, NUM_WORDS, T5_DIM, seed=seed),
        "encoder_attention_mask_1": torch.tensor([[1, 1, 1, 1, 1, 0]]),
    }
    return Reading(arguments, "encoder_hidden_states_1", marked(*marks))


def marked(*marks: int) -> Tensor | None:
    if not marks:
        return None
    marks_L = torch.zeros(NUM_WORDS, dtype=torch.bool)
    marks_L[list(marks)] = True
    return marks_L


@pytest.fixture(scope="module")
def networks() -> tuple[Any, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = (picture_network(), sound_network())
    return made[0].requires_grad_(False).eval(), made[1].requires_grad_(False).eval()


@pytest.fixture(scope="module")
def denoisers(networks: tuple[Any, Any]) -> tuple[Denoiser, Denoiser]:
    return (
        Denoiser(
            networks[0],
            SCHEDULE,
            Readings(picture_reading(1, 2), picture_reading(2, 2, 3), picture_reading(3)),
            guidance=7.5,
            block=1,
            side=2,
        ),
        Denoiser(
            networks[1],
            SCHEDULE,
            Readings(sound_reading(4, 1), sound_reading(5, 1), sound_reading(6)),
            guidance=3.5,
            block=0,
            side=1,
        ),
    )


def edit(**changes: Any) -> JointEdit:
    values: dict[str, Any] = {
        "source": JointLatents(normal(FRAMES, 4, *CELLS), normal(1, 4, 8, 4, seed=1)),
        "cells_K1hw": torch.ones(FRAMES, 1, *CELLS, dtype=torch.bool),
        "times_K": [0.125, 0.375, 0.625, 0.875],
        "sound_s": 1.0,
    }
    return JointEdit(**{**values, **changes})


def test_grids_and_their_order_can_be_undone() -> None:
    frames, order = normal(8, 3, 4, 6), draw_order(8, 2, generator())
    grids = to_grids(frames, order, 2)
    assert grids.shape == (2, 3, 8, 12)
    assert sorted(order.tolist()) == list(range(8))
    assert order.tolist() != list(range(8))
    assert torch.equal(grids[1, :, :4, 6:], frames[order[5]])
    assert torch.equal(from_grids(grids, order, 2), frames)
    assert torch.equal(draw_order(8, 2, generator()), order)


def test_tokens_of_grids_are_those_of_frames() -> None:
    frames, order = normal(8, 5, 4, 6), draw_order(8, 2, generator(1))
    tokens = to_grids(frames, order, 2).flatten(2).transpose(1, 2)
    by_frame = tokens_to_frames(tokens, (8, 12), order, 2)
    assert torch.equal(by_frame, frames.permute(0, 2, 3, 1))
    assert torch.equal(frames_to_tokens(by_frame, order, 2), tokens)
    assert level_shape((33, 22), 2) == (9, 6)


def test_info_nce_is_what_its_formula_says() -> None:
    anchors, references = unit(5, 7).double(), unit(5, 7, seed=1).double()
    found = info_nce(anchors, references, 0.07)
    for row in range(5):
        alike = [float((anchors[row] @ other / 0.07).exp()) for other in references]
        assert float(found[row]) == pytest.approx(-np.log(alike[row] / sum(alike)))
    ignored = torch.zeros(5, 5, dtype=torch.bool)
    ignored[0, 1:] = True
    assert float(info_nce(anchors, references, 0.07, ignored)[0]) == pytest.approx(0, abs=1e-12)


def test_pairs_of_one_time_are_no_counterexamples() -> None:
    seen, heard = unit(4, 6), unit(4, 6, seed=1)
    at_once = cross_modal_nce(seen, heard, torch.zeros(4, dtype=torch.long), 0.07)
    assert float(at_once) == pytest.approx(0, abs=1e-6)
    rows = torch.arange(4)
    found = cross_modal_nce(seen, heard, rows, 0.07)
    logits = seen @ heard.T / 0.07
    ways = [functional.cross_entropy(each, rows) for each in (logits, logits.T)]
    assert float(found) == pytest.approx(float(sum(ways) / 2), rel=1e-5)


def test_pairs_are_drawn_at_equal_times_within_the_edit() -> None:
    seen = torch.zeros(4, 2, 3, dtype=torch.bool)
    seen[0, 1, 2] = seen[2] = seen[3, 0, 0] = True
    heard = torch.zeros(2, 4, dtype=torch.bool)
    heard[1, [0, 3]] = True
    rows = torch.tensor([0, 0, 1, 1])
    found, sounds, times = draw_pairs(seen, heard, rows, 100, generator())
    assert sorted(found.tolist()) == [12, 13, 14, 15, 16, 17, 18]  # of frames 2 and 3 alone
    assert set(sounds.tolist()) <= {4, 7}
    assert times.tolist() == [1] * 7
    assert len(draw_pairs(seen, heard, rows, 3, generator())[0]) == 3
    assert not len(draw_pairs(seen, ~heard & heard, rows, 3, generator())[0])


def test_patches_that_touch_the_edit_are_left_out() -> None:
    region = torch.zeros(1, 4, 5, dtype=torch.bool)
    region[0, 0, 1] = True
    assert sorted(draw_patches(region, 1, 99, generator()).tolist()) == [0, *range(2, 20)]
    assert sorted(draw_patches(region, 2, 99, generator()).tolist()) == [1, 2, 3]
    assert len(draw_patches(region, 1, 5, generator())) == 5


def test_a_narrower_width_keeps_what_fits() -> None:
    tokens = normal(3, 16)
    assert narrowed(tokens, 16) is tokens
    low = narrowed(tokens, 8)
    assert low.shape == (3, 8)
    assert torch.equal(low, narrowed(tokens, 8))
    assert (low.norm(dim=-1) <= tokens.norm(dim=-1)).all()


def test_relevance_is_what_attention_gives_to_words(networks: tuple[Any, Any]) -> None:
    network, reading = networks[0], picture_reading(1, 2, 3)
    (block,) = [t for each in network.up_blocks[1].attentions[:1] for t in each.transformer_blocks]
    asked = list[Any]()
    hook = block.attn2.register_forward_pre_hook(
        lambda module, given, named: asked.append(given[0]), with_kwargs=True
    )
    with torch.no_grad(), watched(network, 1, reading.words) as shown:
        network(normal(1, 4, 8, 12), torch.tensor([5]), **reading.arguments)
    hook.remove()
    attention, text = block.attn2, reading.arguments["encoder_hidden_states"]
    query = attention.head_to_batch_dim(attention.to_q(asked[0]))
    key = attention.head_to_batch_dim(attention.to_k(text))
    shares = attention.get_attention_scores(query, key)[..., [2, 3]].sum(-1).mean(0)
    torch.testing.assert_close(shown.looks[0], shares, rtol=1e-5, atol=1e-6)
    assert len(shown.looks) == 2
    assert [tokens.shape[1] for tokens in shown.tokens] == [96, 96]
    assert not min_max(torch.full((3,), 0.2)).any()


def test_padding_of_a_text_is_not_looked_at(networks: tuple[Any, Any]) -> None:
    reading = sound_reading(4, NUM_WORDS - 1)  # the padding
    with torch.no_grad(), watched(networks[1], 0, reading.words) as shown:
        networks[1](normal(1, 4, 8, 4), torch.tensor([5]), **reading.arguments)
    assert len(shown.looks) == 2  # one a layer reads words, the others GPT-2's states or nothing
    assert not torch.stack(shown.looks).any()


def test_equal_prompts_have_no_gradient(denoisers: tuple[Denoiser, Denoiser]) -> None:
    for denoiser, latents in zip(denoisers, edit().source, strict=True):
        same = Readings(denoiser.readings.target, denoiser.readings.target, denoiser.readings.away)
        twin = Denoiser(
            denoiser.network,
            SCHEDULE,
            same,
            guidance=7.5,
            block=denoiser.block,
            side=denoiser.side,
        )
        order, noise = torch.arange(len(latents)), normal(*latents.shape, seed=9)
        assert not twin.compare(latents, latents, noise, 500, order).change_KChw.any()
        assert denoiser.compare(latents, latents, noise, 500, order).change_KChw.any()


def test_frames_are_asked_about_wherever_they_stand(denoisers: tuple[Denoiser, Denoiser]) -> None:
    """Order only changes which frames see one another: with equal frames, it changes nothing."""
    pictures = denoisers[0]
    one, noise = (normal(1, 4, *CELLS, seed=s).expand(FRAMES, -1, -1, -1) for s in (1, 2))
    first, second = (
        pictures.compare(one, one, noise, 500, torch.tensor(order)).relevance_Khw
        for order in ([0, 1, 2, 3], [3, 1, 0, 2])
    )
    torch.testing.assert_close(first, second[[3, 1, 0, 2]])


@pytest.mark.parametrize("which", [0, 1])
def test_the_pull_is_the_gradient_of_the_tokens(
    which: int, denoisers: tuple[Denoiser, Denoiser]
) -> None:
    denoiser, latents = denoisers[which], edit().source[which]
    noise, order = (
        normal(*latents.shape, seed=9),
        draw_order(len(latents), denoiser.side, generator()),
    )
    told = denoiser.compare(latents, latents, noise, 500, order)
    pulls = [normal(*tokens.shape, seed=n) for n, tokens in enumerate(told.target_tokens)]
    found = denoiser.pull(latents, noise, 500, order, pulls)
    alpha, sigma = SCHEDULE.shares(500)
    whole = latents.clone().requires_grad_()
    grids = to_grids(alpha * whole + sigma * noise, order, denoiser.side)
    total = torch.zeros(())
    for index, grid in enumerate(torch.split(grids, 1)):
        with watched(denoiser.network, denoiser.block) as shown:
            denoiser.network(grid, torch.tensor([500]), **denoiser.readings.target.arguments)
        for tokens, pull in zip(shown.tokens, pulls, strict=True):
            weights = frames_to_tokens(pull, order, denoiser.side)[index]
            total = total + (tokens[0] * weights).sum()
    torch.testing.assert_close(found, torch.autograd.grad(total, whole)[0], rtol=1e-4, atol=1e-6)
    assert all(weight.grad is None for weight in denoiser.network.parameters())


def test_contrast_draws_the_target_alone(denoisers: tuple[Denoiser, Denoiser]) -> None:
    given = edit()
    told = [
        denoiser.compare(
            latents, latents + 0.1, normal(*latents.shape), 500, torch.arange(len(latents))
        )
        for denoiser, latents in zip(denoisers, given.source, strict=True)
    ]
    pictures, sounds = denoisers
    pulls = contrast(pictures, sounds, told[0], told[1], given, FEW, generator())
    apart = FEW.model_copy(update={"cross_modal": False})
    alone = contrast(pictures, sounds, told[0], told[1], given, apart, generator())
    for side, seen in enumerate(told):
        assert [p.shape for p in pulls[side]] == [t.shape for t in seen.target_tokens]
        assert any(not torch.equal(a, b) for a, b in zip(pulls[side], alone[side], strict=True))
        assert not any(t.requires_grad for t in (*seen.source_tokens, *seen.target_tokens))


def test_an_edit_goes_on_after_any_step(
    denoisers: tuple[Denoiser, Denoiser], tmp_path: Path
) -> None:
    seen = list[EditStep[JointEditing]]()
    whole = joint_edit(*denoisers, edit(), FEW, draw, on_step=seen.append)
    assert [step.index for step in seen] == [0, 1, 2]
    for before, after in zip(edit().source, whole.target, strict=True):
        assert not torch.equal(before, after)
    for step in seen:
        step.editing.save(tmp_path / "state.pt")
        again = joint_edit(
            *denoisers, edit(), FEW, draw, start=JointEditing.load(tmp_path / "state.pt")
        )
        assert all(torch.equal(a, b) for a, b in zip(again.target, whole.target, strict=True))
        assert torch.equal(again.relevance_Khw, whole.relevance_Khw)


def test_pictures_change_only_where_they_may(denoisers: tuple[Denoiser, Denoiser]) -> None:
    cells = torch.zeros(FRAMES, 1, *CELLS, dtype=torch.bool)
    cells[:, :, 1:3, 2:] = True
    done = joint_edit(*denoisers, edit(cells_K1hw=cells), FEW, draw)
    inside = cells.expand(-1, 4, -1, -1)
    assert torch.equal(done.target.picture[~inside], edit().source.picture[~inside])
    assert (done.target.picture != edit().source.picture)[inside].all()


def test_settings_change_the_edit(denoisers: tuple[Denoiser, Denoiser]) -> None:
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"contrast_weight": 0.0},
        {"contrast_share": 0.3},
        {"cross_modal": False},
        {"patch_sizes": (1,)},
        {"relevance": 0.9},
        {"decay": 0.5},
    )
    few = {"num_steps": 2, "relevance": 0.75}
    found = [joint_edit(*denoisers, edit(), AvedSettings(**few | way), draw).target for way in ways]
    for index, one in enumerate(found):
        for other in found[:index]:
            assert not torch.equal(one.picture, other.picture)
            assert not torch.equal(one.sound, other.sound)


def test_what_is_no_number_is_refused(denoisers: tuple[Denoiser, Denoiser]) -> None:
    broken = edit(
        source=JointLatents(torch.full((FRAMES, 4, *CELLS), torch.nan), edit().source.sound)
    )
    with pytest.raises(RunError, match="step 1: the network answers with NaN"):
        joint_edit(*denoisers, broken, FEW, draw)


def test_frames_lie_in_the_sound_by_time() -> None:
    assert edit().rows(8).tolist() == [1, 3, 5, 7]
    assert edit().rows(2).tolist() == [0, 0, 1, 1]
    assert edit(sound_s=0.5).rows(2).tolist() == [0, 1, 1, 1]


FORM = MelForm(hop=160, num_mels=64, rate_hz=16_000, multiple=8)


def test_spectra_are_where_the_sound_is() -> None:
    wave = np.zeros(16_667, np.float32)
    wave[8000:8800] = 0.1 * np.sin(2 * np.pi * 2000 * np.arange(800) / 16_000)
    spectra, gain = FORM.spectra(wave)
    assert spectra.shape == (112, 64)
    assert FORM.duration_s(len(wave)) == pytest.approx(1.12)
    assert gain == pytest.approx(5, rel=0.01)
    assert spectra.exp().sum(1).argmax() in range(50, 55)
    loudest = int(spectra[52].argmax())
    assert loudest == 35  # of 64 bands up to 8 kHz, evenly on Slaney's scale, the one at 2 kHz
    assert float(spectra[100].max()) == pytest.approx(np.log(1e-5))
    silent, gain = FORM.spectra(np.zeros(16_000, np.float32))
    assert gain == 1
    assert float(silent.max()) == pytest.approx(np.log(1e-5))


def test_waves_are_fitted_to_the_sample() -> None:
    wave = np.full(10, 0.5, np.float32)
    assert fitted(wave, 7, 2.0).tolist() == [0.25] * 7
    assert fitted(wave, 12, 0.25).tolist() == [1.0] * 10 + [0.0] * 2


def test_changes_move_with_the_source() -> None:
    rng = np.random.default_rng(0)
    board = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    source = np.stack([np.roll(board, 2 * frame, axis=1) for frame in range(7)])
    spot = np.zeros((64, 80, 2), np.float32)
    spot[24:40, 24:40] = 1
    keys = [KeyChange(1, spot), KeyChange(5, np.roll(spot, 8, axis=1))]
    layers = list(carried(source, keys))
    assert layers[1] is keys[0].layers_HWC
    assert layers[5] is keys[1].layers_HWC
    for frame, layer in enumerate(layers):
        moved = np.roll(spot, 2 * (frame - 1), axis=1)
        assert np.abs(layer - moved).mean() < 0.02, frame
