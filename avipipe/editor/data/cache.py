"""Features that are computed once and kept."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avipipe.editor.data.config import DataConfig
from avipipe.editor.data.encoders import Encoders


@dataclass(frozen=True, slots=True)
class CacheReport:
    """What a run of `cache_dataset` did in this process: items of video, sound and text."""

    num_items: int
    num_new: int
    num_bytes: int
    skipped: Counter[str]


class FeatureCache:
    """What `cache_dataset` wrote."""

    def __init__(self, folder: Path) -> None:
        raise NotImplementedError


def cache_dataset(
    config: DataConfig,
    encoders: Encoders,
    folder: Path,
    *,
    splits: tuple[str, ...] = ("train",),
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CacheReport:
    """Compute what of the features is not there yet; `progress(done, total)` after each clip."""
    raise NotImplementedError
