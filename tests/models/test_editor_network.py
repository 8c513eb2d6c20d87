"""The editor's network on a tiny Wan, in the layout of its hub, through the loader in use."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor
from torch.nn import functional

from avipipe import weights
from avipipe.editor.avi_edit.convert import NOT_RELEASED, convert, load_released, released_name
from avipipe.editor.avi_edit.network.loading import load_backbone, load_editor
from avipipe.editor.avi_edit.network.transformer import NEW_MODULES, EditorOutput, EditorTransformer
from avipipe.editor.avi_edit.sizes import EditorConfig
from avipipe.errors import WeightsError
from tests.models.locked import lock

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = EditorConfig.preset("tiny")
SIZE = (3, 4, 6)
NUM_FRAMES = 9
NUM_TOKENS = 3 * 2 * 3


def tiny_wan() -> WanTransformer3DModel:
    torch.manual_seed(1)
    model: WanTransformer3DModel = WanTransformer3DModel(
        num_attention_heads=SIZES.num_attention_heads,
        attention_head_dim=SIZES.attention_head_dim,
        in_channels=SIZES.in_channels,
        out_channels=SIZES.in_channels,
        text_dim=SIZES.text_dim,
        freq_dim=SIZES.freq_dim,
        ffn_dim=SIZES.ffn_dim,
        num_layers=SIZES.num_layers,
    )
    model.eval()
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `weights.locate` finds a tiny Wan."""
    root = tmp_path_factory.mktemp("weights")
    tiny_wan().save_pretrained(root / "wan22_ti2v_5b" / "transformer")
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, root, "wan22_ti2v_5b")
        return weights.locate("wan22_ti2v_5b") / "transformer"


@pytest.fixture(scope="module")
def fresh(folder: Path) -> EditorTransformer:
    """As it is before the first step of training."""
    return load_backbone(folder, SIZES)


@pytest.fixture(scope="module")
def net(folder: Path) -> EditorTransformer:
    """One in which nothing is zero any more."""
    model = load_backbone(folder, SIZES)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(NEW_MODULES):
                weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return model


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batch(num_samples: int = 2) -> dict[str, Any]:
    """Everything that the network may be given but references."""
    latents = (num_samples, SIZES.in_channels, *SIZE)
    mask = noise(3, num_samples, 1, *SIZE) > -0.5
    return {
        "hidden_states": noise(1, *latents),
        "timestep": torch.tensor([800.0, 130.0])[:num_samples],
        "encoder_hidden_states": noise(2, num_samples, SIZES.text_len, SIZES.text_dim),
        "mask": mask,
        "precision": torch.tensor([1.0, 4.0])[:num_samples],
        "audio": noise(4, num_samples, NUM_FRAMES, SIZES.num_audio_states, SIZES.audio_dim),
        "controls": {name: noise(5 + n, *latents) for n, name in enumerate(SIZES.controls)},
    }


def references(num_samples: int = 2) -> Tensor:
    return noise(9, num_samples, SIZES.in_channels, 2, 4, 4)


def run(model: EditorTransformer, given: dict[str, Any]) -> EditorOutput:
    with torch.inference_mode():
        output: EditorOutput = model(**given)
    return output


def close(got: Tensor | None, expected: Tensor | None) -> None:
    assert got is not None
    assert expected is not None
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-5)


# --- loading -------------------------------------------------------------------------------------


def test_wan_loads_and_only_what_is_new_is_missing(fresh: EditorTransformer) -> None:
    ours, theirs = fresh.state_dict(), tiny_wan().state_dict()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight)
    new = ours.keys() - theirs.keys()
    assert {name.split(".")[0] for name in new} == set(NEW_MODULES)
    assert all(not weight.is_meta for weight in (*fresh.parameters(), *fresh.buffers()))
    assert fresh.sizes == SIZES


