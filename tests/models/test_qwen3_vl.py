"""Qwen3-VL through the production loader, from a tiny random checkpoint; it can only babble."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from avipipe.annotators.base import Frames
from avipipe.annotators.full.caption_prompt import question
from avipipe.annotators.full.caption_reply import MAX_TOKENS
from avipipe.annotators.full.qwen3_vl import Qwen3VlCaptioner, Qwen3VlInstructor
from avipipe.annotators.registry import create
from avipipe.errors import AnnotatorError, FailKind, WeightsError
from avipipe.services.reply import Message

pytestmark = pytest.mark.usefixtures("one_thread")

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MARKS = ("vision_start", "vision_end", "image_pad", "video_pad", "im_start", "im_end", "endoftext")
TEMPLATE = """\
{% for message in messages %}<|im_start|>{{ message.role }}
{% for part in message.content %}{% if part.type == 'image' %}\
<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}\
<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
EVIDENCE: dict[str, Any] = {
    "listen": {"tags": {"impact": 0.9}, "speech": []},
    "look": {"faces": None},
    "cut": {"duration_s": 2.5},
    "mask": {"boxes": [[0.1, 0.1, 0.4, 0.5]] * 10, "box_step_frames": 6},
}


def write_processor(folder: Path) -> Any:
    """A byte-level tokenizer without merges, and pictures of 16 to 64 patches."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = {character: index for index, character in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = transformers.Qwen2Tokenizer(vocab=alphabet, merges=[], eos_token="<|im_end|>")
    tokenizer.add_tokens([f"<|{mark}|>" for mark in MARKS], special_tokens=True)
    processor = transformers.Qwen3VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(
            patch_size=16, size={"shortest_edge": 64 * 64, "longest_edge": 128 * 128}
        ),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen3VLVideoProcessor(),
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(folder)
    return tokenizer


def write_model(folder: Path, tokenizer: Any) -> None:
    ids = {mark: tokenizer.convert_tokens_to_ids(f"<|{mark}|>") for mark in MARKS}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rope_parameters": rope,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    config = transformers.Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    torch.manual_seed(0)
    model = transformers.Qwen3VLForConditionalGeneration(config)
    model.generation_config.update(  # as the official checkpoint has them
        do_sample=True, temperature=0.7, top_k=20, top_p=0.8, eos_token_id=ids["im_end"]
    )
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "qwen3_vl"
    write_model(folder, write_processor(folder))
    return folder


def lock(folder: Path, *, sha256: str | None = None) -> Path:
    files = [{"name": path.name, "sha256": sha256} for path in sorted(folder.iterdir())]
    entry = {"url": "hf://tests/tiny", "licence": "none", "purpose": "tests", "files": files}
    path = folder.parent / "lock.yaml"
    path.write_text(yaml.safe_dump({"qwen3_vl": entry}))
    return path


@pytest.fixture
def located(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(checkpoint.parent))
    monkeypatch.setenv("AVIPIPE_WEIGHTS_LOCK", str(lock(checkpoint)))
    return checkpoint


@pytest.fixture
def captioner(located: Path) -> Qwen3VlCaptioner:
    backend: Qwen3VlCaptioner = create("caption", "qwen3_vl")
    backend.setup()
    return backend


def frames(count: int = 8) -> Frames:
    return np.random.default_rng(0).integers(0, 255, (count, 96, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [8, 2])
def test_a_question_becomes_tokens_and_patches(captioner: Qwen3VlCaptioner, count: int) -> None:
    inputs = captioner._inputs([question(frames(count), evidence=EVIDENCE)])
    tokens = inputs["input_ids"]
    assert tokens.shape[0] == 1
    assert inputs["attention_mask"].all(), "one clip needs no padding"
    assert inputs["image_grid_thw"].tolist() == [[1, 6, 10]] * count
    assert inputs["pixel_values"].shape == (count * 60, 3 * 2 * 16 * 16)
    tokenizer = captioner._processor.tokenizer
    image_pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert (tokens == image_pad).sum() == count * 60 / 4, "four patches make a token"
    text = tokenizer.decode(tokens[0])
    assert text.count("<|vision_start|>") == count
    assert "s, instance outlined:<|vision_start|>" in text
    assert text.endswith("<|im_start|>assistant\n")


def test_a_correction_carries_the_conversation(captioner: Qwen3VlCaptioner) -> None:
    turns = [
        question(frames(2), evidence=EVIDENCE),
        Message("assistant", ("woof",)),
        Message("user", ("This cannot be used",)),
    ]
    text = captioner._processor.tokenizer.decode(captioner._inputs(turns)["input_ids"][0])
    assert "<|im_start|>assistant\nwoof<|im_end|>\n<|im_start|>user\nThis cannot" in text


def test_it_babbles_the_same_each_time(captioner: Qwen3VlCaptioner) -> None:
    turns = [question(frames(2), evidence=EVIDENCE)]
    babble = captioner._reply(turns)
    assert babble
    assert "<|" not in babble
    assert captioner._reply(turns) == babble
    assert captioner._model.generation_config.max_new_tokens == MAX_TOKENS
    assert captioner._model.dtype == torch.float32 or torch.cuda.is_available()


def test_babble_is_the_clips_failure(captioner: Qwen3VlCaptioner) -> None:
    with pytest.raises(AnnotatorError, match="no usable caption in two replies") as caught:
        captioner.caption(frames(), evidence=EVIDENCE)
    assert caught.value.kind is FailKind.ANNOTATOR_FAILED
    assert len(caught.value.log_tail.splitlines()) == 2, "both replies are shown"


class Cramped(Qwen3VlCaptioner):
    """Has room for no more than `room` patches."""

    room = 0
    sizes: tuple[int, ...] = ()

    def _inputs(self, messages: Any) -> Any:
        inputs = super()._inputs(messages)
        patches = len(inputs["pixel_values"])
        self.sizes += (patches,)
        if patches > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inputs


def cramped(room: int) -> Cramped:
    backend = Cramped()
    backend.room = room
    backend.setup()
    return backend


def test_what_does_not_fit_is_tried_at_half_the_size(located: Path) -> None:
    backend = cramped(room=400)
    with pytest.raises(AnnotatorError, match="no usable caption"):
        backend.caption(frames(), evidence=EVIDENCE)
    assert backend.sizes == (480, 128, 128), "half the size, then its one correction"


def test_what_never_fits_says_so(located: Path) -> None:
    with pytest.raises(AnnotatorError, match=r"stages\.caption\.height_px") as caught:
        cramped(room=0).caption(frames(), evidence=EVIDENCE)
    assert caught.value.kind is FailKind.OUT_OF_MEMORY


class Terse(Qwen3VlInstructor):
    """Says little, so that its babble costs little."""

    max_tokens = 24


def test_babble_about_edits_is_the_clips_failure(located: Path) -> None:
    instructor = Terse()
    instructor.setup()
    caption = {"text": "A dog barks.", "label": "dog", "backend": "x@1"}
    with pytest.raises(AnnotatorError, match="no usable edits in two replies") as caught:
        instructor.instruct(
            frames(2), evidence={**EVIDENCE, "caption": caption}, kinds=["delete"], seed=0
        )
    assert caught.value.kind is FailKind.ANNOTATOR_FAILED
    assert instructor._model.generation_config.max_new_tokens == 24
    assert create("instruct", "qwen3_vl").weights == instructor.weights


def test_the_weights_stand_in_the_key(located: Path) -> None:
    assert len(create("caption", "qwen3_vl").weights["qwen3_vl"]) == 64


def test_a_missing_file_names_the_command(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("AVIPIPE_WEIGHTS_LOCK", str(lock(checkpoint)))
    shutil.copytree(checkpoint, tmp_path / "qwen3_vl")
    (tmp_path / "qwen3_vl" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="avipipe weights pull qwen3_vl"):
        create("caption", "qwen3_vl").setup()


def test_a_wrong_hash_is_refused(
    located: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "qwen3_vl")
    monkeypatch.setenv("AVIPIPE_WEIGHTS_LOCK", str(lock(tmp_path / "qwen3_vl", sha256="0" * 64)))
    with pytest.raises(WeightsError, match="corrupted"):
        create("caption", "qwen3_vl").setup()


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "qwen3_vl"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "none such"}')
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("AVIPIPE_WEIGHTS_LOCK", str(lock(folder)))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        create("caption", "qwen3_vl").setup()
