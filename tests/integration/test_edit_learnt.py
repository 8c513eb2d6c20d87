"""From clips of a dataset to an edit by a network that knows them by heart."""

import json
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from avipipe.annotators.base import Mask
from avipipe.cli import main
from avipipe.config_file import told, validated
from avipipe.editor.avi_edit.data.clip import read_clip
from avipipe.editor.avi_edit.masks import to_cells
from avipipe.editor.avi_edit.train.config import TrainConfig
from avipipe.editor.common.media import cut_mask
from avipipe.editor.common.shards import ShardDataset, mask_pairs, mask_track
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.video import fit_sound, write_video
from avipipe.manifests import rle
from avipipe.media.ffmpeg import run as ffmpeg
from avipipe.media.lossless import read_lossless

STEPS = 120


@dataclass(frozen=True)
class Known:
    """What the network has learnt: the video, its prompt, and the masks in files."""

    video: Path
    prompt: str
    box: Path
    exact_FHW: Mask


@pytest.fixture(scope="module")
def run(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run on the two clips of the dataset, short but enough for masks."""
    folder = tmp_path_factory.mktemp("learnt")
    options = ["--set", f"data.index={folder / 'index'}", "--set", "validation.num_clips=0"]
    options += ["--config", "tiny", "--data", str(built), "--set", "data.workers=0"]
    torch.set_num_threads(1)
    main(["train", "cache", *options, "--out", str(folder / "features")])
    cached = ["--set", f"data.cache={folder / 'features'}"]
    main(["train", *options, *cached, "--steps", str(STEPS), "--out", str(folder / "run")])
    return folder / "run"


def known_clips(run: Path, folder: Path) -> list[Known]:
    """The parts of clips that a run has learnt, as files of a user."""
    config = validated(TrainConfig, told(run / "config.yaml")).data
    dataset = ShardDataset(config.dataset, "train", index=config.index)
    found = []
    for sample in dataset.samples:
        clip = read_clip(dataset, sample, config.buckets[0], 0, config, media=True)
        members = dataset.read(sample, ("flac", "masks.json", "pairs.json", "json"))
        exact, pairs = mask_track(members["masks.json"]), mask_pairs(members["pairs.json"])
        place = folder / sample.key
        place.mkdir()
        (place / "all.flac").write_bytes(members["flac"])
        first, take = 2000 * clip.take.start, clip.take
        cut = f"atrim=start_sample={first},asetpts=PTS-STARTPTS"
        ffmpeg(["-i", str(place / "all.flac"), "-af", cut, str(place / "cut.flac")], timeout_s=60)
        fit_sound(place / "cut.flac", take.num_frames, place / "sound.flac")
        assert clip.video_FHWC is not None
        frames = clip.video_FHWC.numpy()
        write_video(place / "video.mp4", frames, place / "sound.flac", crf=1)
        masks = [cut_mask(exact.mask(frame), take, 1) for frame in take.frames]
        boxes = [rle.decode(pairs.levels[-1].frames[frame], exact.size) for frame in take.frames]
        counts = [rle.encode(cut_mask(box_HW, take, 1)) for box_HW in boxes]
        rle.write_masks(place / "box.json", counts, size=frames.shape[1:3])
        prompt = json.loads(members["json"])["caption"]["text"]
        found.append(Known(place / "video.mp4", prompt, place / "box.json", np.stack(masks)))
    return found


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.slow
def test_a_box_is_refined_to_the_thing_and_nothing_else_changes(run: Path, tmp_path: Path) -> None:
    clips = known_clips(run, tmp_path)
    before, after = [], []
    for number, clip in enumerate(clips):
        out = tmp_path / f"out-{number}"
        words = ["edit", clip.video, "--instruction", "make it anew", "--prompt", clip.prompt]
        words += ["--mask", clip.box, "--model", run, "--out", out, "--keep-work"]
        words += ["--set", "solver.shift=1", "--steps", "20"]
        main(list(map(str, words)))
        trace = json.loads((out / "trace.json").read_bytes())
        assert trace["edits"][0]["mask"]["precision"] == 4
        given = rle.read_masks(clip.box)
        boxes_FHW = np.stack([given.mask(frame) for frame in range(len(given.frames))])
        refined_FHW = np.asarray(read_lossless(out / "mask.mkv", "gray") > 0)
        exact = to_cells(clip.exact_FHW)
        before.append(overlap(to_cells(boxes_FHW), exact))
        after.append(overlap(to_cells(refined_FHW), exact))
        _check_pictures(out, refined_FHW)
    assert min(before) < 0.8
    assert min(after) >= 0.9


def _check_pictures(out: Path, refined_FHW: Mask) -> None:
    """Outside of the dilated mask the edit is the source, and the file plays to its end."""
    import cv2

    kernel = np.ones((33, 33), np.uint8)
    dilated = np.stack([cv2.dilate(mask.astype(np.uint8), kernel) for mask in refined_FHW]) > 0
    frames = range(len(refined_FHW))
    source = Footage(out / "work" / "source" / "frames").read(frames)
    result = Footage(out / "work" / "edit-01" / "frames").read(frames)
    assert 0 < (~dilated).sum() < dilated.size
    assert np.array_equal(result[~dilated], source[~dilated])
    assert not np.array_equal(result, source)
    with av.open(str(out / "edited.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    written = np.stack(pictures).astype(np.int64)
    assert written.shape == source.shape
    assert np.abs(written - source)[~dilated].mean() < 5
    with av.open(str(out / "edited.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 2000 * len(frames)
