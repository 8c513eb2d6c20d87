"""A tiny random ViCLIP in the layout of its checkpoint, through the real loader."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision import transforms

from avipipe.errors import WeightsError
from avipipe.evaluate.cases import Case, completed
from avipipe.evaluate.controls import controls_of
from avipipe.evaluate.extractors.viclip import ViClipL14, middles
from avipipe.evaluate.measuring import measure
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.metrics.video_text import video_text_similarity
from tests.integration import lavfi
from tests.models.locked import lock
from tests.models.tiny_clip import BOS, EOS, write_clip

State = dict[str, Tensor]
NUM_FRAMES, PATCH_PX, NUM_TOKENS, NUM_DIMS = 4, 112, 6, 8
FILE = "viclip/ViClip-InternVid-10M-FLT.pth"


def checkpoint() -> dict[str, Any]:
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return 0.2 * torch.randn(*shape, generator=rng)

    def norm(name: str, width: int) -> State:
        return {f"{name}.weight": 1 + draw(width), f"{name}.bias": draw(width)}

    def blocks(tower: str, width: int) -> State:
        found: State = {}
        for number in range(2):
            name = f"{tower}.transformer.resblocks.{number}"
            found |= norm(f"{name}.ln_1", width) | norm(f"{name}.ln_2", width)
            sizes = {"attn.out_proj": (width, width), "mlp.c_fc": (4 * width, width)}
            for part, size in {**sizes, "mlp.c_proj": (width, 4 * width)}.items():
                found |= {
                    f"{name}.{part}.weight": draw(*size),
                    f"{name}.{part}.bias": draw(size[0]),
                }
            found[f"{name}.attn.in_proj_weight"] = draw(3 * width, width)
            found[f"{name}.attn.in_proj_bias"] = draw(3 * width)
        return found

    vision, text = "vision_encoder", "text_encoder"
    state = blocks(vision, 128) | blocks(text, 64) | {"temp": torch.tensor(0.01)}
    state |= norm(f"{vision}.ln_pre", 128) | norm(f"{vision}.ln_post", 128)
    state |= norm(f"{text}.ln_final", 64)
    state |= {
        f"{vision}.conv1.weight": 0.02 * draw(128, 3, 1, PATCH_PX, PATCH_PX),
        f"{vision}.class_embedding": draw(128),
        f"{vision}.positional_embedding": draw((224 // PATCH_PX) ** 2 + 1, 128),
        f"{vision}.temporal_positional_embedding": draw(1, NUM_FRAMES, 128),
        f"{vision}.proj": draw(128, NUM_DIMS),
        f"{text}.token_embedding.weight": draw(EOS + 1, 64),
        f"{text}.positional_embedding": draw(NUM_TOKENS, 64),
        f"{text}.text_projection": draw(64, NUM_DIMS),
    }
    return {"model": state, "epoch": 9}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_clip(tmp_path / "clip_vitl14")
    lock(monkeypatch, tmp_path, "clip_vitl14")
    (tmp_path / FILE).parent.mkdir()
    torch.save(checkpoint(), tmp_path / FILE)
    return tmp_path / FILE


@pytest.fixture
def viclip(path: Path) -> ViClipL14:
    found = ViClipL14()
    found.setup()
    return found


def pictures(num: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (num, 40, 60, 3), dtype=np.uint8)


def through(state: State, tower: str, tokens_ND: Tensor, is_causal: bool) -> Tensor:
    """The transformer of a tower, head by head."""
    num, width = tokens_ND.shape
    for number in range(2):
        own = {
            key.removeprefix(f"{tower}.transformer.resblocks.{number}."): value
            for key, value in state.items()
        }
        seen = functional.layer_norm(tokens_ND, (width,), own["ln_1.weight"], own["ln_1.bias"])
        parts = (seen @ own["attn.in_proj_weight"].T + own["attn.in_proj_bias"]).chunk(3, dim=1)
        heads = []
        for first in range(0, width, 64):
            query, key, value = (part[:, first : first + 64] for part in parts)
            scores = query @ key.T / 8
            if is_causal:
                scores = scores + torch.full((num, num), -torch.inf).triu(1)
            heads.append(scores.softmax(dim=1) @ value)
        heard = torch.cat(heads, dim=1) @ own["attn.out_proj.weight"].T + own["attn.out_proj.bias"]
        tokens_ND = tokens_ND + heard
        seen = functional.layer_norm(tokens_ND, (width,), own["ln_2.weight"], own["ln_2.bias"])
        inner = seen @ own["mlp.c_fc.weight"].T + own["mlp.c_fc.bias"]
        inner = inner * torch.sigmoid(1.702 * inner)
        tokens_ND = tokens_ND + inner @ own["mlp.c_proj.weight"].T + own["mlp.c_proj.bias"]
    return tokens_ND


def test_the_embedding_of_a_video_is_that_of_the_formula(viclip: ViClipL14) -> None:
    state = checkpoint()["model"]
    own = {key.removeprefix("vision_encoder."): value for key, value in state.items()}
    frames = pictures(NUM_FRAMES)
    shown = viclip.shown(frames)
    assert shown.shape == (NUM_FRAMES, 3, 224, 224)
    tokens = [own["class_embedding"] + own["positional_embedding"][0]]
    for place, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1)), start=1):
        for time in range(NUM_FRAMES):  # as InternVideo orders them: places, then times
            rows, columns = (slice(PATCH_PX * n, PATCH_PX * (n + 1)) for n in (row, column))
            patch = (own["conv1.weight"][:, :, 0] * shown[time, :, rows, columns]).sum((1, 2, 3))
            patch = patch + own["positional_embedding"][place]
            tokens.append(patch + own["temporal_positional_embedding"][0, time])
    before = functional.layer_norm(
        torch.stack(tokens), (128,), own["ln_pre.weight"], own["ln_pre.bias"]
    )
    first = through(state, "vision_encoder", before, is_causal=False)[0]
    last = functional.layer_norm(first, (128,), own["ln_post.weight"], own["ln_post.bias"])
    np.testing.assert_allclose(viclip.video(frames), (last @ own["proj"]).numpy(), atol=2e-4)


def test_the_embedding_of_a_text_is_read_at_its_end(viclip: ViClipL14) -> None:
    state = checkpoint()["model"]
    own = {key.removeprefix("text_encoder."): value for key, value in state.items()}
    padded = torch.tensor([BOS, 0, 1, EOS, 0, 0])  # as InternVideo pads
    before = own["token_embedding.weight"][padded] + own["positional_embedding"]
    after = through(state, "text_encoder", before, is_causal=True)[3]
    last = functional.layer_norm(after, (64,), own["ln_final.weight"], own["ln_final.bias"])
    expected = (last @ own["text_projection"]).numpy()
    np.testing.assert_allclose(viclip.text("a b"), expected, atol=1e-5)
    np.testing.assert_array_equal(viclip.text("a b c d"), viclip.text("a b c d e f"))  # cut
    assert np.abs(viclip.text("b a") - viclip.text("a b")).max() > 1e-3


@pytest.mark.parametrize(("height", "width"), [(240, 426), (426, 240), (48, 64)])
def test_pictures_are_prepared_as_by_vbench(height: int, width: int) -> None:
    prepare = transforms.Compose(
        [
            transforms.Resize(224, transforms.InterpolationMode.BICUBIC, antialias=False),
            transforms.CenterCrop(224),
            transforms.Lambda(lambda pictures: pictures.float().div(255.0)),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    rng = np.random.default_rng(0)
    frames_THWC = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    expected = prepare(torch.from_numpy(frames_THWC).permute(0, 3, 1, 2))
    np.testing.assert_allclose(ViClipL14().shown(frames_THWC), expected, atol=1e-6)


def test_frames_are_the_middles_of_equal_parts() -> None:
    assert middles(24, 8).tolist() == [1, 4, 7, 10, 13, 16, 19, 22]
    assert middles(3, 8).tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert middles(9, 4).tolist() == [0, 2, 4, 7]


def test_the_order_of_frames_counts(viclip: ViClipL14) -> None:
    frames = pictures(NUM_FRAMES)
    assert np.abs(viclip.video(frames) - viclip.video(frames[::-1])).max() > 1e-3
    with pytest.raises(Undefined, match="at least 1 frames"):
        viclip.video(frames[:0])


def test_the_score_is_a_cosine() -> None:
    video_D, text_D = np.array([3.0, 0.0]), np.array([1.0, 1.0])
    assert video_text_similarity(video_D, text_D) == pytest.approx(np.sqrt(0.5))
    assert video_text_similarity(video_D, -video_D) == pytest.approx(-1)
    with pytest.raises(Undefined, match="zero"):
        video_text_similarity(0 * video_D, text_D)


@pytest.mark.usefixtures("path")
def test_a_case_is_scored_by_its_target_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})
    clip = lavfi.write(tmp_path / "clip.mp4", video="testsrc2=s=64x48:r=24:d=0.5", audio=None)
    own = Case(name="a", method="m", source=clip, edit=clip, target_prompt="a b")
    asked = [*completed([own], "test"), *controls_of([own], seed=0)[:2]]
    asked += [own.model_copy(update={"name": "b", "target_prompt": "b"})]
    asked += [own.model_copy(update={"name": "c", "target_prompt": ""})]
    found = [each.scores["viclip.vbench"] for each in measure(asked, ["viclip.vbench"], tmp_path)]
    ours, copy, frozen, other, silent = (each.value for each in found)
    assert ours is not None
    assert -1 < ours < 1
    assert ours == copy
    assert len({ours, frozen, other}) == 3
    assert (silent, found[-1].status) == (None, "skipped")


@pytest.mark.parametrize(
    "lost", ["vision_encoder.proj", "text_encoder.transformer.resblocks.1.ln_1.bias"]
)
def test_a_part_of_a_network_is_refused(path: Path, lost: str) -> None:
    whole = checkpoint()
    del whole["model"][lost]
    torch.save(whole, path)
    with pytest.raises(WeightsError, match="weights pull viclip"):
        ViClipL14().setup()
