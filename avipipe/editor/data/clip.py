"""Draws a part of a clip and a role for it, and reads that.

What is drawn depends on the seed, the clip and the turn alone: not on the process that draws it,
nor on what was drawn before.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal
import torch
from torch import Tensor

from avipipe.editor.config import SPATIAL_STRIDE, Bucket
from avipipe.editor.data.batch import Task
from avipipe.editor.data.buckets import scaled_size
from avipipe.editor.data.config import DataConfig
from avipipe.editor.data.media import Masks, Take, decode_frames, decode_sound, scale_mask
from avipipe.editor.data.shards import Sample, ShardDataset, mask_pairs, mask_track
from avipipe.editor.masks import downsample_mask
from avipipe.errors import ManifestError
from avipipe.manifests import rle
from avipipe.manifests.pairs import Pairs
from avipipe.manifests.rle import MaskTrack

Cells = npt.NDArray[np.float32]

MIN_INSIDE = 0.5
"""Share of a moved mask that must stay in the picture."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A part of a clip in its role.

    Attributes:
        exact_mask_FHW: what the refiner is to find, bool.
        mask_FHW: what is given, of precision factor `precision`, bool.
        video_FHWC: uint8 RGB; None where it was not asked for.
        wave_N: mono, float32 in [-1, 1] at 16 kHz; None where it was not asked for.
    """

    sample: Sample
    turn: int
    bucket: Bucket
    take: Take
    task: Task
    exact_mask_FHW: Tensor
    mask_FHW: Tensor
    precision: int
    text: str
    video_FHWC: Tensor | None = None
    wave_N: Tensor | None = None

    @property
    def has_audio(self) -> bool:
        """Whether the network may hear it: nothing sounds where an instance is taken away."""
        return self.task != "deletion"


def read_clip(
    dataset: ShardDataset,
    sample: Sample,
    bucket: Bucket,
    turn: int,
    config: DataConfig,
    *,
    media: bool,
) -> Clip:
    """Read a sample in its turn.

    Args:
        bucket: that fits the sample.
        media: decode pictures and sound, too.
    Raises:
        ManifestError: it is damaged, or its masks have other levels than the network.
    """
    where = f"{dataset.url}/{sample.shard}: {sample.key}"
    if sample.num_levels != config.max_precision:
        raise ManifestError(
            f"{where}: expected masks of P = {config.max_precision} levels, found "
            f"{sample.num_levels}; set data.max_precision and the network's to it, or run the pair "
            "stage with another law"
        )
    members = dataset.read(
        sample, ("masks.json", "pairs.json", "json", *(("mp4", "flac") if media else ()))
    )
    masks, pairs = mask_track(members["masks.json"]), mask_pairs(members["pairs.json"])
    text = str(json.loads(members["json"])["caption"]["text"])
    take, exact_FHW = draw_take(
        masks, bucket, _generator(config, sample, "take", take_number(config, turn))
    )
    rng = _generator(config, sample, "role", turn)
    task, precision = draw_role(config, rng)
    mask_FHW = exact_FHW if precision == 0 else _degraded(pairs, masks, precision, take)
    if task == "deletion":
        moved_FHW = move_away(mask_FHW, exact_FHW, rng)
        if moved_FHW is None:
            task = "edit"
        else:
            exact_FHW = mask_FHW = moved_FHW
            precision, text = 0, config.deletion_text
    video = wave = None
    if media:
        video = torch.from_numpy(decode_frames(members["mp4"], take, where=f"{where}.mp4"))
        wave = torch.from_numpy(decode_sound(members["flac"], take, where=f"{where}.flac"))
    exact, mask = torch.from_numpy(exact_FHW), torch.from_numpy(mask_FHW)
    return Clip(sample, turn, bucket, take, task, exact, mask, precision, text, video, wave)


def take_number(config: DataConfig, turn: int) -> int:
    """Which part of a clip is taken in a turn."""
    return turn if config.takes is None else turn % config.takes


def draw_take(masks: MaskTrack, bucket: Bucket, rng: np.random.Generator) -> tuple[Take, Masks]:
    """Draw a part of a clip, and its exact masks, bool (F, H, W).

    Any part in which the instance is seen at all is as likely, and so is any cut-out that keeps the
    most of its mask.

    Args:
        masks: in which the instance is seen, in a frame at least.
    """
    seen = np.array([rle.area(counts, masks.size) > 0 for counts in masks.frames])
    num_seen = np.convolve(seen, np.ones(bucket.num_frames, np.int64), mode="valid")
    start = int(rng.choice(np.flatnonzero(num_seen)))
    scaled_px = scaled_size(masks.size, bucket)
    frames = range(start, start + bucket.num_frames)
    whole_FHW = np.stack([scale_mask(masks.mask(frame), scaled_px) for frame in frames])
    top = _draw_offset(whole_FHW.sum(axis=(0, 2)), bucket.height_px, rng)
    left = _draw_offset(whole_FHW.sum(axis=(0, 1)), bucket.width_px, rng)
    size = (bucket.height_px, bucket.width_px)
    take = Take(start, bucket.num_frames, scaled_px, top, left, *size)
    return take, np.ascontiguousarray(whole_FHW[:, *take.window])


def draw_role(config: DataConfig, rng: np.random.Generator) -> tuple[Task, int]:
    """Draw what a sample is an example of, and the precision factor of its mask.

    An insertion is given the box; a deletion a mask of any shape, elsewhere.
    """
    chance = rng.random()
    precision = int(rng.integers(config.max_precision + 1))
    if chance < config.deletion:
        return "deletion", precision
    if chance < config.deletion + config.insertion:
        return "insertion", config.max_precision
    return "edit", precision


def move_away(shape_FHW: Masks, instance_FHW: Masks, rng: np.random.Generator) -> Masks | None:
    """Move a mask track, by whole latent cells, to where the instance is not then.

    Any place is as likely that keeps enough of it in the picture; None if there is no place.
    """
    shape_Thw, instance_Thw = _cells(shape_FHW), _cells(instance_FHW)
    counts_hw = shape_Thw.sum(axis=0)
    overlap = sum(map(_correlation, instance_Thw, shape_Thw))
    inside = _correlation(np.ones_like(counts_hw), counts_hw)
    is_free = (overlap == 0) & (inside > 0) & (inside >= MIN_INSIDE * counts_hw.sum())
    places = np.argwhere(is_free)
    if len(places) == 0:
        return None
    down, right = rng.choice(places) - np.array(counts_hw.shape) + 1
    return _shifted(shape_FHW, int(down) * SPATIAL_STRIDE, int(right) * SPATIAL_STRIDE)


def _shifted(mask_FHW: Masks, down_px: int, right_px: int) -> Masks:
    height, width = mask_FHW.shape[1:]
    moved_FHW = np.zeros_like(mask_FHW)
    rows_to, rows_from = _overlap(height, down_px)
    columns_to, columns_from = _overlap(width, right_px)
    moved_FHW[:, rows_to, columns_to] = mask_FHW[:, rows_from, columns_from]
    return moved_FHW


def _overlap(length: int, offset: int) -> tuple[slice, slice]:
    """Of a line with itself, moved: where to, and where from."""
    first, end = max(0, offset), min(length, length + offset)
    return slice(first, end), slice(first - offset, end - offset)


def _cells(mask_FHW: Masks) -> Cells:
    """Latent cells of a track, 0 or 1, (T, h, w)."""
    cells: Cells = downsample_mask(torch.from_numpy(mask_FHW)[None, None])[0, 0].float().numpy()
    return cells


def _correlation(fixed_hw: Cells, moved_hw: Cells) -> Cells:
    """What two maps of whole numbers have in common, at each move of the second."""
    return np.rint(scipy.signal.correlate(fixed_hw, moved_hw, method="fft"))


def _degraded(pairs: Pairs, masks: MaskTrack, precision: int, take: Take) -> Masks:
    counts = pairs.levels[precision - 1].frames
    return np.stack(
        [
            scale_mask(rle.decode(counts[frame], masks.size), take.scaled_px)[take.window]
            for frame in take.frames
        ]
    )


def _draw_offset(profile: np.ndarray, length: int, rng: np.random.Generator) -> int:
    """Where a cut-out of a length keeps the most."""
    kept = np.convolve(profile, np.ones(length, np.int64), mode="valid")
    return int(rng.choice(np.flatnonzero(kept == kept.max())))


def _generator(config: DataConfig, sample: Sample, purpose: str, turn: int) -> np.random.Generator:
    """What chance decides about a sample, apart from all else."""
    text = f"{config.seed}/{purpose}/{turn}/{sample.key}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
