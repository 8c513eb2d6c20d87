"""What the network is given of a batch, and what it is not."""

from dataclasses import replace
from functools import cache

import torch

from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.network.loading import build
from avipipe.editor.avi_edit.network.transformer import EditorOutput, EditorTransformer
from avipipe.editor.avi_edit.train.objective import Draws, draw, draw_at, losses_of, predict
from tests.editor_batches import batch_of, tiny_config

CONFIG = tiny_config()
BATCH = batch_of([0, 2])


@cache
def model() -> EditorTransformer:
    """Whose new modules answer, too: with fresh ones it would be deaf."""
    fresh, generator = build(CONFIG.network.sizes), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in fresh.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return fresh


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(number) for number in (0, 1)]


@torch.no_grad()
def answer(draws: Draws, batch: Batch = BATCH) -> EditorOutput:
    return predict(model(), batch, draws, torch.float32)


def test_what_is_dropped_is_not_given_and_only_to_that_sample() -> None:
    whole = draw_at(BATCH, generators(), 0.7)
    second = torch.tensor([False, True])
    mute = replace(BATCH, has_audio=~second)
    blank = replace(BATCH, text=torch.stack([BATCH.text[0], BATCH.no_text[0]]))
    for dropped, without in (("no_audio", mute), ("no_text", blank)):
        found = answer(replace(whole, **{dropped: second})).velocity
        torch.testing.assert_close(found, answer(whole, without).velocity)
        full = answer(whole).velocity
        torch.testing.assert_close(found[0], full[0])
        assert (found[1] - full[1]).abs().max() > 1e-3


def test_the_background_is_given_as_it_is() -> None:
    """So an answer depends on the noise in the mask alone."""
    draws = draw_at(BATCH, generators(), 0.9)
    elsewhere = torch.where(BATCH.mask, draws.noise, torch.zeros(()))
    assert torch.equal(answer(draws).velocity, answer(replace(draws, noise=elsewhere)).velocity)


def test_draws_are_those_of_each_sample_and_reach_the_losses() -> None:
    draws = draw(BATCH, generators(), CONFIG.sigmas, CONFIG.drop)
    alone = draw(batch_of([2]), generators()[1:], CONFIG.sigmas, CONFIG.drop)
    assert torch.equal(draws.noise[1:], alone.noise)
    assert torch.equal(draws.sigma[1:], alone.sigma)
    perfect = EditorOutput(draws.noise - BATCH.latents, 40.0 * BATCH.exact_mask.float() - 20.0)
    losses = losses_of(perfect, BATCH, draws, CONFIG.loss)
    assert losses.total < 1e-8
