"""Published shards become batches: the right pixels and samples, in a certain order."""

import io
import itertools
import json
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import fields
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import av
import fsspec
import numpy as np
import pytest

from avipipe.annotators.base import HEARING_HZ

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from av.video.reformatter import Colorspace, Interpolation  # noqa: E402

from avipipe.editor.avi_edit.data.batch import Batch  # noqa: E402
from avipipe.editor.avi_edit.data.clip import read_clip  # noqa: E402
from avipipe.editor.avi_edit.data.config import DataConfig  # noqa: E402
from avipipe.editor.avi_edit.data.encoders import Encoders, tiny_encoders  # noqa: E402
from avipipe.editor.avi_edit.data.stream import ClipStream, held_out, lost_workers_explained  # noqa: E402
from avipipe.editor.avi_edit.network.loading import build as build_network  # noqa: E402
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig  # noqa: E402
from avipipe.editor.common.media import Masks, Take, cut_mask  # noqa: E402
from avipipe.editor.common.shards import ShardDataset, mask_pairs, mask_track  # noqa: E402
from avipipe.errors import ConfigError, ManifestError, RunError  # noqa: E402
from avipipe.manifests import rle  # noqa: E402
from avipipe.manifests.degrade import Law  # noqa: E402
from avipipe.manifests.rle import MaskTrack  # noqa: E402
from tests.damage import SPOILT  # noqa: E402
from tests.integration.editor_shards import (  # noqa: E402
    SMALL,
    Scene,
    publish_scenes,
    remake_shard,
    replace_shard,
    small_config,
)

pytestmark = pytest.mark.usefixtures("one_thread")

