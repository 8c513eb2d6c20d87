"""A split of a dataset that avipipe published, from its shards.

Its clips have captions, labels and masks; what is asked of them is written by whoever asks.
"""

import json
from pathlib import Path

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark
from avipipe.evaluate.cases import AskedEdit
from avipipe.files import write_whole
from avipipe.manifests.dataset import read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.records import ID_PATTERN
from avipipe.manifests.shards import read_shard


def load_dataset(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """The clips of a split, but for those that were retracted.

    Clips of one source are one group. `avipipe verify` checks the shards.
    """
    destination = Destination(str(folder))
    index = read_index(destination)
    if index is None:
        raise ConfigError(f"{folder}: expected a published dataset, found no dataset.json")
    entries = [entry for entry in index.shards if entry.split == split]
    if not entries:
        raise ConfigError(
            f"{folder}: no split {split!r}; choose one of {', '.join(index.splits) or 'none'}"
        )
    asked, licences, missing = list[AskedEdit](), set[str](), list[Path]()
    retracted = frozenset(index.retracted)
    files.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        if not destination.exists(entry.name):
            missing.append(folder / entry.name)
            continue
        with destination.reading(entry.name) as file:
            for key, members in read_shard(file, entry.name):
                if key not in retracted:
                    found, licence = _asked(key, members, files, f"{entry.name}: {key}")
                    asked.append(found)
                    licences.add(licence or "unknown")
    return LoadedBenchmark(asked, missing, frozenset(licences))


def _asked(key: str, members: dict[str, bytes], files: Path, where: str) -> tuple[AskedEdit, str]:
    """One clip, whose video and masks are written, and its licence."""
    if ID_PATTERN.fullmatch(key) is None:  # it becomes the name of a file
        raise ManifestError(f"{where}: expected a clip id")
    try:
        facts = json.loads(members["json"])
        asked = AskedEdit(
            name=key,
            source=files / f"{key}.mp4",
            mask=files / f"{key}.masks.json",
            source_prompt=facts["caption"]["text"],
            label=facts["label"],
            group=facts["source"]["source_id"],
        )
        licence = str(facts["licence"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(f"{where}.json breaks the data contract: {error}") from error
    for member in ("mp4", "masks.json"):
        write_whole(files / f"{key}.{member}", members[member])
    return asked, licence
