"""The solver: its order, its background, and masks that are refined on the way."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from avipipe.editor.avi_edit.config import SampleConfig
from avipipe.editor.avi_edit.network.loading import build
from avipipe.editor.avi_edit.network.tokens import to_tokens
from avipipe.editor.avi_edit.network.transformer import EditorOutput, EditorTransformer
from avipipe.editor.avi_edit.sizes import EditorConfig
from avipipe.editor.avi_edit.solve import Conditions, Solving, Step, begin, precision_at, solve
from avipipe.editor.common.grid import sigma_grid
from avipipe.errors import ConfigError, RunError

TINY = EditorConfig.preset("tiny")
CELLS = (3, 4, 6)
LOW, HIGH = -20.0, 20.0

Velocity = Callable[[Tensor, float, Tensor], Tensor]
Logits = Callable[[dict[str, Any]], Tensor]


class Field:
    """A known velocity field, and a known refiner, instead of a network.

    Args:
        velocity: of latents, sigma and text.
        logits: of what it was asked.
    """

    dtype = torch.float32

    def __init__(self, velocity: Velocity, logits: Logits | None = None) -> None:
        self.velocity, self.logits = velocity, logits
        self.asked: list[dict[str, Any]] = []

    def __call__(
        self, latents: Tensor, timestep: Tensor, text: Tensor, /, **rest: Any
    ) -> EditorOutput:
        asked = {"latents": latents, "sigma": timestep.item() / 1000, **rest}
        self.asked.append(asked)
        refines = rest["refine"] and self.logits is not None
        logits = self.logits(asked) if refines and self.logits is not None else None
        return EditorOutput(self.velocity(latents, asked["sigma"], text), logits)


def still(latents: Tensor, sigma: float, text: Tensor) -> Tensor:
    return torch.zeros_like(latents)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def a_box() -> Tensor:
    mask = torch.zeros(1, 1, *CELLS, dtype=torch.bool)
    mask[..., 0:3, 1:5] = True
    return mask


def conditions(mask: Tensor | None = None, **changes: Any) -> Conditions:
    """An edit that the tiny network understands."""
    given = {
        "latents": normal(1, TINY.in_channels, *CELLS, seed=1),
        "mask": a_box() if mask is None else mask,
        "precision": TINY.max_precision,
        "text": normal(1, 5, TINY.text_dim, seed=2),
        "no_text": normal(1, 3, TINY.text_dim, seed=3),
        "audio": normal(1, 9, TINY.num_audio_states, TINY.audio_dim, seed=4),
        **changes,
    }
    return Conditions(**given)


def everywhere() -> Conditions:
    return conditions(torch.ones(1, 1, *CELLS, dtype=torch.bool))


def config(**changes: Any) -> SampleConfig:
    return SampleConfig.model_validate({"num_steps": 4, **changes})


@pytest.fixture(scope="module")
def net() -> EditorTransformer:
    """Its parts that begin at zero are stirred, so that all conditions matter."""
    model = build(TINY)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return model


def same_outside(latents: Tensor, mask: Tensor, edit: Conditions) -> bool:
    outside = ~mask.expand_as(latents)
    return torch.equal(latents[outside], edit.latents[outside])


@pytest.mark.parametrize("num_steps", [1, 3, 10])
def test_straight_paths_are_followed_exactly(num_steps: int) -> None:
    target = normal(1, TINY.in_channels, *CELLS, seed=9)
    field = Field(lambda x, sigma, text: (x - target) / sigma)
    made = solve(field, everywhere(), config(num_steps=num_steps, gamr_feedback="off"))
    torch.testing.assert_close(made.latents, target, rtol=0, atol=1e-5)


def linear_error(num_steps: int) -> float:
    """Of dx / dsigma = a x + c, whose solution is known."""
    a, c = -1.5, 0.7
    edit, settings = everywhere(), config(num_steps=num_steps, guidance=1, gamr_feedback="off")
    made = solve(Field(lambda x, sigma, text: a * x + c), edit, settings)
    noise = begin(edit, settings).latents
    exact = (noise + c / a) * torch.exp(torch.tensor(-a)) - c / a
    return float((made.latents - exact).abs().max())


def gaussian_error(num_steps: int) -> float:
    """Of the flow from noise to N(mean, std^2), which maps x to mean + std x."""
    mean, std = 0.5, 0.3

    def velocity(x: Tensor, sigma: float, text: Tensor) -> Tensor:
        variance = (1 - sigma) ** 2 * std**2 + sigma**2
        pull = (sigma - (1 - sigma) * std**2) / variance
        return pull * (x - (1 - sigma) * mean) - mean

    edit, settings = everywhere(), config(num_steps=num_steps, gamr_feedback="off")
    made = solve(Field(velocity), edit, settings)
    exact = mean + std * begin(edit, settings).latents
    return float((made.latents - exact).abs().max())


@pytest.mark.parametrize("error", [linear_error, gaussian_error])
def test_the_error_halves_when_the_steps_double(error: Callable[[int], float]) -> None:
    errors = [error(num_steps) for num_steps in (40, 80, 160, 320)]
    ratios = [one / next_ for one, next_ in itertools.pairwise(errors)]
    assert all(1.8 < ratio < 2.3 for ratio in ratios), ratios
    assert ratios[-1] == pytest.approx(2, abs=0.1)


def test_guidance_goes_beyond_the_text() -> None:
    edit = replace(everywhere(), text=torch.full((1, 1, 1), 2.0), no_text=torch.ones(1, 1, 1))
    settings = config(guidance=3, gamr_feedback="off")
    made = solve(Field(lambda x, sigma, text: text.mean() * torch.ones_like(x)), edit, settings)
    expected = begin(edit, settings).latents - (1 + 3 * (2 - 1))
    torch.testing.assert_close(made.latents, expected)


def test_without_guidance_the_network_is_asked_once_a_step() -> None:
    field = Field(still)
    solve(field, conditions(), config(guidance=1))
    assert len(field.asked) == 4


@pytest.mark.parametrize("feedback", ["paper", "off"])
def test_background_is_the_sources(net: EditorTransformer, feedback: str) -> None:
    edit, steps = conditions(), list[Step]()
    made = solve(net, edit, config(gamr_feedback=feedback), on_step=steps.append)
    assert same_outside(made.latents, made.mask, edit)
    inside = made.mask.expand_as(made.latents)
    assert (made.latents != edit.latents)[inside].all()
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [step.sigma for step in steps] == sigma_grid(4, 5.0)[:-1].tolist()
    assert steps[-1].num_cells == made.mask.sum()
    assert torch.equal(made.masks[-1:], made.mask)
    if feedback == "off":
        assert torch.equal(made.mask, edit.mask)


def test_an_empty_mask_gives_the_source() -> None:
    field, edit = Field(still), conditions(torch.zeros(1, 1, *CELLS, dtype=torch.bool))
    made = solve(field, edit, config())
    assert torch.equal(made.latents, edit.latents)
    assert not made.mask.any()
    assert not field.asked


def truth() -> Tensor:
    exact = torch.zeros(1, 1, *CELLS, dtype=torch.bool)
    exact[..., 1:3, 2:4] = True
    return exact


def oracle(asked: dict[str, Any]) -> Tensor:
    return torch.where(truth(), HIGH, LOW)


def test_an_oracle_refines_in_one_step_and_the_video_sees_it() -> None:
    field, edit = Field(still, oracle), conditions()
    made = solve(field, edit, config())
    assert torch.equal(made.masks, truth().expand(4, -1, -1, -1, -1))
    assert torch.equal(made.mask, truth())
    first, second = field.asked[0], field.asked[2]
    assert torch.equal(first["mask"], edit.mask)
    assert torch.equal(field.asked[1]["mask"], edit.mask)  # guidance compares like with like
    assert torch.equal(second["mask"], truth())
    assert same_outside(first["latents"], edit.mask, edit)
    assert same_outside(second["latents"], truth(), edit)
    assert second["refiner_mask"] is None  # it begins with the video's


class OracleHead(nn.Module):
    """The refiner's last layer, knowing the answer."""

    def forward(self, mask_BSD: Tensor, embedding_BD: Tensor) -> Tensor:
        answer = oracle({})
        return to_tokens(nn.functional.pixel_unshuffle(answer.transpose(1, 2), 2).transpose(1, 2))


