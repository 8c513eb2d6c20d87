"""FlowEdit against the numbers of its own code, FlowAnchor against those of its formulas."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.editor.common.grid import sigma_grid
from avipipe.editor.flow_anchor.amm import contrast_of, modulate
from avipipe.editor.flow_anchor.config import FlowAnchorSettings
from avipipe.editor.flow_anchor.flow_edit import Edit, flow_edit, sigmas_of
from avipipe.editor.flow_anchor.sar import Anchors
from tests.parity.aviedit_fixtures import MANIFEST, SCENARIO, arrays, close, given

SIZES = SCENARIO["flowedit"]


class Linear:
    """Fields a z + b sigma + c, guided; rows (without text, source, target)."""

    def __init__(self, fields: Tensor, guidances: tuple[float, float]) -> None:
        self.fields, self.guidances = fields.tolist(), guidances

    def source(self, latents: Tensor, sigma: float) -> Tensor:
        return self._guided(latents, sigma, 1)

    def target(self, latents: Tensor, sigma: float) -> Tensor:
        return self._guided(latents, sigma, 2)

    def _guided(self, latents: Tensor, sigma: float, row: int) -> Tensor:
        away, towards = (
            a * latents + b * sigma + c for a, b, c in (self.fields[0], self.fields[row])
        )
        guided: Tensor = away + self.guidances[row - 1] * (towards - away)
        return guided


def in_order(seed: str) -> Callable[[int, int], Tensor]:
    """Draws one after the other, as the reference numbers have them."""
    rng = np.random.default_rng(MANIFEST["extra_seeds"][seed])

    def draw(step: int, number: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(SIZES["shape"]).astype(np.float32))

    return draw


def edited(
    fields: Tensor, seed: str, guidances: tuple[float, float], num_noises: int = 1
) -> Tensor:
    source = given("flowedit.source")
    settings = FlowAnchorSettings(
        num_steps=SIZES["T"],
        skipped_steps=SIZES["T"] - SIZES["n_max"],
        num_noises=num_noises,
        amm=False,
    )
    edit = Edit(source, torch.ones_like(source[:, :1]).bool())
    return flow_edit(Linear(fields, guidances), edit, settings, in_order(seed))


GUIDANCES = (SIZES["gs"], SIZES["gt"])


def test_the_noise_levels_are_those_of_flow_edit() -> None:
    expected = arrays("flowedit")["sigmas"]
    np.testing.assert_allclose(sigma_grid(SIZES["T"], 5.0)[: len(expected)], expected, rtol=1e-6)


def test_flow_edit() -> None:
    expected = arrays("flowedit")
    found = edited(expected["fields"], "noise_seed_general", GUIDANCES, SIZES["n_avg"])
    close(found, expected["edited"], 1e-5)


def test_a_field_of_one_slope_moves_all_alike() -> None:
    expected = arrays("flowedit")
    found = edited(expected["closed_fields"], "noise_seed_closed", GUIDANCES)
    close(found, expected["closed_edited"], 1e-5)
    close(found, given("flowedit.source") + float(expected["closed_shift"]), 1e-5)


def test_equal_prompts() -> None:
    """At one guidance the source comes back, to the bit; at two it does not."""
    expected = arrays("flowedit")
    same = expected["fields"][[0, 1, 1]]
    unequal = edited(same, "noise_seed_same", GUIDANCES)
    close(unequal, expected["same_prompt_unequal_cfg"], 1e-5)
    equal = edited(same, "noise_seed_same", (SIZES["gs"], SIZES["gs"]))
    close(equal, expected["same_prompt_equal_cfg"], 1e-5)
    assert torch.equal(equal, given("flowedit.source"))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_attention_is_refined_as_by_the_formulas(dtype: torch.dtype, tolerance: float) -> None:
    expected = arrays("flowanchor")
    hand = anchors([0], expected["hand_mask"], (0.3, 0.3), expected["hand_logits"].shape[-1])
    close(hand.refine(expected["hand_logits"].to(dtype)).double(), expected["hand_out"], tolerance)
    words, strengths = expected["sar_text_ids"].tolist(), tuple(expected["sar_params"].tolist())
    logits = given("flowanchor.logits").to(dtype)
    assert torch.equal(given("flowanchor.mask").bool(), expected["sar_mask"].bool())
    drawn = anchors(words, expected["sar_mask"], strengths, logits.shape[-1])
    refined = drawn.refine(logits)
    close(refined.double(), expected["sar_out"], tolerance)
    close(refined.softmax(-1).double(), expected["sar_probs"], tolerance)


def anchors(
    words: list[int], mask: Tensor, strengths: tuple[float, float], num_words: int
) -> Anchors:
    words_L = torch.zeros(num_words, dtype=torch.bool)
    words_L[words] = True
    return Anchors(words_L, mask.bool(), *strengths)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_magnitude_is_modulated_as_by_the_formulas(dtype: torch.dtype, tolerance: float) -> None:
    expected, change = arrays("flowanchor"), given("flowanchor.delta_v").to(dtype)
    close(contrast_of(change, "signed").double(), expected["amm_contrast"], tolerance)
    close(contrast_of(change, "abs").double(), expected["amm_contrast_absolute"], tolerance)
    gain = np.log(change.shape[1]) / np.log(21)
    np.testing.assert_allclose(gain, expected["amm_gamma"], rtol=1e-9)
    close(modulate(change, 1.0, "signed").double(), expected["amm_out"], tolerance)


def test_20_of_25_steps_are_anchored() -> None:
    expected = arrays("flowanchor")["sigma_25_shift5"]
    settings = FlowAnchorSettings()
    sigmas = sigma_grid(settings.num_steps, settings.shift)
    np.testing.assert_allclose(sigmas[:-1], expected, rtol=1e-6)
    assert int((sigmas >= settings.sar_from_sigma).sum()) == 20
    assert len(sigmas_of(settings)) - 1 == 23