def test_fresh_weights_are_the_same_for_the_same_seed(folder: Path) -> None:
    first, again, other = (
        load_backbone(folder, SIZES, seed=seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_is_new_begins_like_the_block_it_belongs_to(fresh: EditorTransformer) -> None:
    state = fresh.state_dict()
    for layer in SIZES.gamr_layers:
        block, side = f"blocks.{layer}", f"refiner.blocks.{layer}"
        for part in ("attn1.to_q.weight", "attn2.to_out.0.weight", "ffn.net.0.proj.weight"):
            assert torch.equal(state[f"{side}.{part}"], state[f"{block}.{part}"])
        assert torch.equal(
            state[f"audio_injections.{layer}.attn.to_k.weight"], state[f"{block}.attn2.to_k.weight"]
        )


def test_it_begins_as_wan_bit_for_bit(fresh: EditorTransformer) -> None:
    given = batch()
    with torch.inference_mode():
        expected = tiny_wan()(
            given["hidden_states"], given["timestep"], given["encoder_hidden_states"]
        ).sample
    output = run(fresh, given)
    assert torch.equal(output.velocity, expected)
    assert output.mask_logits is not None
    assert output.mask_logits.shape == given["mask"].shape


def test_a_checkpoint_of_its_own_loads_whole(net: EditorTransformer, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path)
    loaded = load_editor(tmp_path)
    assert loaded.sizes == net.sizes
    assert torch.equal(run(loaded, batch()).velocity, run(net, batch()).velocity)


def test_a_wan_is_no_checkpoint_of_the_editor(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"whole of EditorTransformer: it lacks \d+ .* more\."):
        load_editor(folder)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"num_layers": 4}, r"a network of 4 layers: it lacks \d+ of its tensors, blocks.3"),
        ({"num_layers": 2, "audio_layers": (0,), "gamr_layers": (0,)}, "blocks.2"),
        ({"ffn_dim": 40}, "other sizes than were asked for: size mismatch for .*net[^\n]*$"),
    ],
)
def test_a_wan_of_other_sizes_is_refused(
    folder: Path, changed: dict[str, Any], expected: str
) -> None:
    with pytest.raises(WeightsError, match=expected):
        load_backbone(folder, EditorConfig(**(SIZES.model_dump() | changed)))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be loaded as WanTransformer3DModel"):
        load_backbone(tmp_path, SIZES)


def test_half_precision_runs(folder: Path) -> None:
    model = load_backbone(folder, SIZES, dtype=torch.bfloat16)
    given = batch()
    for name in ("hidden_states", "encoder_hidden_states", "audio"):
        given[name] = given[name].bfloat16()
    given["controls"] = {name: video.bfloat16() for name, video in given["controls"].items()}
    output = run(model, given)
    assert output.velocity.dtype == torch.bfloat16
    expected = run(load_backbone(folder, SIZES), batch()).velocity
    assert functional.mse_loss(output.velocity.float(), expected) < 1e-3 * expected.square().mean()


# --- learning ------------------------------------------------------------------------------------


def learn(model: EditorTransformer) -> None:
    """Fill the gradients of both losses."""
    given = batch() | {"references": references()}
    output: EditorOutput = model(**given)
    assert output.mask_logits is not None
    target = noise(20, *output.velocity.shape)
    covered = (noise(21, *output.mask_logits.shape) > 0).float()
    loss = functional.mse_loss(output.velocity, target)
    loss += functional.binary_cross_entropy_with_logits(output.mask_logits, covered)
    torch.autograd.backward(loss)


def test_gradient_reaches_every_weight_within_two_steps(folder: Path) -> None:
    """The released initialisation fails here: zero weights on both sides of an activation."""
    model = load_backbone(folder, SIZES).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reached: set[str] = set()
    for _ in range(2):
        optimizer.zero_grad()
        learn(model)
        reached |= {
            name
            for name, weight in model.named_parameters()
            if weight.grad is not None and weight.grad.abs().sum() > 0
        }
        optimizer.step()
    assert {name for name, _ in model.named_parameters()} == reached


def test_checkpointing_changes_no_gradient(net: EditorTransformer) -> None:
    def gradients() -> list[Tensor]:
        net.zero_grad()
        learn(net)
        return [weight.grad for weight in net.parameters() if weight.grad is not None]

    plain = gradients()
    net.enable_gradient_checkpointing()
    recomputed = gradients()
    net.disable_gradient_checkpointing()
    net.zero_grad()
    assert len(plain) == len(recomputed) > 0
    for got, expected in zip(recomputed, plain, strict=True):
        torch.testing.assert_close(got, expected)


