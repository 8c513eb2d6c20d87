"""FlowAnchor with a tiny random Wan, loaded as in production from the hub's layout."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from avipipe.editor.common.text import TextEncoder  # noqa: E402
from avipipe.editor.edit.job import EditSpec  # noqa: E402
from avipipe.editor.edit.method import Part  # noqa: E402
from avipipe.editor.flow_anchor.anchors import anchor_tokens  # noqa: E402
from avipipe.editor.flow_anchor.method import FlowAnchor, FlowAnchorConfig  # noqa: E402
from avipipe.errors import ConfigError, RunError, WeightsError  # noqa: E402
from examples.tiny.shapes import draw_scene  # noqa: E402
from examples.tiny.train_wan import MAX_TOKENS, TEXT_DIM, Lessons, TinyWan, train  # noqa: E402
from tests.edit_models import Quiet  # noqa: E402
from tests.wan_models import WAN22_VAE, tiny_wan, tokenizer  # noqa: E402

SIZE = (96, 64)
SPEC = EditSpec(instruction="make it green", prompt="a green cube", source_prompt="a red cube")


def settings(wan: Path, models: Any = None, **flow: Any) -> FlowAnchorConfig:
    return FlowAnchorConfig.model_validate(
        {
            "models": {"wan": wan, "precision": "fp32", **(models or {})},
            "flow_anchor": {"num_steps": 5, **flow},
            "output": {"size": SIZE, "chunk_frames": 9},
        }
    )


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wan(tmp_path_factory.mktemp("weights") / "wan")


@pytest.fixture(scope="module")
def method(wan: Path) -> FlowAnchor:
    return FlowAnchor.load(settings(wan))


def part(**changes: Any) -> Part:
    rng = np.random.default_rng(0)
    mask = np.zeros((9, SIZE[1], SIZE[0]), dtype=bool)
    mask[:, 16:40, 30:70] = True
    values: dict[str, Any] = {
        "frames_FHWC": rng.integers(0, 256, (9, SIZE[1], SIZE[0], 3), dtype=np.uint8),
        "mask_FHW": mask,
        "precision": 0,
        "task": "edit",
        "prompt": "a green cube",
        "source_prompt": "a red cube",
        "anchor_words": (),
        "wave_N": None,
        "first_HWC": None,
        "controls": {},
        "references": (),
        "seed": 0,
    }
    return Part(**{**values, **changes})


def edited(method: FlowAnchor, given: Part, folder: Path, name: str = "a") -> Any:
    return method.edit(given, folder / f"{name}.pt", Quiet()).frames_FHWC


def test_a_part_is_edited_step_by_step(method: FlowAnchor, tmp_path: Path) -> None:
    told = Quiet()
    result = method.edit(part(), tmp_path / "a.pt", told)
    assert result.frames_FHWC.shape == part().frames_FHWC.shape
    assert result.frames_FHWC.dtype == np.uint8
    assert told.num_done == method.num_steps == len(result.steps) == 3
    assert np.array_equal(result.refined_FHW, part().mask_FHW)
    assert [step.sigma for step in result.steps] == pytest.approx([15 / 17, 10 / 13, 5 / 9])
    again = method.edit(part(), tmp_path / "a.pt", told)
    assert told.num_skipped == 3
    assert np.array_equal(again.frames_FHWC, result.frames_FHWC)


def test_what_is_given_reaches_the_network(method: FlowAnchor, tmp_path: Path) -> None:
    mask = np.zeros_like(part().mask_FHW)
    mask[:, :16, :16] = True
    first = np.zeros_like(part().frames_FHWC[0])
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"prompt": "a cube"},
        {"source_prompt": "a cube"},
        {"anchor_words": ("cube",)},
        {"mask_FHW": mask},
        {"seed": 1},
        {"first_HWC": first},
    )
    found = [edited(method, part(**each), tmp_path, str(n)) for n, each in enumerate(changes)]
    for index, one in enumerate(found):
        assert all(not np.array_equal(one, other) for other in found[:index]), changes[index]


def test_equal_prompts_and_guidances_give_the_source_back(wan: Path, tmp_path: Path) -> None:
    method = FlowAnchor.load(settings(wan, target_guidance=5.0))
    models, given = method.components, part(prompt="a red cube")
    source = models.decode(models.encode_video(given.frames_FHWC))
    assert np.array_equal(edited(method, given, tmp_path), source)
    assert not np.array_equal(edited(method, part(), tmp_path, "b"), source)


def test_wan22_has_cells_of_16_pixels(tmp_path: Path) -> None:
    folder = tiny_wan(tmp_path / "wan", of_vae=WAN22_VAE)
    method = FlowAnchor.load(settings(folder))
    assert method.components.cells(part().mask_FHW).shape == (1, 1, 3, 4, 6)
    assert len(method.components.tokens(part().mask_FHW)) == 3 * 2 * 3
    assert edited(method, part(), tmp_path).shape == part().frames_FHWC.shape


def test_the_example_trains_a_wan_with_a_codec_and_short_captions(tmp_path: Path) -> None:
    parts, rng = TinyWan.random(), np.random.default_rng(0)
    lessons, losses = Lessons.of([draw_scene(rng) for _ in range(2)], parts), list[float]()
    train(parts, lessons, 20, told=lambda step, loss: losses.append(loss))
    assert len(losses) == 20
    assert losses[-1] < 0.9 * losses[0]
    parts.save(tmp_path / "wan")
    method = FlowAnchor.load(settings(tmp_path / "wan"))
    assert method.components.encode_text("a red square").shape == (1, MAX_TOKENS, TEXT_DIM)
    assert method.components.cells(part().mask_FHW).shape == (1, 1, 3, 8, 12)
    assert edited(method, part(), tmp_path).shape == part().frames_FHWC.shape


def test_a_vae_of_wan21_need_not_say_its_strides(
    method: FlowAnchor, wan: Path, tmp_path: Path
) -> None:
    """As the hub has it: diffusers did not know of others then."""
    folder = tmp_path / "wan"
    shutil.copytree(wan, folder)
    config = json.loads((folder / "vae" / "config.json").read_bytes())
    old = {key: value for key, value in config.items() if not key.startswith("scale_factor")}
    (folder / "vae" / "config.json").write_text(json.dumps(old))
    older = FlowAnchor.load(settings(folder))
    assert older.canvas((960, 640)) == method.canvas((960, 640))
    plain = edited(method, part(), tmp_path)
    assert np.array_equal(edited(older, part(), tmp_path, "older"), plain)


@pytest.mark.parametrize("way", [{"offload": "models"}, {"offload": "blocks"}, {"tiled_vae": True}])
def test_offloading_and_tiles_change_no_edit(
    way: dict[str, Any], method: FlowAnchor, wan: Path, tmp_path: Path
) -> None:
    other = FlowAnchor.load(settings(wan, way))
    plain = edited(method, part(), tmp_path)
    assert np.array_equal(edited(other, part(), tmp_path, "other"), plain)


def text() -> TextEncoder:
    return TextEncoder(tokenizer(), None, 512, "")


def anchored(source: str, prompt: str, *words: str) -> list[str]:
    """The pieces that are anchors."""
    ids = tokenizer()(prompt).input_ids
    marks = anchor_tokens(text(), source, prompt, words).tolist()
    return [
        piece
        for piece, is_anchor in zip(tokenizer().convert_ids_to_tokens(ids), marks, strict=True)
        if is_anchor
    ]


def test_anchors_are_all_pieces_of_new_words() -> None:
    assert anchored("a red cube", "a green cube") == ["▁green"]
    assert anchored("a red ball", "a red cube") == ["▁cu", "be"]
    assert anchored("A Red, cube.", "a red cube") == []
    assert anchored("a green cube", "a cube") == []


def test_anchors_may_be_given() -> None:
    assert anchored("a red cube", "a green cube", "Cube") == ["▁cu", "be"]
    assert anchored("", "a red cube a green cube", "green  cube", "red") == [
        *("▁red", "▁green", "▁cu", "be")
    ]
    with pytest.raises(ConfigError, match=r"in the prompt 'a green cube', got 'gree', 'dog', ''"):
        anchored("", "a green cube", "gree", "cube", "dog", "")


def test_what_is_missing_or_of_no_use_is_told_at_once(method: FlowAnchor) -> None:
    method.check(SPEC)
    wrong = EditSpec(
        instruction="make it green",
        controls={"pose": Path("pose.mp4")},
        references=(Path("cat.png"),),
    )
    with pytest.raises(ConfigError) as caught:
        method.check(wrong)
    for part_of in ("--source-prompt", "--prompt", "--control is", "--reference is of no use"):
        assert part_of in str(caught.value)
    with pytest.raises(ConfigError, match="got 'dog'"):
        method.check(SPEC.model_copy(update={"anchor_words": ("dog",)}))


def test_without_anchors_it_is_said(method: FlowAnchor, wan: Path) -> None:
    assert not method.fallbacks(SPEC)
    same = SPEC.model_copy(update={"source_prompt": SPEC.prompt})
    (told,) = method.fallbacks(same)
    assert "none is drawn into the mask" in told
    plain = FlowAnchor.load(settings(wan, sar=False))
    assert not plain.fallbacks(same)
    with pytest.raises(ConfigError, match=r"--anchor-words .* is of no use"):
        plain.check(SPEC.model_copy(update={"anchor_words": ("green",)}))


def test_weights_of_another_kind_are_refused(tmp_path: Path, wan: Path) -> None:
    images = tiny_wan(tmp_path / "images", of_network={"in_channels": 9})
    with pytest.raises(WeightsError, match="takes 9 and gives 4 channels, for latents of 4"):
        FlowAnchor.load(settings(images))
    two = tmp_path / "two"
    shutil.copytree(wan, two)
    (two / "transformer_2").mkdir()
    with pytest.raises(WeightsError, match="beside a second one"):
        FlowAnchor.load(settings(two))
    with pytest.raises(WeightsError, match="cannot be loaded as Wan in diffusers' layout"):
        FlowAnchor.load(settings(tmp_path))


def test_sizes_that_are_no_cells_are_refused(wan: Path) -> None:
    config = settings(wan).model_copy(
        update={"output": settings(wan).output.model_copy(update={"size": (100, 64)})}
    )
    with pytest.raises(ConfigError, match="sides that 16 divides, got 100x64"):
        FlowAnchor.load(config)


def test_too_little_memory_is_told_before_anything_is_loaded(
    tmp_path: Path, wan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wan"
    shutil.copytree(wan, folder)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"not looked at")
    monkeypatch.setattr("avipipe.editor.common.needs.device_bytes", lambda device: 1000)
    with pytest.raises(RunError, match=r"(?s)too little memory.*solving.*models.offload=models: "):
        FlowAnchor.load(settings(folder))
