"""Features that are computed once and kept: `cache.json` names their encoders, beside the files.

The name of a feature says all that it depends on but its encoder: of video and sound the clip,
checksums of its members, the bucket, the seed and the number of the take; of a text its hash.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from avipipe.editor.avi_edit.data.buckets import sort_into_buckets
from avipipe.editor.avi_edit.data.clip import Clip, read_clip, take_number
from avipipe.editor.avi_edit.data.config import DataConfig
from avipipe.editor.avi_edit.data.encoders import Encoders
from avipipe.editor.avi_edit.data.store import TensorStore, TensorWriter
from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.editor.common.codec import Latents
from avipipe.editor.common.sealed import sealed, unsealed
from avipipe.editor.common.shards import Sample, ShardDataset, write_file
from avipipe.editor.common.text import clean
from avipipe.errors import AvipipeError, ConfigError, ManifestError
from avipipe.manifests.rle import canonical_json

FILE_BYTES = 256 << 20
"""A file is written when it would be as large; a crash costs what is not written yet."""

_ABOUT = "cache.json"
_VERSION = 2


@dataclass(frozen=True, slots=True)
class CacheReport:
    """What a run of `cache_dataset` did in this process.

    Attributes:
        num_parts: parts of clips that it had to see to.
        num_new: those of them that were missing.
        num_bytes: written.
        skipped: clips that go into no bucket, by reason.
    """

    num_parts: int
    num_new: int
    num_bytes: int
    skipped: Counter[str]


class FeatureCache:
    """Features that `cache_dataset` wrote.

    Raises:
        ConfigError: there are none.
        ManifestError: one of the files is damaged.
    """

    needs_media: ClassVar[bool] = False
    num_bytes: ClassVar[int] = 0

    def __init__(self, folder: Path, config: DataConfig) -> None:
        self.folder, self._config = folder, config
        about = _about(folder)
        if about is None:
            raise ConfigError(
                f"data.cache: expected features in {folder}, found no {_ABOUT}; run `avipipe train "
                "cache`, or leave data.cache out"
            )
        self.audio_shape = about.audio_shape
        self._store = TensorStore(folder)
        self._names = self._store.names

    def latents_of(self, clip: Clip) -> Latents:
        """Latents of a clip's pictures; without the variance if nothing asks for it."""
        mean_name, logvar_name, _ = part_names(clip.sample, clip.bucket, clip.turn, self._config)
        mean = self._read(mean_name, clip)
        return Latents(
            mean, None if self._config.latents == "mode" else self._read(logvar_name, clip)
        )

    def states_of(self, clip: Clip) -> Tensor:
        """Hidden states of a clip's sound."""
        return self._read(part_names(clip.sample, clip.bucket, clip.turn, self._config)[2], clip)

    def text_of(self, text: str) -> Tensor:
        """Hidden states of a caption."""
        return self._read(text_name(text))

    def _read(self, name: str, clip: Clip | None = None) -> Tensor:
        if name not in self._names:
            raise ConfigError(
                f"data.cache: {self.folder} lacks {name}; run `avipipe train cache` with the "
                "dataset, buckets, seed, takes and deletion_text of this run"
            )
        tensor, stamp = self._store.read(name)
        if clip is not None and stamp != _stamp(clip):
            raise ManifestError(
                f"{self.folder}: {name} is of {stamp}, expected {_stamp(clip)}; delete the folder, "
                "and run `avipipe train cache` again"
            )
        return tensor