# --- what each input does ------------------------------------------------------------------------


@pytest.mark.parametrize("extra", ["nothing", "references", "clean", "has_audio"])
def test_samples_of_a_batch_do_not_mix(net: EditorTransformer, extra: str) -> None:
    """The released refiner raises in a batch, and its head mixes samples."""
    given = batch()
    if extra == "references":
        given["references"] = references()
    if extra == "clean":
        given["clean"] = torch.tensor([[True, False, False], [False, False, True]])
    if extra == "has_audio":
        given["has_audio"] = torch.tensor([True, False])
    together = run(net, given)
    for index in range(2):
        alone = run(net, sample(given, index))
        close(alone.velocity, together.velocity[index : index + 1])
        assert together.mask_logits is not None
        close(alone.mask_logits, together.mask_logits[index : index + 1])


def sample(given: dict[str, Any], index: int) -> dict[str, Any]:
    return {
        name: sample(value, index) if isinstance(value, dict) else value[index : index + 1]
        for name, value in given.items()
    }


@pytest.mark.parametrize("name", ["mask", "precision", "audio", "controls"])
def test_each_input_counts(net: EditorTransformer, name: str) -> None:
    given = batch()
    before = run(net, given)
    match given[name]:
        case dict() as videos:
            given[name] = {kind: -video for kind, video in videos.items()}
        case Tensor(dtype=torch.bool) as mask:
            given[name] = ~mask
        case value:
            given[name] = value + 1
    after = run(net, given)
    assert not torch.allclose(before.velocity, after.velocity, atol=1e-3)
    assert before.mask_logits is not None
    assert after.mask_logits is not None
    assert not torch.allclose(before.mask_logits, after.mask_logits, atol=1e-3)


def test_a_sample_without_audio_is_as_if_none_had_been_given(net: EditorTransformer) -> None:
    given = batch()
    silent = run(net, given | {"has_audio": torch.tensor([False, False])})
    none = run(net, given | {"audio": None})
    close(silent.velocity, none.velocity)
    close(silent.mask_logits, none.mask_logits)


def test_a_frame_hears_itself_only(net: EditorTransformer) -> None:
    """What the last latent frame alone hears changes nothing but it, at the first injection."""
    given = batch()
    late = given["audio"].clone()
    late[:, 5:] += 1
    injection = net.audio_injections["0"]
    video = noise(30, 2, NUM_TOKENS, SIZES.dim)
    with torch.inference_mode():
        before = injection(video, net.audio_encoder(given["audio"]))
        after = injection(video, net.audio_encoder(late))
    changed = (before != after).any(dim=2).reshape(2, SIZE[0], -1)
    assert not changed[:, :2].any()
    assert changed[:, 2].all()


def test_the_refiner_does_not_touch_the_velocity(net: EditorTransformer) -> None:
    given = batch()
    refined, unrefined = run(net, given), run(net, given | {"refine": False})
    assert unrefined.mask_logits is None
    assert torch.equal(refined.velocity, unrefined.velocity)
    other = run(net, given | {"refiner_mask": torch.zeros_like(given["mask"])})
    assert torch.equal(refined.velocity, other.velocity)
    assert refined.mask_logits is not None
    assert other.mask_logits is not None
    assert not torch.allclose(refined.mask_logits, other.mask_logits)


def test_references_are_seen_and_their_frames_dropped(net: EditorTransformer) -> None:
    given = batch()
    without, seen = run(net, given), run(net, given | {"references": references()})
    other = run(net, given | {"references": -references()})
    assert seen.velocity.shape == without.velocity.shape
    assert not torch.allclose(seen.velocity, without.velocity, atol=1e-4)
    assert not torch.allclose(seen.velocity, other.velocity, atol=1e-4)


