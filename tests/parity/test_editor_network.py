"""The editor's network against the numbers of AVI-Edit's and Wan's own code."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avipipe.editor.avi_edit.audio_features import (
    at_released_rate,
    released_frame_index,
    resample_states,
)
from avipipe.editor.avi_edit.convert import NOT_RELEASED, released_name
from avipipe.editor.avi_edit.masks import downsample_mask, interpolate_as_released
from avipipe.editor.avi_edit.network.gamr import GamrBlock
from avipipe.editor.avi_edit.network.loading import blank
from avipipe.editor.avi_edit.network.tokens import to_tokens, unpatchify
from avipipe.editor.avi_edit.network.transformer import EditorOutput, EditorTransformer
from avipipe.editor.avi_edit.refine import THRESHOLDS, refine_mask, refine_mask_as_released
from avipipe.editor.avi_edit.sizes import EditorConfig
from tests.parity.aviedit_fixtures import (
    MANIFEST,
    SCENARIO,
    arrays,
    close,
    config,
    given,
    keys,
    network,
    wan,
)

AUDIO_TOLERANCE = 2e-5
GAMR_TOLERANCE = 3e-5
NETWORK_TOLERANCE = 1e-4
LOOP_TOLERANCE = 3e-4

GRID: tuple[int, int, int] = tuple(SCENARIO["latent_grid_fhw"])
TOKEN_GRID = (GRID[0], GRID[1] // 2, GRID[2] // 2)
SETTINGS = SCENARIO["network_settings_name_t_p_latentframemask"]


@pytest.fixture(scope="module", autouse=True)
def _quietly() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def net() -> EditorTransformer:
    return network()


def by_frame(audio_BLCF: Tensor) -> Tensor:
    return audio_BLCF.permute(0, 3, 1, 2)


@pytest.mark.parametrize("num_frames", SCENARIO["audio_encoder_frames"])
def test_audio_encoder(net: EditorTransformer, num_frames: int) -> None:
    expected = arrays("audio_encoder")
    audio = by_frame(given(f"audio_encoder.features_F{num_frames}"))
    tokens = net.audio_encoder(audio)
    close(net.audio_encoder.mix(audio), expected[f"F{num_frames}_mix"], AUDIO_TOLERANCE)
    close(tokens.local_BTKD, expected[f"F{num_frames}_local"], AUDIO_TOLERANCE)
    close(tokens.overall_BTD[:, :, None], expected[f"F{num_frames}_global"], AUDIO_TOLERANCE)


@pytest.mark.parametrize("num_frames", SCENARIO["audio_encoder_frames"])
def test_audio_encoder_hears_the_past_only(net: EditorTransformer, num_frames: int) -> None:
    audio = by_frame(given(f"audio_encoder.features_F{num_frames}"))[:1]
    before = net.audio_encoder(audio).local_BTKD[0]
    depends = []
    for frame in range(num_frames):
        disturbed = audio.clone()
        disturbed[:, frame] += 1
        after = net.audio_encoder(disturbed).local_BTKD[0]
        depends.append((after != before).flatten(1).any(dim=1))
    assert torch.equal(torch.stack(depends), arrays("audio_encoder")[f"F{num_frames}_depends"])


def test_audio_injector(net: EditorTransformer) -> None:
    expected = arrays("audio_injector")
    audio = net.audio_encoder(by_frame(given("injector.audio_features")))
    video, small = given("injector.hidden_states"), given("injector.hidden_states_small")
    for layer, injection in net.audio_injections.items():
        for name, tokens in ((f"adaln_block{layer}", video), (f"adaln_small_block{layer}", small)):
            normalised = injection.normalise(tokens, audio)  # type: ignore[operator]
            close(normalised.reshape(expected[name].shape), expected[name], AUDIO_TOLERANCE)
        injected = video + injection(video, audio)
        close(injected, expected[f"out_block{layer}"], AUDIO_TOLERANCE)


class Refiner:
    """The refiner's parts on the inputs of `gamr.npz`."""

    def __init__(self, net: EditorTransformer) -> None:
        self.net = net
        self.audio = net.audio_encoder(given("net.audio_features"))
        self.rotary = net.rope(given("net.latents"))
        times = torch.tensor([SCENARIO["gamr_timestep"], 0.0])
        self.temb, modulation, _, _ = net.condition_embedder(times, given("net.context"))
        self.modulation = modulation.reshape(2, 1, 6, -1)

    def block(self, p: int, mask_tokens: Tensor, clean: Tensor | None = None) -> Tensor:
        blocks = list(self.net.refiner.blocks.values())
        time, time_0 = self.modulation.split(1)
        if clean is not None:
            time = torch.where(clean[..., None, None], time_0, time)
        _, precision = self.net.refiner.precision(torch.tensor([float(p)]))
        block = blocks[(p - 1) % len(blocks)]
        assert isinstance(block, GamrBlock)
        video = given("gamr.video_tokens")
        tokens: Tensor = block(
            mask_tokens, video, time + precision, self.rotary, GRID[0], self.audio
        )
        return tokens

    def head(self, p: int, mask_tokens: Tensor) -> Tensor:
        embedding, _ = self.net.refiner.precision(torch.tensor([float(p)]))
        logits: Tensor = self.net.refiner.head(mask_tokens, embedding)
        return logits


