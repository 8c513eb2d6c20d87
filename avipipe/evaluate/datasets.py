"""Takes the clips of a published dataset out of its shards, as sources of edits."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from json import loads
from pathlib import Path

from avipipe.errors import ConfigError, ManifestError
from avipipe.files import write_whole
from avipipe.manifests.dataset import INDEX_NAME, read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.edits import EditPair, read_edits
from avipipe.manifests.insertion import beside
from avipipe.manifests.records import ID_PATTERN
from avipipe.manifests.rle import read_masks, write_masks
from avipipe.manifests.samples import EDITS_MEMBER
from avipipe.manifests.shards import read_shard


@dataclass(frozen=True, slots=True)
class SourceClip:
    """A clip as a source of edits.

    Attributes:
        group: the source that it was cut from.
        licence: of the source; empty where it is not known.
        edits: its edit pairs.
        problem: why they cannot be read, if so.
    """

    video: Path
    mask: Path
    caption: str
    label: str
    group: str
    licence: str
    edits: tuple[EditPair, ...] = ()
    problem: str = ""

    def mask_of(self, kind: str) -> Path:
        """Where an edit of a kind is to change the picture, without degradation.

        What is inserted comes beside the instance.
        """
        if kind != "insert":
            return self.mask
        path = self.mask.with_name(f"{self.video.stem}.beside.masks.json")
        if not path.exists():
            track = read_masks(self.mask)
            write_masks(path, beside(track.frames, track.frames, track.size), size=track.size)
        return path


def is_dataset(folder: Path) -> bool:
    """Whether a folder holds a published dataset."""
    return (folder / INDEX_NAME).is_file()


def unpacked(
    dataset: Path, into: Path, *, names: Collection[str] | None = None, split: str = ""
) -> dict[str, SourceClip]:
    """Write video and exact mask of some clips into a folder.

    Args:
        names: of clips; where there are none, all but those that were retracted.
        split: that they are of; any where it is empty.
    Raises:
        ConfigError: there is no dataset.
        ManifestError: it is damaged.
    """
    destination = Destination(str(dataset))
    index = read_index(destination)
    if index is None:
        raise ConfigError(f"{dataset}: expected a published dataset, found no {INDEX_NAME}")
    into = into.absolute()
    into.mkdir(parents=True, exist_ok=True)
    retracted = frozenset(index.retracted)
    found = {}
    for shard in index.shards:
        if split not in ("", shard.split):
            continue
        with destination.reading(shard.name) as file:
            for key, members in read_shard(file, shard.name):
                if key not in retracted if names is None else key in names:
                    found[key] = _written(key, members, into, f"{shard.name}: {key}")
    return found


def _written(key: str, members: dict[str, bytes], into: Path, where: str) -> SourceClip:
    if ID_PATTERN.fullmatch(key) is None:  # it becomes the name of a file
        raise ManifestError(f"{where}: expected a clip id")
    video, mask = into / f"{key}.mp4", into / f"{key}.masks.json"
    try:
        facts = loads(members["json"])
        clip = SourceClip(
            video=video,
            mask=mask,
            caption=facts["caption"]["text"],
            label=facts["label"],
            group=facts["source"]["source_id"],
            licence=facts["licence"],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(f"{where}.json breaks the data contract: {error!r}") from error
    write_whole(video, members["mp4"])
    write_whole(mask, members["masks.json"])
    if EDITS_MEMBER not in members:
        return clip
    try:
        return replace(clip, edits=read_edits(members[EDITS_MEMBER]))
    except ManifestError as error:
        return replace(clip, problem=f"its edit pairs are damaged: {error}")
