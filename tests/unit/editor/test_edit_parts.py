"""What `avipipe edit` is put together from, as far as it needs no media."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avipipe.editor.avi_edit.data.config import BUCKETS
from avipipe.editor.avi_edit.masks import to_cells, to_pixels
from avipipe.editor.avi_edit.sizes import CELL_PX
from avipipe.editor.common.canvas import choose_size
from avipipe.editor.edit.chunks import plan_chunks
from avipipe.editor.edit.compose import composite
from avipipe.editor.edit.instruction import read_instruction
from avipipe.editor.edit.job import EditSpec, MaskSpec, job_of, read_job
from avipipe.editor.edit.masks_in import whole_mask
from avipipe.editor.edit.sound import join_waves
from avipipe.errors import ConfigError

SIZES = [(bucket.width_px, bucket.height_px) for bucket in BUCKETS]
RNG = np.random.default_rng(0)


@given(st.integers(1, 2000), st.integers(1, 30), st.sampled_from([1, 4, 8]))
def test_chunks_share_a_frame_and_write_each_once(num_frames: int, groups: int, step: int) -> None:
    chunks = plan_chunks(num_frames, step * groups + 1, step)
    assert [frame for chunk in chunks for frame in chunk.own] == list(range(num_frames))
    assert all((chunk.num_frames - 1) % step == 0 for chunk in chunks)
    assert all(chunk.num_frames <= step * groups + 1 for chunk in chunks)
    assert all(len(chunk.frames) + chunk.num_padding == chunk.num_frames for chunk in chunks)
    for before, after in itertools.pairwise(chunks):
        assert before.frames[-1] == after.start
        assert before.num_padding == 0
    lengths = [chunk.num_frames for chunk in chunks]
    assert max(lengths) - min(lengths) <= step


def test_a_method_that_needs_no_mask_is_not_told_what_to_look_for() -> None:
    spec = EditSpec(instruction="make it louder")
    assert spec.asked(names_target=False) == ("edit", "")
    worded = spec.model_copy(update={"mask": MaskSpec(words="the dog")})
    assert worded.asked(names_target=False)[1] == worded.asked()[1] == "dog"
    mask = whole_mask((4, 6), 3)
    assert all(mask.track.mask(frame).all() for frame in range(3))
    assert len(mask.track.frames) == 3


def test_waves_fade_into_one_another_where_they_overlap() -> None:
    parts = [np.full(5, 1, np.float32), np.full(4, 3, np.float32), np.full(2, 5, np.float32)]
    joined = join_waves(parts, [0, 2, 6])
    assert joined.tolist() == [1, 1, 1, 2, 3, 3, 5, 5]
    assert join_waves(parts[:1], [0]).tolist() == [1] * 5


def test_cells_come_back_from_their_pixels() -> None:
    mask_FHW = RNG.random((9, 64, 96)) > 0.998
    cells = to_cells(mask_FHW)
    pixels = to_pixels(cells[0, 0].numpy())
    assert (pixels >= mask_FHW).all()
    assert torch.equal(to_cells(pixels), cells)
    assert torch.equal(to_cells(pixels & mask_FHW), cells)


def test_pixels_beyond_the_margin_are_the_source() -> None:
    source = RNG.integers(0, 256, (2, 64, 96, 3), np.uint8)
    edited = RNG.integers(0, 256, (2, 64, 96, 3), np.uint8)
    mask = np.zeros((2, 64, 96), np.bool_)
    mask[0, 24:40, 40:56] = True
    mixed = composite(edited, source, mask, margin_px=8)
    assert np.array_equal(mixed[0][mask[0]], edited[0][mask[0]])
    rows, columns = np.indices((64, 96))
    away = np.maximum(np.maximum(24 - rows, rows - 39), np.maximum(40 - columns, columns - 55))
    assert np.array_equal(mixed[0][away >= 8], source[0][away >= 8])
    assert not np.array_equal(mixed[0][away == 4], source[0][away == 4])
    assert np.array_equal(mixed[1], source[1])


def test_around_what_stays_the_seam_lies_in_what_is_edited() -> None:
    source, edited = (np.full((3, 64, 96, 3), level, np.uint8) for level in (0, 200))
    mask = np.ones((3, 64, 96), np.bool_)
    mask[0, 24:40, 40:56] = False
    mask[1] = False
    mixed = composite(edited, source, mask, margin_px=8, is_seam_within=True)
    assert not mixed[0][~mask[0]].any()
    assert mixed[0, 24, [39, 36, 32, 31]].tolist() == [[25] * 3, [100] * 3, [200] * 3, [200] * 3]
    assert not mixed[1].any()
    assert (mixed[2] == 200).all()


@pytest.mark.parametrize(
    ("text", "task", "target"),
    [
        ("Replace the dog with a cat.", "edit", "dog"),
        ("make the woman sing", "edit", "woman"),
        ("turn the old car into a truck, and remove the noise", "edit", "old car"),
        ("remove the drum from the left", "deletion", "drum"),
        ("add a bird on the fence", "insertion", "bird"),
        ("make him say hello", "edit", ""),
        ("make it better", "edit", ""),
        ("brighter!", "edit", ""),
    ],
)
def test_instructions_are_read(text: str, task: str, target: str) -> None:
    request = read_instruction(text)
    assert (request.task, request.target) == (task, target)


def test_an_empty_instruction_is_refused() -> None:
    with pytest.raises(ConfigError, match="replace the dog with a cat"):
        read_instruction("  ")


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1280, 720), (1280, 704)),
        ((1920, 1080), (1280, 704)),
        ((1080, 1920), (704, 1280)),
        ((1000, 1000), (960, 960)),
    ],
)
def test_common_shapes_are_edited_at_trained_sizes(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    assert choose_size(shape, SIZES, CELL_PX) == size


def test_the_largest_trained_size_wins() -> None:
    """A hair's breadth of the picture is not worth half its pixels."""
    assert choose_size((1736, 1000), ((832, 480), (1280, 704)), CELL_PX) == (1280, 704)


