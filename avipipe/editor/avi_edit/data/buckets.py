"""Which size of batch a clip goes into, and at which size a video is edited."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from avipipe.editor.avi_edit.sizes import PATCH, SPATIAL_STRIDE, Bucket
from avipipe.editor.common.media import covering_size
from avipipe.editor.common.shards import Sample

SAME_SHAPE = 0.1
"""Buckets that lose less than this much more of a picture than another fit as well."""

CELL_PX = SPATIAL_STRIDE * PATCH
"""Sides of pictures are multiples of a token's."""

NEARLY_ALL = 0.95
"""Share of a picture, or of a size's tokens, that is as good as all of it."""


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


def choose_size(shape: tuple[float, float], buckets: Sequence[Bucket]) -> tuple[int, int]:
    """Width and height to edit a picture at.

    The largest size that the model was trained at of those that cut off next to nothing; else one
    of the picture's shape with about as many tokens.

    Args:
        shape: width and height of the picture.
    """
    trained = [
        (bucket.tokens_per_frame, kept, size)
        for bucket in buckets
        for size in ((bucket.width_px, bucket.height_px),)
        if (kept := _kept(shape, size)) >= NEARLY_ALL
    ]
    if trained:
        return max(trained)[2]
    most = max(bucket.tokens_per_frame for bucket in buckets)
    sizes = []
    for rows in range(1, most + 1):
        columns = min(most // rows, max(1, round(rows * shape[0] / shape[1])))
        if rows * columns >= NEARLY_ALL * most:
            size = (columns * CELL_PX, rows * CELL_PX)
            sizes.append((_kept(shape, size), size))
    return max(sizes)[1]


def _kept(shape: tuple[float, float], size: tuple[int, int]) -> float:
    """Share of a picture that is left when it is cut to the shape of a size."""
    ratio = shape[0] * size[1] / (shape[1] * size[0])
    return min(ratio, 1 / ratio)


def _lost(size: tuple[int, int], bucket: Bucket) -> float:
    """Share of the scaled picture that is cut off."""
    height, width = covering_size(size, (bucket.height_px, bucket.width_px))
    return 1 - bucket.height_px * bucket.width_px / (height * width)


def _enlarges(size: tuple[int, int], bucket: Bucket) -> float:
    """By how much a picture is enlarged; 1 where it is not."""
    return max(1.0, bucket.height_px / size[0], bucket.width_px / size[1])