def test_the_network_itself_is_given_the_refined_mask() -> None:
    model, seen = build(TINY), list[Tensor]()
    model.refiner.head = cast(Any, OracleHead())
    model.mask_embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    edit = conditions()
    made = solve(model, edit, config(guidance=1))
    assert torch.equal(made.mask, truth())
    assert [torch.equal(mask.bool(), edit.mask) for mask in seen] == [True, False, False, False]
    assert all(torch.equal(mask.bool(), truth()) for mask in seen[1:])


def test_released_feedback_reaches_the_refiner_only() -> None:
    field, edit = Field(still, oracle), conditions()
    made = solve(field, edit, config(gamr_feedback="released", kernel=1))
    assert all(torch.equal(asked["mask"], edit.mask) for asked in field.asked)
    assert torch.equal(field.asked[2]["refiner_mask"], truth())
    assert torch.equal(made.mask, truth())


def test_masks_only_shrink() -> None:
    """What a refiner wants back does not return."""
    wanted = [truth(), a_box(), torch.ones_like(truth()), truth()]

    def changing(asked: dict[str, Any]) -> Tensor:
        return torch.where(wanted[step_of(asked)], HIGH, LOW)

    made = solve(Field(still, changing), conditions(), config())
    assert torch.equal(made.masks, truth().expand(4, -1, -1, -1, -1))


def step_of(asked: dict[str, Any]) -> int:
    sigmas = [round(sigma, 4) for sigma in sigma_grid(4, 5.0).tolist()]
    return sigmas.index(round(asked["sigma"], 4))