EDITS = {"insertion": 0.0, "deletion": 0.0}


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    return tiny_encoders()


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of eight clips in three shards."""
    folder = tmp_path_factory.mktemp("eight")
    scenes = [Scene(kind) for kind in ("bounce", "strike") * 4]
    return publish_scenes(folder / "dataset", scenes, folder=folder, shard_samples=3)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two clips in one shard, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("two")
    return publish_scenes(folder / "dataset", [Scene(), Scene("strike")], folder=folder)


@pytest.fixture
def damaged(two: Path, tmp_path: Path) -> Path:
    shutil.copytree(two, tmp_path / "dataset")
    return tmp_path / "dataset"


def dataset_of(config: DataConfig) -> ShardDataset:
    return ShardDataset(config.dataset, config.split, index=config.index)


def assert_equal(one: Batch, other: Batch) -> None:
    for field in fields(Batch):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


# --- one clip ------------------------------------------------------------------------------------


def cells_by_loops(frames: Sequence[str], masks: MaskTrack, take: Take) -> Masks:
    """Latent cells of which any pixel of any of their frames is in the mask."""
    (height, width), (scaled_height, scaled_width) = masks.size, take.scaled_px
    num_latent = (take.num_frames - 1) // 4 + 1
    cells_Thw = np.zeros((num_latent, take.height_px // 16, take.width_px // 16), np.bool_)
    for slot, frame in enumerate(take.frames):
        mask_HW = rle.decode(frames[frame], masks.size)
        for row, column in np.ndindex(cells_Thw.shape[1:]):
            i, j = take.top_px + 16 * row, take.left_px + 16 * column
            top, bottom = i * height // scaled_height, -(-(i + 16) * height // scaled_height)
            left, right = j * width // scaled_width, -(-(j + 16) * width // scaled_width)
            inside = mask_HW[top:bottom, left:right].any()
            cells_Thw[(slot + 3) // 4, row, column] |= inside
    return cells_Thw


def all_frames(content: bytes, take: Take) -> np.ndarray:
    """Every frame of the file, scaled and cut out."""
    with av.open(io.BytesIO(content), mode="r") as container:
        return np.stack(
            [
                frame.reformat(
                    width=take.scaled_px[1],
                    height=take.scaled_px[0],
                    format="rgb24",
                    src_colorspace=Colorspace.ITU709,
                    interpolation=Interpolation.AREA,
                ).to_ndarray()[take.window]
                for frame in container.decode(video=0)
            ]
        )


@pytest.mark.parametrize("bucket", [Bucket(17, 96, 160), Bucket(5, 160, 96), Bucket(49, 64, 64)])
def test_a_built_dataset_gives_the_frames_masks_and_captions_of_its_members(
    built: Path, tmp_path: Path, bucket: Bucket
) -> None:
    config = small_config(built, tmp_path, **EDITS)
    dataset = dataset_of(config)
    assert len(dataset.samples) == 2
    sample = dataset.samples[0]
    members = dataset.read(sample, ("mp4", "masks.json", "pairs.json", "json"))
    masks, pairs = mask_track(members["masks.json"]), mask_pairs(members["pairs.json"])
    seen = Counter[int]()
    for turn in range(5):
        clip = read_clip(dataset, sample, bucket, turn, config, media=True)
        take = clip.take
        assert clip.video_FHWC is not None
        assert clip.video_FHWC.shape == (bucket.num_frames, take.height_px, take.width_px, 3)
        if turn == 4:
            expected = all_frames(members["mp4"], take)[take.start :][: bucket.num_frames]
            np.testing.assert_array_equal(clip.video_FHWC.numpy(), expected)
        level = masks.frames if clip.precision == 0 else pairs.levels[clip.precision - 1].frames
        for found, counts in ((clip.exact_mask_Thw, masks.frames), (clip.mask_Thw, level)):
            np.testing.assert_array_equal(found.numpy(), cells_by_loops(counts, masks, take))
        assert not (clip.exact_mask_Thw & ~clip.mask_Thw).any()
        assert clip.exact_mask_Thw.any()
        assert clip.text == json.loads(members["json"])["caption"]["text"]
        seen[clip.precision] += 1
    assert len(seen) > 1


def test_the_sound_begins_with_the_first_frame(tmp_path: Path) -> None:
    """Sample k of the part is sample 2000 start + 3 k of the file, whatever the start."""
    publish_scenes(tmp_path / "dataset", [Scene(duration_s=2.0)], folder=tmp_path)
    config = small_config(tmp_path / "dataset", tmp_path)
    dataset = dataset_of(config)
    (sample,) = dataset.samples
    flac = dataset.read(sample, ["flac"])["flac"]
    with av.open(io.BytesIO(flac), mode="r") as container:
        pcm = [frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)]
    mono_N = np.concatenate(pcm).mean(axis=1) / 32768
    spectrum = np.fft.rfft(mono_N)
    spectrum[np.fft.rfftfreq(len(mono_N), 1 / 48_000) > 6500] = 0
    low_N = np.fft.irfft(spectrum, len(mono_N))
    for turn in range(6):
        clip = read_clip(dataset, sample, Bucket(17, 64, 96), turn, config, media=True)
        assert clip.wave_N is not None
        assert len(clip.wave_N) == -(-17 * 2000 // 3)
        first = 2000 * clip.take.start
        errors = [
            np.abs(clip.wave_N.numpy() - low_N[first + off :][: 3 * len(clip.wave_N) : 3]).mean()
            for off in (-2, -1, 0, 1, 2)
        ]
        assert np.argmin(errors) == 2, (clip.take.start, errors)


@pytest.mark.parametrize("bucket", [Bucket(17, 64, 96), Bucket(29, 96, 96), Bucket(41, 96, 160)])
def test_flash_and_beep_stay_together_in_every_part(bucket: Bucket, tmp_path: Path) -> None:
    publish_scenes(tmp_path / "d", [Scene("sync_ruler", 3.0)], folder=tmp_path)
    config = small_config(tmp_path / "d", tmp_path, **EDITS)
    dataset = dataset_of(config)
    (sample,) = dataset.samples
    lamp_HW = mask_track(dataset.read(sample, ["masks.json"])["masks.json"]).mask(0)
    starts = set()
    num_events = 0
    for turn in range(8):
        clip = read_clip(dataset, sample, bucket, turn, config, media=True)
        assert clip.video_FHWC is not None
        assert clip.wave_N is not None
        starts.add(clip.take.start)
        mask_HW = torch.from_numpy(cut_mask(lamp_HW, clip.take, 1))
        is_lit = clip.video_FHWC[:, mask_HW].float().mean(dim=(1, 2)) > 150
        loud_N = clip.wave_N.abs() > 0.05
        for event in range(12, 72, 24):  # frames; one flash a second from 0.5 s on
            frame = event - clip.take.start
            if not 1 <= frame < bucket.num_frames - 2:
                continue
            assert not is_lit[frame - 1]
            assert is_lit[frame]
            sample_N = round(frame * HEARING_HZ / 24)
            assert not loud_N[sample_N - 400 : sample_N - 20].any()
            assert loud_N[sample_N - 20 : sample_N + 60].any()
            num_events += 1
    assert len(starts) > 3
    assert num_events > 3


def test_roles_are_what_they_are_trained_for(two: Path, tmp_path: Path) -> None:
    config = small_config(two, tmp_path, insertion=0.3, deletion=0.3)
    dataset = dataset_of(config)
    sample = dataset.samples[0]
    plain = config.model_copy(update=EDITS)
    tasks = Counter[str]()
    levels = Counter[int]()
    for turn in range(60):
        clip = read_clip(dataset, sample, SMALL, turn, config, media=False)
        edit = read_clip(dataset, sample, SMALL, turn, plain, media=False)
        assert clip.take == edit.take
        tasks[clip.task] += 1
        if clip.task == "deletion":
            assert clip.precision == 0
            assert clip.text == config.deletion_text
            assert not clip.has_audio
            assert torch.equal(clip.mask_Thw, clip.exact_mask_Thw)
            assert clip.mask_Thw.any()
            assert not (clip.mask_Thw & edit.exact_mask_Thw).any()
            continue
        levels[clip.precision] += clip.task == "edit"
        assert torch.equal(clip.exact_mask_Thw, edit.exact_mask_Thw)
        assert clip.text == edit.text
        assert clip.has_audio
        if clip.task == "insertion":
            assert clip.precision == 4
            for mask_HW in clip.mask_Thw[:1]:  # the other latent frames are unions of boxes
                rows, columns = mask_HW.any(dim=1).nonzero(), mask_HW.any(dim=0).nonzero()
                assert mask_HW.sum() == len(rows) * len(columns)
    assert min(tasks[task] for task in ("edit", "insertion", "deletion")) >= 8
    assert set(levels) == {0, 1, 2, 3, 4}


# --- batches -------------------------------------------------------------------------------------


def test_a_batch_trains_the_network(eight: Path, encoders: Encoders, tmp_path: Path) -> None:
    config = small_config(eight, tmp_path, deletion=0.4)
    batch = next(ClipStream(config, encoders, batch_size=3))
    frames, height, width = batch.bucket.latent_size
    channels = EditorConfig.preset("tiny").in_channels
    assert batch.latents.shape == (3, channels, frames, height, width)
    assert batch.mask.shape == batch.exact_mask.shape == (3, 1, frames, height, width)
    assert batch.mask.dtype == torch.bool
    assert not (batch.exact_mask & ~batch.mask).any()
    assert batch.audio.shape == (3, SMALL.num_frames, *encoders.audio_shape)
    assert batch.text.shape[1:] == batch.no_text.shape[1:]
    network = build_network(EditorConfig.preset("tiny"))
    output = network(
        batch.latents,
        torch.full((3,), 500.0),
        batch.text,
        mask=batch.mask,
        precision=batch.precision,
        audio=batch.audio,
        has_audio=batch.has_audio,
    )
    assert output.velocity.shape == batch.latents.shape
    output.velocity.square().mean().backward()


def test_a_batch_holds_what_its_clips_hold(eight: Path, encoders: Encoders, tmp_path: Path) -> None:
    config = small_config(eight, tmp_path, deletion=0.5)
    batch = next(ClipStream(config, encoders, batch_size=8))
    dataset = dataset_of(config)
    samples = {sample.key: sample for sample in dataset.samples}
    assert {"deletion", "edit"} <= set(batch.tasks)
    for row, key in enumerate(batch.keys):
        clip = read_clip(dataset, samples[key], batch.bucket, 0, config, media=True)
        assert (clip.take.start, clip.task) == (batch.starts[row], batch.tasks[row])
        assert torch.equal(batch.latents[row], encoders.latents_of(clip).mean)
        assert torch.equal(batch.mask[row, 0], clip.mask_Thw)
        assert torch.equal(batch.exact_mask[row, 0], clip.exact_mask_Thw)
        text_LD = encoders.text_of(clip.text)
        assert torch.equal(batch.text[row, : len(text_LD)], text_LD)
        assert not batch.text[row, len(text_LD) :].any()
        assert bool(batch.has_audio[row]) == clip.has_audio == bool(batch.audio[row].any())


def keys_of(config: DataConfig, encoders: Encoders, batches: int, **of: int) -> list[str]:
    stream = ClipStream(config, encoders, **{"batch_size": 2, **of})
    return [key for _ in range(batches) for key in next(stream).keys]


def test_two_workers_of_two_processes_see_every_sample_once(
    eight: Path, encoders: Encoders, tmp_path: Path
) -> None:
    config = small_config(eight, tmp_path, workers=2)
    whole = keys_of(config, encoders, 4)
    parts = [keys_of(config, encoders, 2, rank=rank, world_size=2) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(s.key for s in dataset_of(config).samples)
    assert sorted(whole) == sorted(parts[0] + parts[1])


def test_the_same_clips_come_whatever_the_number_of_processes(
    eight: Path, encoders: Encoders, tmp_path: Path
) -> None:
    config = small_config(eight, tmp_path)
    alone = keys_of(config, encoders, 3, batch_size=4)
    parts = [keys_of(config, encoders, 3, rank=rank, world_size=2) for rank in range(2)]
    dealt = [parts[rank][2 * turn : 2 * turn + 2] for turn in range(3) for rank in range(2)]
    assert alone == [key for share in dealt for key in share]


def lose_a_worker(stream: ClipStream) -> None:
    with lost_workers_explained(), closing(stream):
        next(stream)
        (worker,) = multiprocessing.active_children()
        worker.kill()
        worker.join()
        list(itertools.islice(stream, 100))


def test_a_worker_that_is_killed_is_noticed(
    eight: Path, encoders: Encoders, tmp_path: Path
) -> None:
    stream = ClipStream(small_config(eight, tmp_path, workers=1), encoders, batch_size=1)
    with pytest.raises(RunError, match=r"process .* is lost, or.*--resume"):
        lose_a_worker(stream)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (0, 2), (2, 0)])
def test_a_resumed_stream_goes_on_bit_for_bit(
    eight: Path, encoders: Encoders, tmp_path: Path, before: int, after: int
) -> None:
    buckets = (SMALL, Bucket(17, 64, 96))
    first = small_config(eight, tmp_path, workers=before, buckets=buckets)
    stream = ClipStream(first, encoders, batch_size=3)
    for _ in range(3):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    random_state = torch.get_rng_state()
    expected = [next(stream) for _ in range(4)]
    again = ClipStream(first.model_copy(update={"workers": after}), encoders, batch_size=3)
    again.load_state_dict(state)
    for batch in expected:
        assert_equal(next(again), batch)
    assert again.state_dict() == stream.state_dict()
    assert torch.equal(torch.get_rng_state(), random_state), "training's own draws are not touched"


def test_resuming_with_other_data_is_refused(
    eight: Path, two: Path, encoders: Encoders, tmp_path: Path
) -> None:
    config = small_config(eight, tmp_path)
    state = ClipStream(config, encoders, batch_size=2).state_dict()
    for changed, size in (
        (small_config(two, tmp_path), 2),
        (config.model_copy(update={"seed": 7}), 2),
        (config, 4),
    ):
        other = ClipStream(changed, encoders, batch_size=size)
        with pytest.raises(ConfigError, match="resume with the same"):
            other.load_state_dict(state)


def test_buckets_do_not_mix_and_what_fits_none_is_counted(
    encoders: Encoders, tmp_path: Path
) -> None:
    scenes = [Scene(), Scene(duration_s=2.0), Scene(duration_s=2.0), Scene(hidden=True)]
    publish_scenes(tmp_path / "dataset", scenes, folder=tmp_path)
    buckets = (Bucket(25, 64, 96), Bucket(33, 64, 96))
    config = small_config(tmp_path / "dataset", tmp_path, buckets=buckets)
    stream = ClipStream(config, encoders, batch_size=2)
    assert stream.skipped == {"too_short": 2}
    assert all(next(stream).bucket == buckets[1] for _ in range(2))
    short = config.model_copy(update={"buckets": (SMALL, buckets[1])})
    stream = ClipStream(short, encoders, batch_size=1)
    assert stream.skipped == {"empty_mask": 1}
    batches = [next(stream) for _ in range(6)]
    sizes = {batch.keys[0]: batch.bucket for batch in batches}
    assert Counter(sizes.values()) == {SMALL: 1, buckets[1]: 2}
    assert Counter(Counter(batch.keys[0] for batch in batches).values()) == {2: 3}
    none = config.model_copy(update={"buckets": (Bucket(81, 64, 96),)})
    with pytest.raises(ManifestError, match=r"no clip .* can be used .*too_short.*fewer frames"):
        ClipStream(none, encoders, batch_size=1)


def test_held_out_clips_are_always_the_same(
    eight: Path, encoders: Encoders, tmp_path: Path
) -> None:
    config = small_config(eight, tmp_path)
    batches = held_out(config, encoders, split="train", num_clips=5, batch_size=2)
    keys = [sample.key for sample in dataset_of(config).samples]
    assert [key for batch in batches for key in batch.keys] == keys[:5]
    again = held_out(config, encoders, split="train", num_clips=5, batch_size=2)
    for one, other in zip(batches, again, strict=True):
        assert_equal(one, other)
    with pytest.raises(ManifestError, match="split `val`"):
        held_out(config, encoders, split="val", num_clips=5)


# --- bad input -----------------------------------------------------------------------------------


def first_batch(dataset: Path, tmp_path: Path, encoders: Encoders, **changes: Any) -> Batch:
    config = small_config(dataset, tmp_path, **changes)
    return next(ClipStream(config, encoders, batch_size=2))


def test_a_shard_with_another_hash_is_refused(
    damaged: Path, tmp_path: Path, encoders: Encoders
) -> None:
    path = next(damaged.glob("shards/*.tar"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=rf"{path.name}: expected sha256 .*avipipe verify"):
        first_batch(damaged, tmp_path, encoders)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_changes_later_is_noticed(
    damaged: Path, tmp_path: Path, encoders: Encoders, workers: int
) -> None:
    config = small_config(damaged, tmp_path, workers=workers)
    stream = ClipStream(config, encoders, batch_size=2)
    path = next(damaged.glob("shards/*.tar"))
    content = bytearray(path.read_bytes())
    place = dataset_of(config).samples[1].places["flac"]
    content[place.offset_bytes + place.num_bytes // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=rf"{path.name}: .*\.flac is not what was published"):
        next(stream)
    path.unlink()
    with pytest.raises(ManifestError, match=path.name):
        next(ClipStream(config, encoders, batch_size=2))


def test_a_torn_tar_is_refused(damaged: Path, tmp_path: Path, encoders: Encoders) -> None:
    content = next(damaged.glob("shards/*.tar")).read_bytes()
    replace_shard(damaged, content[: len(content) // 2])
    with pytest.raises(ManifestError, match="expected a whole tar"):
        first_batch(damaged, tmp_path, encoders)
    replace_shard(damaged, b"no tar at all" * 100)
    with pytest.raises(ManifestError, match="expected a whole tar"):
        first_batch(damaged, tmp_path, encoders)


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("masks.json", None, r"expected .*masks\.json.* found .*pairs\.json"),
        ("masks.json", b'{"size": [96, 170], "fps": 24, "frames": []}', "breaks the data contract"),
        ("masks.json", b"[]", "breaks the data contract"),
        ("pairs.json", b'{"law": {"name": "other"}, "levels": []}', "expected one of the laws"),
        ("json", b'{"num_frames": 24}', "breaks the data contract"),
        ("mp4", b"not a video", r"\.mp4: cannot be decoded"),
        ("flac", b"not a sound", r"\.flac: cannot be decoded"),
    ],
)
def test_samples_that_break_the_contract_are_refused(
    damaged: Path,
    tmp_path: Path,
    encoders: Encoders,
    member: str,
    content: bytes | None,
    message: str,
) -> None:
    remake_shard(damaged, lambda name, old: content if name == member else old)
    with pytest.raises(ManifestError, match=message):
        first_batch(damaged, tmp_path, encoders)


def test_pictures_that_end_early_are_refused(
    damaged: Path, tmp_path: Path, encoders: Encoders
) -> None:
    def cut(name: str, content: bytes) -> bytes:
        if name != "mp4":
            return content
        out = io.BytesIO()
        with (
            av.open(io.BytesIO(content), mode="r") as old,
            av.open(out, mode="w", format="mp4") as new,
        ):
            stream = new.add_stream_from_template(old.streams.video[0])
            for packet in itertools.islice(old.demux(video=0), 5):
                if packet.dts is not None:
                    packet.stream = stream
                    new.mux(packet)
        return out.getvalue()

    remake_shard(damaged, cut)
    with pytest.raises(ManifestError, match=r"\.mp4: expected frames \d+ to \d+, found none at"):
        first_batch(damaged, tmp_path, encoders)


def test_another_schema_or_no_dataset_is_refused(
    damaged: Path, tmp_path: Path, encoders: Encoders
) -> None:
    listing = json.loads((damaged / "dataset.json").read_bytes())
    (damaged / "dataset.json").write_text(json.dumps({**listing, "schema_version": 2}))
    with pytest.raises(ManifestError, match="schema version 1"):
        first_batch(damaged, tmp_path, encoders)
    (damaged / "dataset.json").unlink()
    with pytest.raises(ManifestError, match=r"no dataset\.json; run `avipipe build`"):
        first_batch(damaged, tmp_path, encoders)


def test_retracted_samples_are_left_out(damaged: Path, tmp_path: Path) -> None:
    config = small_config(damaged, tmp_path)
    keys = [sample.key for sample in dataset_of(config).samples]
    listing = json.loads((damaged / "dataset.json").read_bytes())
    (damaged / "dataset.json").write_text(json.dumps({**listing, "retracted": keys[:1]}))
    assert [sample.key for sample in dataset_of(config).samples] == keys[1:]


def test_masks_of_other_levels_are_refused(tmp_path: Path, encoders: Encoders) -> None:
    publish_scenes(tmp_path / "d", [Scene()], folder=tmp_path, law=Law(num_levels=3))
    with pytest.raises(ManifestError, match=r"expected masks of P = 4 levels, found 3"):
        first_batch(tmp_path / "d", tmp_path, encoders)
    assert first_batch(tmp_path / "d", tmp_path, encoders, max_precision=3).keys


@pytest.mark.parametrize("how", SPOILT)
def test_a_damaged_note_of_a_shard_is_made_anew(two: Path, tmp_path: Path, how: str) -> None:
    config = small_config(two, tmp_path)
    samples = dataset_of(config).samples
    (note,) = config.index.iterdir()
    whole = note.read_bytes()
    content = SPOILT[how](whole)
    note.unlink() if content is None else note.write_bytes(content)
    assert dataset_of(config).samples == samples
    assert note.read_bytes() == whole


def test_shards_are_read_from_a_url(two: Path, tmp_path: Path, encoders: Encoders) -> None:
    here = first_batch(two, tmp_path, encoders)
    fsspec.filesystem("memory").put(f"{two}/", "/editor-data/", recursive=True)
    config = small_config(two, tmp_path).model_copy(update={"dataset": "memory://editor-data"})
    assert_equal(next(ClipStream(config, encoders, batch_size=2)), here)


class Ranges(SimpleHTTPRequestHandler):
    """Serves parts of files, too."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = self.headers.get("Range")
        if asked is None or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, last = asked.removeprefix("bytes=").split("-")
        part = content[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def served(two: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(two)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_read_shards_from_a_server(
    served: str, two: Path, tmp_path: Path, encoders: Encoders
) -> None:
    here = first_batch(two, tmp_path, encoders)
    config = small_config(two, tmp_path).model_copy(update={"dataset": served, "workers": 1})
    assert_equal(next(ClipStream(config, encoders, batch_size=2)), here)
