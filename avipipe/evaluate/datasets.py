"""Takes the clips of a published dataset out of its shards, as sources of edits."""

from collections.abc import Collection
from dataclasses import dataclass
from json import loads
from pathlib import Path

from avipipe.errors import ManifestError
from avipipe.files import write_whole
from avipipe.manifests.dataset import INDEX_NAME, read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.shards import read_shard


@dataclass(frozen=True, slots=True)
class SourceClip:
    """A clip as a source of edits.

    Attributes:
        group: the source that it was cut from.
    """

    video: Path
    mask: Path
    caption: str
    label: str
    group: str


def is_dataset(folder: Path) -> bool:
    """Whether a folder holds a published dataset."""
    return (folder / INDEX_NAME).is_file()


def unpacked(dataset: Path, names: Collection[str], into: Path) -> dict[str, SourceClip]:
    """Write video and exact mask of some clips into a folder, whatever split they are of.

    Raises:
        ManifestError: there is no such dataset, or it is damaged.
    """
    destination = Destination(str(dataset))
    index = read_index(destination)
    if index is None:
        raise ManifestError(f"{dataset}: expected a published dataset, found no {INDEX_NAME}")
    into = into.absolute()
    into.mkdir(parents=True, exist_ok=True)
    found = {}
    for shard in index.shards:
        with destination.reading(shard.name) as file:
            for key, members in read_shard(file, shard.name):
                if key in names:
                    found[key] = _written(key, members, into)
    return found


def _written(key: str, members: dict[str, bytes], into: Path) -> SourceClip:
    video, mask = into / f"{key}.mp4", into / f"{key}.masks.json"
    write_whole(video, members["mp4"])
    write_whole(mask, members["masks.json"])
    facts = loads(members["json"])
    return SourceClip(
        video, mask, facts["caption"]["text"], facts["label"], facts["source"]["source_id"]
    )
