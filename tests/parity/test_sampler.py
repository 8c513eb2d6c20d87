"""The sampler against the numbers of AVI-Edit's own loop."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.editor.avi_edit.config import SampleConfig
from avipipe.editor.avi_edit.network.transformer import EditorOutput, EditorTransformer
from avipipe.editor.avi_edit.solve import Conditions, Solution, begin, solve
from avipipe.editor.common.flow import NUM_TIMESTEPS, velocity_target
from avipipe.editor.common.grid import euler_step, sigma_grid
from tests.parity.aviedit_fixtures import SCENARIO, arrays, close, given, network

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 3e-4


@pytest.mark.parametrize(("steps", "shift"), SCENARIO["sigma_grids_steps_shift"])
def test_sigma_grid(steps: int, shift: float) -> None:
    expected, name = arrays("sampler"), f"{steps}_shift{shift:g}"
    sigmas = sigma_grid(steps, shift)
    assert sigmas[-1] == 0
    np.testing.assert_allclose(sigmas[:-1], expected[f"wan_sigmas_{name}"], rtol=1e-6)
    for key, factor in (("sigmas", 1), ("timesteps", NUM_TIMESTEPS)):
        np.testing.assert_allclose(
            factor * sigmas[:-1], expected[f"aviedit_{key}_{name}"], rtol=1e-6
        )
    explicit = expected[f"diffusers_euler_explicit_sigmas_{name}"]
    np.testing.assert_allclose(sigmas, explicit, rtol=1e-6, atol=1e-9)


def test_euler_steps() -> None:
    expected = arrays("sampler")
    steps, shift = SCENARIO["sigma_grids_steps_shift"][1]
    sigmas = sigma_grid(steps, shift).tolist()
    sample, velocity, noise = (given(f"euler.{name}") for name in ("sample", "velocity", "noise"))
    for row, step in enumerate(expected["euler_step_ids"].tolist()):
        moved = euler_step(sample, velocity, sigmas[step], sigmas[step + 1])
        close(moved[0], expected["euler_step_out"][row], 1e-6)
        noisy = (1 - sigmas[step]) * sample + sigmas[step] * noise
        close(noisy[0], expected["add_noise_out"][row], 1e-6)
    close(velocity_target(sample, noise), expected["training_target"], 1e-6)


class Recorded:
    """A network, and what it was asked and answered, call by call."""

    dtype = torch.float32

    def __init__(self, net: EditorTransformer) -> None:
        self.net = net
        self.asked: list[dict[str, Any]] = []
        self.answers: list[EditorOutput] = []

    def __call__(
        self, latents: Tensor, timestep: Tensor, text: Tensor, /, **rest: Any
    ) -> EditorOutput:
        self.asked.append({"latents": latents, "timestep": timestep, **rest})
        self.answers.append(self.net(latents, timestep, text, **rest))
        return self.answers[-1]


def conditions(loop: str, chunk: int) -> Conditions:
    return Conditions(
        latents=given(f"{loop}.source_latent_{chunk}"),
        mask=arrays(loop)["user_mask"][chunk][None].bool(),
        precision=SCENARIO[loop]["p"],
        text=given(f"{loop}.context_pos"),
        no_text=given(f"{loop}.context_neg"),
        audio=given(f"{loop}.audio_features_{chunk}"),
    )


def released(net: EditorTransformer, loop: str, edit: Conditions) -> tuple[Recorded, Solution]:
    sizes = SCENARIO[loop]
    config = SampleConfig(num_steps=sizes["steps"], guidance=sizes["cfg"], gamr_feedback="released")
    start = replace(begin(edit, config), latents=given(f"{loop}.noise"))
    asked = Recorded(net)
    return asked, solve(asked, edit, config, start=start)


def check_calls(loop: str, chunk: int, asked: Recorded, solution: Solution) -> None:
    """Of one chunk: what the network was asked, and the masks that came of its answers."""
    expected, steps = arrays(loop), SCENARIO[loop]["steps"]
    calls = slice(2 * steps * chunk, 2 * steps * (chunk + 1))
    rows = slice(steps * chunk, steps * (chunk + 1))
    masks = expected["refined_mask"][rows].bool()
    assert torch.equal(solution.masks, masks)
    assert torch.equal(solution.mask, masks[-1:])
    seen = torch.cat([call["precision"] for call in asked.asked])
    assert torch.equal(seen, expected["call_p"][calls])
    timesteps = torch.cat([call["timestep"] for call in asked.asked])
    close(timesteps, expected["call_t"][calls], 1e-6)
    clean = [call["clean"] is not None for call in asked.asked]
    assert clean == expected["call_first_frame_t0"][calls].tolist()
    conditional = asked.asked[::2]
    inputs = torch.cat([torch.cat([call["latents"], call["mask"]], 1) for call in conditional])
    close(inputs, expected["model_input"][rows], TOLERANCE)
    shown = torch.cat([call["refiner_mask"] for call in conditional])
    assert torch.equal(shown, expected["gamr_input_mask"][calls][::2].bool())
    answers = [answer.mask_logits for answer in asked.answers[::2]]
    logits = [answer for answer in answers if answer is not None]
    close(torch.cat(logits), expected["mask_logits"][calls][::2], TOLERANCE)


@pytest.fixture(scope="module")
def net() -> EditorTransformer:
    return network()


def test_released_loop(net: EditorTransformer) -> None:
    expected = arrays("loop_single")
    asked, solution = released(net, "loop_single", conditions("loop_single", 0))
    check_calls("loop_single", 0, asked, solution)
    velocities = torch.cat([answer.velocity for answer in asked.answers])
    close(velocities, expected["velocity"], TOLERANCE)
    close(solution.latents, expected["result"], TOLERANCE)


def test_released_loop_of_two_chunks(net: EditorTransformer) -> None:
    """The last frame of a chunk is given clean to the next, and left out of what that gives."""
    expected, parts = arrays("loop_long"), list[Tensor]()
    for chunk in range(SCENARIO["loop_long"]["chunks"]):
        edit = conditions("loop_long", chunk)
        if chunk:
            source = torch.cat([parts[-1][:, :, -1:], edit.latents[:, :, 1:]], dim=2)
            edit = replace(edit, latents=source, clean_frames=1)
        asked, solution = released(net, "loop_long", edit)
        check_calls("loop_long", chunk, asked, solution)
        parts.append(solution.latents[:, :, min(chunk, 1) :])
    close(asked.answers[-1].velocity, expected["velocity_last_call"], TOLERANCE)
    close(torch.cat(parts, dim=2), expected["result"], TOLERANCE)


def test_the_paper_differs_from_the_code_in_what_the_video_sees(net: EditorTransformer) -> None:
    """With feedback the background comes out as it is, and the mask never outgrows the user's."""
    edit = conditions("loop_single", 0)
    config = SampleConfig(num_steps=4, gamr_feedback="paper")
    solution = solve(net, edit, config)
    assert not (solution.mask & ~edit.mask).any()
    outside = ~solution.mask.expand_as(solution.latents)
    assert torch.equal(solution.latents[outside], edit.latents[outside])
    assert 0 < solution.mask.sum() < edit.mask.sum()