@pytest.mark.parametrize("shape", [(640, 480), (720, 576), (1920, 800), (480, 640), (2048, 512)])
def test_other_shapes_lose_little(shape: tuple[int, int]) -> None:
    width, height = choose_size(shape, SIZES, CELL_PX)
    ratio = width * shape[1] / (height * shape[0])
    assert min(ratio, 1 / ratio) > 0.95
    assert (width % CELL_PX, height % CELL_PX) == (0, 0)
    most_px = max(width * height for width, height in SIZES)
    assert 0.95 * most_px <= width * height <= most_px


def test_a_job_is_read_relative_to_its_file(tmp_path: Path) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text(
        "video: dog.mp4\n"
        "edits:\n"
        "- {instruction: remove the dog, mask: {box: [0, 0, 0.5, 0.5]}}\n"
        "- instruction: add a cat\n"
        "  mask: {file: where.png, precision: 3}\n"
        "  audio: meow.wav\n"
        "  controls: {pose: pose.mp4}\n"
        "  references: [cat.png]\n"
    )
    job = read_job(path)
    assert job.video == tmp_path / "dog.mp4"
    assert job.edits[0].audio == "keep"
    names = [file.name for file in job.edits[1].files]
    assert names == ["where.png", "meow.wav", "pose.mp4", "cat.png"]
    assert all(file.parent == tmp_path for file in job.edits[1].files)
    with pytest.raises(ConfigError, match=r"dog\.mp4"):
        job.check()


def test_a_lone_edit_may_stand_beside_its_video() -> None:
    data = {"video": "a.mp4", "instruction": "remove the dog", "mask": {"words": "dog"}}
    job = job_of(data, where=Path("jobs.jsonl"))
    assert job.edits[0].mask.words == "dog"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mask": {"words": "dog", "box": [0, 0, 1, 1]}}, "box and words"),
        ({"mask": {"box": [0, 0, 0, 1]}}, "above 0"),
        ({"mask": {"box": [0, 0, float("nan"), 1]}}, "finite"),
        ({"mask": {"polygon": [[0, 0], [1, 1]]}}, "polygon"),
        ({"seeds": 3}, "did you mean `edits.0.seed`"),
        ({"instruction": ""}, "instruction"),
    ],
)
def test_a_wrong_job_says_what_is_wrong(change: dict[str, object], told: str) -> None:
    data = {"video": "a.mp4", "instruction": "remove the dog", **change}
    with pytest.raises(ConfigError, match=told):
        job_of(data, where=Path("jobs.jsonl"))