@pytest.fixture(scope="module")
def refiner(net: EditorTransformer) -> Refiner:
    return Refiner(net)


def test_refiner_embeds_time_and_mask(net: EditorTransformer, refiner: Refiner) -> None:
    expected = arrays("gamr")
    mask_tokens = to_tokens(net.refiner.patch_embedding(given("net.instance_mask")))
    close(mask_tokens, expected["mask_tokens"], GAMR_TOLERANCE)
    close(refiner.temb[:1], expected["temb"], GAMR_TOLERANCE)
    close(refiner.modulation[0], expected["t_mod"], GAMR_TOLERANCE)
    close(refiner.modulation[1], expected["t0_mod"], GAMR_TOLERANCE)


@pytest.mark.parametrize("p", SCENARIO["gamr_p"])
def test_refiner(net: EditorTransformer, refiner: Refiner, p: int) -> None:
    expected = arrays("gamr")
    assert net.precision is not None
    embedding, modulation = net.refiner.precision(torch.tensor([float(p)]))
    close(embedding, expected[f"p{p}_embed"], GAMR_TOLERANCE)
    close(modulation[:, 0], expected[f"p{p}_mod"], GAMR_TOLERANCE)
    backbone_modulation = net.precision(torch.tensor([float(p)]))[1]
    close(backbone_modulation[:, 0], expected[f"p{p}_backbone_mod"], GAMR_TOLERANCE)

    tokens = given("gamr.mask_tokens")
    close(refiner.block(p, tokens), expected[f"p{p}_out"], GAMR_TOLERANCE)
    clean = torch.tensor([SCENARIO["gamr_latent_frame_mask"]]) == 0
    close(refiner.block(p, tokens, clean), expected[f"p{p}_out_lfm"], GAMR_TOLERANCE)
    close(refiner.head(p, tokens), expected[f"p{p}_head_tokens"], GAMR_TOLERANCE)
    logits = unpatchify(refiner.head(p, tokens), TOKEN_GRID)
    close(logits, expected[f"p{p}_head_logits"], GAMR_TOLERANCE)


def test_refiner_with_small_inputs(refiner: Refiner) -> None:
    expected, small = arrays("gamr"), given("gamr.mask_tokens_small")
    close(refiner.block(1, small), expected["p1_out_small"], GAMR_TOLERANCE)
    close(refiner.head(1, small), expected["p1_head_tokens_small"], GAMR_TOLERANCE)


def run(net: EditorTransformer, t: float, p: float, kept: list[int] | None) -> EditorOutput:
    latents = given("net.latents")
    output: EditorOutput = net(
        latents[:, :-1],
        torch.tensor([t]),
        given("net.context"),
        mask=latents[:, -1:],
        refiner_mask=given("net.instance_mask"),
        precision=torch.tensor([p]),
        audio=given("net.audio_features"),
        clean=None if kept is None else torch.tensor([kept]) == 0,
    )
    return output


@pytest.mark.parametrize(("name", "t", "p", "kept"), [*SETTINGS, ("p0", SETTINGS[0][1], 0, None)])
def test_whole_network(
    net: EditorTransformer, name: str, t: float, p: float, kept: list[int] | None
) -> None:
    expected = arrays("net_forward")
    output = run(net, t, p, kept)
    assert output.mask_logits is not None
    close(output.velocity, expected[f"{name}_velocity"], NETWORK_TOLERANCE)
    close(output.mask_logits, expected[f"{name}_mask_logits"], NETWORK_TOLERANCE)


