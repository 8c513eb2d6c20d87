"""From a published dataset to batches."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from avipipe.editor.data.batch import Batch
from avipipe.editor.data.cache import FeatureCache
from avipipe.editor.data.config import DataConfig
from avipipe.editor.data.encoders import Encoders


class ClipStream:
    """Batches without end, of one process; where it stands can be kept and found again."""

    skipped: Counter[str]
    """Clips of the split that are not used, by reason."""

    def __init__(
        self,
        config: DataConfig,
        features: Encoders | FeatureCache,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        raise NotImplementedError

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The place, as JSON."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place."""
        raise NotImplementedError

    def close(self) -> None:
        """End its workers."""
        raise NotImplementedError


def held_out(
    config: DataConfig,
    features: Encoders | FeatureCache,
    *,
    split: str,
    num_clips: int,
    batch_size: int = 1,
) -> Sequence[Batch]:
    """The first clips of a split by key, always the same parts and tasks."""
    raise NotImplementedError
