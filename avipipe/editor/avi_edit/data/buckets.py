"""Which size of batch a clip goes into."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.editor.common.media import covering_size
from avipipe.editor.common.shards import Sample

SAME_SHAPE = 0.1
"""Buckets that lose less than this much more of a picture than another fit as well."""


class Chosen(NamedTuple):
    """A sample and the bucket that it goes into."""

    sample: Sample
    bucket: Bucket


def sort_into_buckets(
    samples: Iterable[Sample], buckets: Sequence[Bucket]
) -> tuple[list[Chosen], Counter[str]]:
    """The samples that are used, in their order, and how many are not, by reason."""
    chosen, skipped = list[Chosen](), Counter[str]()
    for sample in samples:
        bucket = choose_bucket(sample.num_frames, sample.size, buckets)
        if bucket is None:
            skipped["too_short"] += 1
        elif sample.num_visible == 0:
            skipped["empty_mask"] += 1
        else:
            chosen.append(Chosen(sample, bucket))
    return chosen, skipped


def choose_bucket(
    num_frames: int, size: tuple[int, int], buckets: Sequence[Bucket]
) -> Bucket | None:
    """The bucket of a clip; None where it is shorter than all.

    Of those that are not longer than the clip: those of its shape; of these, those that need not
    enlarge it; of these, the one with most tokens.

    Args:
        size: height and width in pixels.
    """
    short = [bucket for bucket in buckets if bucket.num_frames <= num_frames]
    if not short:
        return None
    least = min(_lost(size, bucket) for bucket in short)
    shaped = [bucket for bucket in short if _lost(size, bucket) <= least + SAME_SHAPE]
    return min(
        shaped,
        key=lambda bucket: (_enlarges(size, bucket), -bucket.num_tokens, _lost(size, bucket)),
    )


def _lost(size: tuple[int, int], bucket: Bucket) -> float:
    """Share of the scaled picture that is cut off."""
    height, width = covering_size(size, (bucket.height_px, bucket.width_px))
    return 1 - bucket.height_px * bucket.width_px / (height * width)


def _enlarges(size: tuple[int, int], bucket: Bucket) -> float:
    """By how much a picture is enlarged; 1 where it is not."""
    return max(1.0, bucket.height_px / size[0], bucket.width_px / size[1])