def cache_dataset(
    config: DataConfig,
    encoders: Encoders,
    folder: Path,
    *,
    splits: Sequence[str] = ("train",),
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CacheReport:
    """Compute the features of all takes of all clips that are not there yet.

    Processes share the work; they may be stopped at any time, and run again, in any number.

    Args:
        progress: called with the parts that are done, and all that this process has to do.
    Raises:
        ConfigError: no number of takes, or the folder holds features of other encoders.
        ManifestError: a shard or a file of the folder is damaged.
    """
    if config.takes is None:
        raise ConfigError("data.takes: expected how many parts of each clip to cache, found none")
    _begin(folder, encoders)
    present = TensorStore(folder).names
    writer = TensorWriter(folder)
    for text in ("", config.deletion_text):
        if text_name(text) not in present:
            writer.add({text_name(text): encoders.text_of(text)})
    parts, skipped = _parts_of(config, splits, rank, world_size)
    mine = parts[rank::world_size]
    todo = [part for part in mine if not present.issuperset(part.names(config))]
    reader = DataLoader(
        _Reader(todo, config), batch_size=None, num_workers=config.workers, collate_fn=_same
    )
    first = len(mine) - len(todo)
    progress(first, len(mine))
    for done, clip in enumerate(reader, start=first + 1):
        if isinstance(clip, AvipipeError):
            raise clip
        _add(writer, clip, encoders, config)
        if writer.num_bytes >= FILE_BYTES:
            writer.flush()
        progress(done, len(mine))
    writer.flush()
    return CacheReport(len(mine), len(todo), writer.num_bytes_written, skipped)


def part_names(
    sample: Sample, bucket: Bucket, turn: int, config: DataConfig
) -> tuple[str, str, str]:
    """File names of the mean and log-variance of latents, and of the hidden states of sound."""
    take = take_number(config, turn)
    size = f"{bucket.num_frames}x{bucket.height_px}x{bucket.width_px}"
    masks, video, audio = (
        f"{sample.places[member].crc32:08x}" for member in ("masks.json", "mp4", "flac")
    )
    part = f"{size}/{config.seed}-{take}/{masks}"
    return (
        f"{sample.key}/{part}/{video}/mean",
        f"{sample.key}/{part}/{video}/logvar",
        f"{sample.key}/{part}/{audio}/states",
    )


def text_name(text: str) -> str:
    """File name of the hidden states of a text."""
    return f"text/{hashlib.sha256(clean(text).encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Part:
    """A take of a clip."""

    dataset: ShardDataset
    sample: Sample
    bucket: Bucket
    take: int

    def names(self, config: DataConfig) -> tuple[str, ...]:
        return part_names(self.sample, self.bucket, self.take, config)


class _Reader(Dataset[Clip | AvipipeError]):
    """Reads parts as edits, which have the captions of their clips."""

    def __init__(self, parts: Sequence[_Part], config: DataConfig) -> None:
        self._parts = parts
        self._config = config.model_copy(update={"insertion": 0.0, "deletion": 0.0})

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Clip | AvipipeError:
        part = self._parts[index]
        try:
            return read_clip(
                part.dataset, part.sample, part.bucket, part.take, self._config, media=True
            )
        except AvipipeError as error:
            return error


def _parts_of(
    config: DataConfig, splits: Sequence[str], rank: int, world_size: int
) -> tuple[list[_Part], Counter[str]]:
    assert config.takes is not None
    parts, skipped = list[_Part](), Counter[str]()
    for split in splits:
        dataset = ShardDataset(
            config.dataset, split, index=config.index, rank=rank, world_size=world_size
        )
        chosen, left_out = sort_into_buckets(dataset.samples, config.buckets)
        skipped += left_out
        parts += [_Part(dataset, *each, take) for each in chosen for take in range(config.takes)]
    return parts, skipped


def _add(writer: TensorWriter, clip: Clip, encoders: Encoders, config: DataConfig) -> None:
    latents, states = encoders.latents_of(clip), encoders.states_of(clip)
    assert latents.logvar is not None
    names = part_names(clip.sample, clip.bucket, clip.turn, config)
    tensors = dict(zip(names, (latents.mean, latents.logvar, states), strict=True))
    writer.add(tensors, _stamp(clip))
    # With each part, so that whatever file is lost, all of its parts are made anew.
    writer.add({text_name(clip.text): encoders.text_of(clip.text)})


def _stamp(clip: Clip) -> dict[str, Any]:
    """Frames and pixels that features are of, as JSON reads them."""
    stamp: dict[str, Any] = json.loads(canonical_json(asdict(clip.take)))
    return stamp


class _About(BaseModel):
    """What all features of a folder are of; sealed from version 2 on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1, 2]
    encoders: dict[str, str]
    audio_shape: tuple[int, int]
    sha256: str = ""

    @model_validator(mode="after")
    def _check_seal(self) -> Self:
        if self.version > 1 and not self.sha256:
            raise ValueError("expected the hash of the file in it, found none")
        return self


def _about(folder: Path) -> _About | None:
    try:
        return _About.model_validate(unsealed((folder / _ABOUT).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        told = "other keys or values" if isinstance(error, ValidationError) else error
        raise ManifestError(
            f"{folder / _ABOUT}: expected what `avipipe train cache` wrote, found {told}; delete "
            "the folder, and run it again"
        ) from error


def _begin(folder: Path, encoders: Encoders) -> None:
    about = {
        "version": _VERSION,
        "encoders": {
            "video": encoders.video.identity,
            "text": encoders.text.identity,
            "audio": encoders.audio.identity,
        },
        "audio_shape": list(encoders.audio_shape),
    }
    found = _about(folder)
    if found is None:
        write_file(folder / _ABOUT, canonical_json(sealed(about)))
    elif (found.encoders, found.audio_shape) != (about["encoders"], encoders.audio_shape):
        raise ConfigError(
            f"{folder} holds features of other encoders ({found.encoders}, now "
            f"{about['encoders']}); choose another folder, or delete it"
        )


def _same(value: Any) -> Any:
    return value