def test_cells_stay_by_the_threshold_of_the_precision_told() -> None:
    """Cells of probability 0.1: too little for a box, and enough once masks are refined."""

    def doubtful(asked: dict[str, Any]) -> Tensor:
        return torch.where(truth(), HIGH, torch.logit(torch.tensor(0.1)))

    settings = config(kernel=1)
    assert torch.equal(solve(Field(still, doubtful), conditions(), settings).mask, truth())
    kept = solve(Field(still, doubtful), conditions(precision=2), settings)
    assert torch.equal(kept.mask, a_box())


def test_a_frame_that_would_vanish_keeps_its_mask() -> None:
    def loses_the_last_frame(asked: dict[str, Any]) -> Tensor:
        logits = oracle(asked)
        logits[:, :, -1] = LOW
        return logits

    made = solve(Field(still, loses_the_last_frame), conditions(), config())
    assert torch.equal(made.mask[:, :, :-1], truth()[:, :, :-1])
    assert torch.equal(made.mask[:, :, -1], a_box()[:, :, -1])


def test_late_steps_leave_the_mask() -> None:
    field = Field(still, oracle)
    solve(field, conditions(), config(guidance=1, refine_above_sigma=0.9))
    assert [asked["refine"] for asked in field.asked] == [True, True, False, False]


@pytest.mark.parametrize(
    ("precision", "changes", "expected"),
    [
        (4, {}, [4, 1, 1, 1]),
        (4, {"last_precision": 0}, [4, 0, 0, 0]),
        (4, {"precision_steps": 4, "last_precision": 0}, [4, 3, 2, 1]),
        (2, {"precision_steps": 2, "last_precision": 0}, [2, 1, 0, 0]),
        (0, {}, [0, 0, 0, 0]),
        (4, {"gamr_feedback": "off"}, [4, 4, 4, 4]),
    ],
)
def test_precision_falls(precision: int, changes: dict[str, Any], expected: list[int]) -> None:
    field, settings = Field(still, oracle), config(guidance=1, **changes)
    assert [precision_at(settings, precision, step) for step in range(4)] == expected
    solve(field, conditions(precision=precision), settings)
    assert [asked["precision"].item() for asked in field.asked] == expected


def test_clean_frames_come_out_as_they_are(net: EditorTransformer) -> None:
    edit = conditions(clean_frames=1)
    field = Field(still)
    solve(field, edit, config())
    assert field.asked[0]["clean"].tolist() == [[True, False, False]]
    assert torch.equal(field.asked[0]["latents"][:, :, 0], edit.latents[:, :, 0])
    assert not field.asked[0]["mask"][:, :, 0].any()
    assert torch.equal(field.asked[0]["mask"][:, :, 1:], edit.mask[:, :, 1:])
    made = solve(net, edit, config(gamr_feedback="off"))
    assert torch.equal(made.latents[:, :, 0], edit.latents[:, :, 0])
    assert (made.latents != edit.latents)[:, :, 1:][:, :, edit.mask[0, 0, 1:]].all()


def test_the_seed_alone_decides(net: EditorTransformer) -> None:
    one, same, other = (solve(net, conditions(), config(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one.latents, same.latents)
    assert torch.equal(one.masks, same.masks)
    assert not torch.equal(one.latents, other.latents)


@pytest.mark.parametrize("feedback", ["paper", "released"])
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_edit_is_the_same(
    net: EditorTransformer, tmp_path: Path, feedback: str, stop: int
) -> None:
    settings, path = config(gamr_feedback=feedback), tmp_path / "state.safetensors"

    def interrupt(step: Step) -> None:
        step.solving.save(path)
        if step.index == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(net, conditions(), settings, on_step=interrupt)
    made = solve(net, conditions(), settings, start=Solving.load(path))
    whole = solve(net, conditions(), settings)
    assert torch.equal(made.latents, whole.latents)
    assert torch.equal(made.masks, whole.masks)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"torn")
    with pytest.raises(RunError, match="delete the file"):
        Solving.load(path)


def test_all_conditions_reach_the_network_in_its_type() -> None:
    model = build(TINY)
    cast(nn.Module, model).to(torch.bfloat16)
    control = normal(1, TINY.in_channels, *CELLS, seed=5)
    edit = conditions(
        controls={"scribble": control}, references=normal(1, TINY.in_channels, 2, 4, 6), precision=4
    )
    made = solve(model, edit, config())
    assert made.latents.dtype == torch.float32
    assert same_outside(made.latents, made.mask, edit)


def test_nonsense_of_the_network_is_told() -> None:
    field = Field(lambda x, sigma, text: x * torch.nan)
    with pytest.raises(RunError, match="step 1: the network answers with NaN"):
        solve(field, conditions(), config())


def test_wrong_settings_are_told() -> None:
    with pytest.raises(ConfigError, match=r"from 0 to 4, .*; got 5"):
        solve(Field(still), conditions(precision=5), config())
    with pytest.raises(ValidationError, match="expected an odd number, got 2"):
        config(kernel=2)
