"""From a published dataset to batches.

Which clips make up a batch, and what is drawn for each, are functions of the number of the batch;
so that number is the place, and neither workers nor interruptions change anything.
"""

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset

from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.data.buckets import Chosen, sort_into_buckets
from avipipe.editor.avi_edit.data.clip import Clip, read_clip
from avipipe.editor.avi_edit.data.config import DataConfig
from avipipe.editor.avi_edit.data.features import Features, make_batch
from avipipe.editor.avi_edit.data.plan import Pick, Plan
from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.editor.common.shards import ShardDataset
from avipipe.errors import AvipipeError, ConfigError, ManifestError, RunError

logger = logging.getLogger(__name__)


class ClipStream:
    """Batches without end, of one process; where it stands can be kept and found again.

    At each turn all processes have batches of the same bucket. With equal seeds, so many processes
    with so large batches see the clips of half as many with twice as large ones.

    Args:
        features: `Encoders`, or a `FeatureCache`.
        batch_size: of this process.
    Raises:
        ManifestError: the dataset is not what was published, or has no clip for any bucket.
    """

    def __init__(
        self,
        config: DataConfig,
        features: Features,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        dataset, chosen, self.skipped = _open(config, config.split, rank, world_size)
        self._config, self._features = config, features
        groups = [
            [each for each in chosen if each.bucket == bucket]
            for bucket in dict.fromkeys(config.buckets)
        ]
        groups = [group for group in groups if group]
        total = batch_size * world_size
        self._plan = Plan([len(group) for group in groups], batch_size=total, seed=config.seed)
        self._share = slice(rank * batch_size, (rank + 1) * batch_size)
        self._reader = _Reader(dataset, groups, config, features)
        self._identity = {
            "batch_size": total,
            "seed": config.seed,
            "takes": config.takes,
            "clips": _identity(chosen),
        }
        self._number = 0
        self._batches: Iterator[Batch | list[Clip] | AvipipeError] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            ManifestError: a sample is damaged.
            ConfigError: the cache lacks it.
        """
        if self._batches is None:
            requests = _Requests(self._plan, self._number, self._share)
            self._batches = iter(_loader(self._reader, requests, self._config.workers))
        found = next(self._batches)
        if isinstance(found, AvipipeError):
            raise found
        self._number += 1
        if isinstance(found, Batch):
            return found
        return make_batch(found, self._features, self._config)

    def state_dict(self) -> dict[str, Any]:
        """The place, as JSON: how many batches were taken, and of what."""
        return {"batches": self._number, **self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place.

        Raises:
            ConfigError: it is of other clips, or of other batches.
        """
        wrong = [name for name, value in self._identity.items() if state.get(name) != value]
        if wrong:
            raise ConfigError(
                f"the data is not that of the checkpoint, in {', '.join(wrong)} (was "
                f"{[state.get(name) for name in wrong]}, is "
                f"{[self._identity[name] for name in wrong]}); resume with the same dataset, data "
                "section and total batch size"
            )
        self.close()
        self._number = int(state["batches"])

    def close(self) -> None:
        """End the workers; the next batch starts new ones."""
        self._batches = None


def held_out(
    config: DataConfig, features: Features, *, split: str, num_clips: int, batch_size: int = 1
) -> Sequence[Batch]:
    """The first clips of a split by key, always the same parts of them, in the same roles.

    Raises:
        ManifestError: the dataset is not what was published, or has no such split.
    """
    dataset, chosen, _ = _open(config, split, 0, 1)
    groups: dict[Bucket, list[Chosen]] = {}
    for each in chosen[:num_clips]:
        groups.setdefault(each.bucket, []).append(each)
    return [
        make_batch(
            [
                read_clip(dataset, *each, turn=0, config=config, media=features.needs_media)
                for each in group[first : first + batch_size]
            ],
            features,
            config,
        )
        for group in groups.values()
        for first in range(0, len(group), batch_size)
    ]


Request = tuple[int, list[Pick]]
"""A batch to read: its group, and the samples."""


@contextmanager
def lost_workers_explained() -> Iterator[None]:
    """Say what to do where a process that reads is killed, which torch notices at any moment.

    Raises:
        RunError: one was.
    """
    lost = ""
    try:
        yield
    except (ConnectionError, EOFError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error):
            raise
        lost = f"{type(error).__name__}: {error}"
    # Only now, when nothing holds the loader any more: it would go on to tell of its loss.
    if lost:
        raise RunError(
            f"a process that reads clips is lost, or their store does not answer ({lost}). The "
            "system kills processes where memory runs out: give fewer data.workers, and go on with "
            "--resume"
        )


class _Requests(Iterable[Request]):
    """What a process has to read, from a batch on."""

    def __init__(self, plan: Plan, number: int, share: slice) -> None:
        self._plan, self._number, self._share = plan, number, share

    def __iter__(self) -> Iterator[Request]:
        for number in itertools.count(self._number):
            group, picks = self._plan.batch(number)
            yield group, picks[self._share]


class _Reader(Dataset[Batch | list[Clip] | AvipipeError]):
    """Reads what makes up a batch; the batch itself where features need no media."""

    def __init__(
        self,
        dataset: ShardDataset,
        groups: Sequence[Sequence[Chosen]],
        config: DataConfig,
        features: Features,
    ) -> None:
        self._dataset, self._groups, self._config = dataset, groups, config
        self._media = features.needs_media
        # Encoders stay where they are: workers have no use for them.
        self._features = None if self._media else features

    def __getitem__(self, request: Request) -> Batch | list[Clip] | AvipipeError:
        group, picks = request
        try:
            clips = [
                read_clip(
                    self._dataset,
                    *self._groups[group][pick.index],
                    turn=pick.turn,
                    config=self._config,
                    media=self._media,
                )
                for pick in picks
            ]
            if self._features is None:
                return clips
            return make_batch(clips, self._features, self._config)
        except AvipipeError as error:
            return error


def _loader(
    reader: _Reader, requests: _Requests, workers: int
) -> DataLoader[Batch | list[Clip] | AvipipeError]:
    return DataLoader(
        reader,
        batch_size=None,
        sampler=requests,
        num_workers=workers,
        collate_fn=_same,
        pin_memory=torch.cuda.is_available(),
        # Its own, so that starting workers draws nothing from the one of the training.
        generator=torch.Generator(),
    )


def _open(
    config: DataConfig, split: str, rank: int, world_size: int
) -> tuple[ShardDataset, list[Chosen], Counter[str]]:
    dataset = ShardDataset(
        config.dataset, split, index=config.index, rank=rank, world_size=world_size
    )
    chosen, skipped = sort_into_buckets(dataset.samples, config.buckets)
    for reason, count in skipped.items():
        logger.warning("%s, %s: %d clips are not used: %s", config.dataset, split, count, reason)
    if not chosen:
        raise ManifestError(
            f"{config.dataset}: no clip of the split `{split}` can be used "
            f"({dict(skipped) or 'it is empty'}); give data.buckets with fewer frames"
        )
    return dataset, chosen, skipped


def _identity(chosen: Iterable[Chosen]) -> str:
    names = (f"{each.sample.key} {each.bucket}" for each in chosen)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _same(value: Any) -> Any:
    return value