def test_references_stand_after_the_longest_clip(net: EditorTransformer) -> None:
    """Where they stand does not depend on the clip's length; the order of two counts."""
    latents = batch()["hidden_states"]
    rotary = net.rope(latents)
    longer = net.rope(noise(1, 1, SIZES.in_channels, 5, *SIZE[1:]))
    ends = [net._extend_rotary(start, references())[0] for start in (rotary, longer)]
    num_tokens = 2 * 2 * 2
    assert torch.equal(ends[0][:, -num_tokens:], ends[1][:, -num_tokens:])
    whole = net.rope(noise(1, 1, 1, SIZES.reference_frame + 2, 4, 4))[0]
    assert torch.equal(ends[0][:, -num_tokens:], whole[:, -num_tokens:])


def test_text_is_padded_with_zeros(net: EditorTransformer) -> None:
    given = batch()
    short = given["encoder_hidden_states"][:, :3]
    padded = functional.pad(short, (0, 0, 0, SIZES.text_len - 3))
    got = run(net, given | {"encoder_hidden_states": short})
    assert torch.equal(got.velocity, run(net, given | {"encoder_hidden_states": padded}).velocity)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"precision": None}, "precision"),
        ({"audio": noise(1, 2, 8, 3, 8)}, "expected audio at 9 frames, got 8"),
        ({"controls": {"depth": noise(1, 2, 4, 3, 4, 6)}}, "among scribble, pose; got depth"),
        ({"encoder_hidden_states": noise(1, 2, 9, 16)}, "at most 8 tokens"),
        ({"hidden_states": noise(1, 2, 4, 3, 5, 6)}, "even height and width"),
        (
            {"timestep": torch.zeros(2, NUM_TOKENS), "references": references()},
            "one timestep per sample",
        ),
        (
            {
                "hidden_states": noise(1, 2, 4, SIZES.reference_frame + 1, 2, 2),
                "references": references(),
                "audio": None,
            },
            "at most 31 latent frames",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    net: EditorTransformer, changed: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        run(net, batch() | changed)


# --- the released checkpoint ---------------------------------------------------------------------


def released(net: EditorTransformer) -> dict[str, Tensor]:
    """The weights of a network as AVI-Edit would have saved them."""
    state = net.state_dict()
    saved = {
        released_name(name, net.sizes): weight.contiguous()
        for name, weight in state.items()
        if not name.startswith((*NOT_RELEASED, "mask_embedding", "patch_embedding.weight"))
    }
    saved["patch_embedding.weight"] = torch.cat(
        [state["patch_embedding.weight"], state["mask_embedding.weight"]], dim=1
    )
    for name in ("casual_audio_encoder.weights", "casual_audio_encoder.encoder.padding_tokens"):
        saved[name] = saved[name][None, None]
    return saved


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_the_released_checkpoint_loads(net: EditorTransformer, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"avi_edit.{suffix}"
    if suffix == "pt":
        torch.save(released(net), path)
    else:
        safetensors.torch.save_file(released(net), path)
    loaded = load_released(path, SIZES)
    given = batch() | {"controls": None}
    assert torch.equal(run(loaded, given).velocity, run(net, given).velocity)
    close(run(loaded, given).mask_logits, run(net, given).mask_logits)
    loaded.save_pretrained(tmp_path / "ours")
    assert torch.equal(
        run(load_editor(tmp_path / "ours"), given).velocity, run(net, given).velocity
    )
    controls = batch()["controls"]  # they are fresh, and so say nothing yet
    assert torch.equal(
        run(loaded, given | {"controls": controls}).velocity, run(loaded, given).velocity
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("lack", "lacks 1 of its tensors, head.head.bias"),
        ("more", "1 weights that are not its: spare"),
        ("shape", r"other shapes: head.head.bias \(expected \(48,\), found \(47,\)\)"),
    ],
)
def test_another_checkpoint_is_refused(net: EditorTransformer, change: str, expected: str) -> None:
    saved = released(net)
    match change:
        case "lack":
            del saved["head.head.bias"]
        case "more":
            saved["spare"] = torch.zeros(1)
        case "shape":
            saved["head.head.bias"] = saved["head.head.bias"][:-1]
    with pytest.raises(WeightsError, match=expected):
        convert(saved, SIZES, where=Path("avi_edit.pt"))


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"avi_edit.{suffix}"
    path.write_bytes(b"not found")
    with pytest.raises(WeightsError, match="cannot be loaded as a checkpoint"):
        load_released(path, SIZES)
