"""Draws a part of a clip and a role for it, and reads that.

What is drawn depends on the seed, the clip and the turn alone: not on the process that draws it,
nor on what was drawn before.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.signal
import torch
from torch import Tensor

from avipipe.editor.avi_edit.data.config import DataConfig
from avipipe.editor.avi_edit.sizes import SPATIAL_STRIDE, TEMPORAL_STRIDE, Bucket
from avipipe.editor.common.media import (
    Masks,
    Take,
    covering_size,
    cut_mask,
    decode_frames,
    decode_sound,
    under,
)
from avipipe.editor.common.shards import Sample, ShardDataset, mask_pairs, mask_track
from avipipe.editor.common.tasks import Task
from avipipe.errors import ManifestError
from avipipe.manifests import rle
from avipipe.manifests.pairs import Pairs
from avipipe.manifests.rle import MaskTrack

Cells = npt.NDArray[Any]

MIN_INSIDE = 0.5
"""Share of a moved mask that must stay in the picture."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A part of a clip in its role.

    Attributes:
        exact_mask_Thw: what the refiner is to find, bool, in latent cells.
        mask_Thw: what is given, of precision factor `precision`, bool.
        video_FHWC: uint8 RGB; None where it was not asked for.
        wave_N: mono, float32 in [-1, 1] at 16 kHz; None where it was not asked for.
    """

    sample: Sample
    turn: int
    bucket: Bucket
    take: Take
    task: Task
    exact_mask_Thw: Tensor
    mask_Thw: Tensor
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
    take, exact_Thw = draw_take(
        masks, bucket, _generator(config, sample, "take", take_number(config, turn))
    )
    rng = _generator(config, sample, "role", turn)
    task, precision = draw_role(config, rng)
    mask_Thw = exact_Thw if precision == 0 else _degraded(pairs, masks, precision, take)
    if task == "deletion":
        moved_Thw = move_away(mask_Thw, exact_Thw, rng)
        if moved_Thw is None:
            task = "edit"
        else:
            exact_Thw = mask_Thw = moved_Thw
            precision, text = 0, config.deletion_text
    video = wave = None
    if media:
        video = torch.from_numpy(decode_frames(members["mp4"], take, where=f"{where}.mp4"))
        wave = torch.from_numpy(decode_sound(members["flac"], take.frames, where=f"{where}.flac"))
    exact, mask = torch.from_numpy(exact_Thw), torch.from_numpy(mask_Thw)
    return Clip(sample, turn, bucket, take, task, exact, mask, precision, text, video, wave)


def take_number(config: DataConfig, turn: int) -> int:
    """Which part of a clip is taken in a turn."""
    return turn if config.takes is None else turn % config.takes


def draw_take(masks: MaskTrack, bucket: Bucket, rng: np.random.Generator) -> tuple[Take, Masks]:
    """Draw a part of a clip, and its exact mask in latent cells, (T, h, w).

    Any part in which the instance is seen at all is as likely, and so is any cut-out that keeps the
    most of its mask.

    Args:
        masks: in which the instance is seen, in a frame at least.
    """
    seen = np.array([rle.area(counts, masks.size) > 0 for counts in masks.frames])
    num_seen = np.convolve(seen, np.ones(bucket.num_frames, np.int64), mode="valid")
    start = int(rng.choice(np.flatnonzero(num_seen)))
    frames = masks.frames[start : start + bucket.num_frames]
    masks_FHW = [_decoded(counts, masks.size) for counts in frames]
    counts_HW = np.zeros(masks.size, np.uint16, order="F")
    for mask_HW in masks_FHW:
        counts_HW += mask_HW
    scaled_px = covering_size(masks.size, (bucket.height_px, bucket.width_px))
    top = _draw_offset(counts_HW.sum(axis=1, dtype=np.int64), bucket.height_px, scaled_px[0], rng)
    left = _draw_offset(counts_HW.sum(axis=0, dtype=np.int64), bucket.width_px, scaled_px[1], rng)
    size = (bucket.height_px, bucket.width_px)
    take = Take(start, bucket.num_frames, scaled_px, top, left, *size)
    return take, _latent_cells(masks_FHW, take)


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


def move_away(shape_Thw: Masks, instance_Thw: Masks, rng: np.random.Generator) -> Masks | None:
    """Move the cells of a mask to where those of the instance are not at the time.

    Any place is as likely that keeps enough of it in the picture; None if there is no place.
    """
    counts_hw = shape_Thw.sum(axis=0)
    overlap = sum(map(_correlation, instance_Thw, shape_Thw))
    inside = _correlation(np.ones_like(counts_hw), counts_hw)
    is_free = (overlap == 0) & (inside > 0) & (inside >= MIN_INSIDE * counts_hw.sum())
    places = np.argwhere(is_free)
    if len(places) == 0:
        return None
    height, width = counts_hw.shape
    down, right = rng.choice(places)
    # Place (0, 0) has but the last cell of the shape in the picture, at its first.
    padded_Thw = np.pad(shape_Thw, ((0, 0), (height - 1, height - 1), (width - 1, width - 1)))
    rows = slice(2 * height - 2 - down, 3 * height - 2 - down)
    columns = slice(2 * width - 2 - right, 3 * width - 2 - right)
    return padded_Thw[:, rows, columns]


def _correlation(fixed_hw: Cells, moved_hw: Cells) -> Cells:
    """What two maps of whole numbers have in common, at each move of the second."""
    numbers = fixed_hw.astype(np.float32), moved_hw.astype(np.float32)
    return np.rint(scipy.signal.correlate(*numbers, method="fft"))


def _degraded(pairs: Pairs, masks: MaskTrack, precision: int, take: Take) -> Masks:
    counts = pairs.levels[precision - 1].frames
    return _latent_cells((_decoded(counts[frame], masks.size) for frame in take.frames), take)


def _decoded(counts: str, size: tuple[int, int]) -> Masks:
    """A mask (H, W) whose columns lie in one piece: turning it round costs more than all else."""
    return rle.decode_by_columns(counts, size).T


def _latent_cells(masks_HW: Iterable[Masks], take: Take) -> Masks:
    """What of latent frames the masks of video frames touch; as `downsample_mask`, but cheaper."""
    cells_Fhw = np.stack([cut_mask(mask_HW, take, SPATIAL_STRIDE) for mask_HW in masks_HW])
    groups = cells_Fhw[1:].reshape(-1, TEMPORAL_STRIDE, *cells_Fhw.shape[1:])
    return np.concatenate([cells_Fhw[:1], groups.any(axis=1)])


def _draw_offset(
    counts: npt.NDArray[np.int64], length_px: int, scaled_px: int, rng: np.random.Generator
) -> int:
    """Where in the scaled picture a cut-out of a length keeps the most."""
    before = np.concatenate([[0], np.cumsum(counts)])
    first, last = under(np.arange(scaled_px - length_px + 1), length_px, scaled_px, len(counts))
    kept = before[last + 1] - before[first]
    return int(rng.choice(np.flatnonzero(kept == kept.max())))


def _generator(config: DataConfig, sample: Sample, purpose: str, turn: int) -> np.random.Generator:
    """What chance decides about a sample, apart from all else."""
    text = f"{config.seed}/{purpose}/{turn}/{sample.key}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