def test_every_block(net: EditorTransformer) -> None:
    """Where an error comes from, if the whole network has one."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            seen[name] = output
            if name.startswith("gamr_after"):
                seen[f"{name.removeprefix('gamr_after_')}_injected"] = inputs[1]

        return hook

    hooks = [
        block.register_forward_hook(keep(f"block{index}")) for index, block in enumerate(net.blocks)
    ]
    hooks += [
        block.register_forward_hook(keep(f"gamr_after_block{layer}"))
        for layer, block in net.refiner.blocks.items()
    ]
    _, t, p, kept = SETTINGS[0]
    run(net, t, p, kept)
    for hook in hooks:
        hook.remove()
    expected = {
        key.removeprefix("a_"): value
        for key, value in arrays("net_forward").items()
        if key.startswith("a_") and "block" in key
    }
    assert expected.keys() == seen.keys()
    for name, value in expected.items():
        close(seen[name], value, NETWORK_TOLERANCE)


def test_backbone_that_does_not_know_the_precision() -> None:
    net, latents = network(backbone_p=False), given("net.latents")
    output = net(
        latents[:, :-1],
        torch.tensor([SETTINGS[0][1]]),
        given("net.context"),
        mask=latents[:, -1:],
        precision=torch.ones(1),
        refine=False,
    )
    assert output.mask_logits is None
    close(output.velocity, arrays("net_forward")["backbone_only_velocity"], NETWORK_TOLERANCE)


LOOPS = ("loop_single", "loop_long")


@pytest.mark.parametrize("loop", LOOPS)
def test_every_call_of_the_released_loops(net: EditorTransformer, loop: str) -> None:
    """All in one batch, of which the released network is not capable."""
    expected = arrays(loop)
    p = expected["call_p"]
    num_calls, num_chunks = len(p), SCENARIO[loop].get("chunks", 1)
    each = num_calls // num_chunks
    chunks = range(num_chunks)
    clean = torch.zeros(num_calls, expected["mask_logits"].shape[2], dtype=torch.bool)
    clean[:, 0] = expected["call_first_frame_t0"]
    inputs = expected["model_input"].repeat_interleave(2, dim=0)
    texts = torch.cat([given(f"{loop}.context_{sign}") for sign in ("pos", "neg")])
    output: EditorOutput = net(
        inputs[:, :-1],
        expected["call_t"],
        texts.repeat(num_calls // 2, 1, 1),
        mask=inputs[:, -1:],
        refiner_mask=expected["gamr_input_mask"],
        precision=p,
        audio=torch.cat(
            [given(f"{loop}.audio_features_{chunk}").expand(each, -1, -1, -1) for chunk in chunks]
        ),
        clean=clean,
    )
    assert output.mask_logits is not None
    close(output.mask_logits, expected["mask_logits"], LOOP_TOLERANCE)
    if "velocity" in expected:
        close(output.velocity, expected["velocity"], LOOP_TOLERANCE)
    else:
        close(output.velocity[-1:], expected["velocity_last_call"], LOOP_TOLERANCE)


@pytest.mark.parametrize("loop", LOOPS)
def test_every_mask_of_the_released_loops(loop: str) -> None:
    expected = arrays(loop)
    logits, p = expected["mask_logits"][::2], expected["call_p"][::2]
    num_chunks = len(expected["user_mask"])
    user_masks = expected["user_mask"].bool().repeat_interleave(len(p) // num_chunks, dim=0)
    thresholds = torch.full((len(p),), THRESHOLDS[1])
    first = range(0, len(p), len(p) // num_chunks)
    thresholds[list(first)] = torch.tensor([THRESHOLDS[int(p[step])] for step in first])
    refined = refine_mask_as_released(logits, user_masks, thresholds)
    assert torch.equal(refined, expected["refined_mask"].bool())
    within = refine_mask(logits, user_masks, thresholds)
    assert not (within & ~user_masks).any()


def test_plain_wan() -> None:
    net, expected = wan(), arrays("wan_ti2v")
    latents, context = given("wan.latents"), given("wan.context")
    scalar = net(latents, torch.tensor(SCENARIO["wan_timesteps"]), context)
    close(scalar.velocity, expected["scalar_t"], NETWORK_TOLERANCE)
    close(scalar.velocity, expected["scalar_t_diffusers"], NETWORK_TOLERANCE)
    per_token = net(latents, expected["token_t"], context)
    close(per_token.velocity, expected["per_token_t"], NETWORK_TOLERANCE)
    assert per_token.mask_logits is None


def test_clean_frames_are_those_with_time_zero() -> None:
    """Per frame, per token, and by a time for each token: three ways to say the same."""
    net, expected = wan(), arrays("wan_ti2v")
    latents, context = given("wan.latents"), given("wan.context")
    num_frames, num_tokens = latents.shape[2], expected["token_t"].shape[1]
    clean = torch.zeros(2, num_frames, dtype=torch.bool)
    clean[:, 0] = True
    t = torch.tensor(SCENARIO["wan_timesteps"])
    by_frames = net(latents, t, context, clean=clean).velocity
    tokens = clean.repeat_interleave(num_tokens // num_frames, dim=1)
    assert torch.equal(by_frames, net(latents, t, context, clean=tokens).velocity)
    # The first frame's head differs: it keeps the time of its sample.
    close(by_frames[:, :, 1:], expected["per_token_t"][:, :, 1:], NETWORK_TOLERANCE)


def test_names_and_shapes_of_the_released_checkpoint() -> None:
    """The shapes of the 1270 released tensors are those of the preset, name by name."""
    released = keys("full")
    sizes = EditorConfig.preset("wan2.2-5b")
    with torch.device("meta"):
        ours = blank(sizes).state_dict()
    names = {key: released_name(key, sizes) for key in ours if not key.startswith(NOT_RELEASED)}
    assert set(names.values()) == released["shapes"].keys()
    assert len(released["shapes"]) == released["num_tensors"]
    backbone = released["official_to_diffusers_backbone"]
    assert {names[diffusers]: diffusers for diffusers in backbone.values()} == backbone
    reshaped = {"patch_embedding.weight", "mask_embedding.weight"}
    for key, name in names.items():
        expected = released["shapes"][name]
        if key in reshaped:
            continue
        if key in {"audio_encoder.state_weights", "audio_encoder.padding_token"}:
            expected = [int(np.prod(expected))]
        assert list(ours[key].shape) == expected, name
    joined = sum(ours[key].shape[1] for key in reshaped)
    assert joined == released["shapes"]["patch_embedding.weight"][1]
    num_params = sum(ours[key].numel() for key in names)
    assert num_params == released["num_params"]


def test_names_of_the_tiny_network() -> None:
    assert {
        released_name(key, config())
        for key in network().state_dict()
        if not key.startswith(NOT_RELEASED)
    } == keys("tiny")["tensors"].keys()


def test_mask_downsampling() -> None:
    expected = arrays("mask_downsample")
    mask = expected["pixel_mask"]
    interpolated = interpolate_as_released(mask.float())
    close(interpolated, expected["released_interpolated"], 1e-6)
    released = downsample_mask(mask, "released")
    assert torch.equal(released, expected["released_binary"].bool())
    pooled = downsample_mask(mask)
    assert torch.equal(pooled, expected["causal_maxpool_binary"].bool())
    measured = MANIFEST["measured"]
    assert int(released.sum()) == measured["mask_down_official_cells"]
    assert int(pooled.sum()) == measured["mask_down_pool_cells"]


@pytest.mark.parametrize("p", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 3])
def test_mask_threshold(p: int, kernel: int) -> None:
    expected = arrays("mask_threshold")
    user_mask = expected["user_mask"].bool()
    logits = given("binarize.logits")
    close(torch.sigmoid(logits) * user_mask, expected["prob_in_mask"], 1e-6)
    refined = refine_mask_as_released(logits, user_mask, THRESHOLDS[p], kernel=kernel)
    name = f"p{p}_kernel{0 if kernel == 1 else kernel}"
    assert torch.equal(refined, expected[name].bool())


@pytest.mark.parametrize("which", range(len(SCENARIO["audio_resample_T50_fps_frames"])))
def test_audio_resampling(which: int) -> None:
    num_states, fps, num_frames = SCENARIO["audio_resample_T50_fps_frames"][which]
    expected = arrays("audio_resample")
    states = given(f"audio_resample.hidden_{which}")
    assert states.shape[1] == num_states
    sampled = at_released_rate(states)
    close(sampled, expected[f"{which}_at30fps"], 1e-6)
    index = released_frame_index(sampled.shape[1], fps)
    assert torch.equal(index, expected[f"{which}_frame_index"])
    released = resample_states(states, Fraction(fps), num_frames, "released")
    close(released, expected[f"{which}_per_frame"], 1e-6)
