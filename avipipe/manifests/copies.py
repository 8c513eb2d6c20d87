"""`manifest/clips.parquet`, `sources.parquet` and `edits.parquet`: copies under names that stay.

What `dataset.json` lists has its hash in its name and is never written over. Readers that do not
ask the index find the newest manifests under these plain names; nothing here reads them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from avipipe.errors import ManifestError
from avipipe.manifests.dataset import INDEX_NAME, DatasetIndex, FileEntry, hashed_name
from avipipe.manifests.destination import Destination
from avipipe.manifests.stores.base import FileDigest
from avipipe.manifests.tables import TABLE_NAMES


def refuse_lost_index(destination: Destination) -> None:
    """Refuse a dataset whose index is lost: where copies are, there was an index.

    Raises:
        ManifestError: a dataset was published there once.
    """
    for name in TABLE_NAMES:
        if destination.exists(name):
            raise ManifestError(
                f"{destination.url} has {name} and no {INDEX_NAME}: a dataset was published there, "
                f"and its index is lost. Restore {INDEX_NAME} (a bucket with versions has it), or "
                "publish into a new folder"
            )


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a manifest under its plain name.

    Attributes:
        original: its name in the index.
        found: what stands under the plain name; None where nothing does.
        is_old: it is what an earlier index listed: the last publication was stopped before it
            came to the copies.
    """

    name: str
    original: str
    entry: FileEntry
    found: FileDigest | None
    is_old: bool

    @property
    def is_right(self) -> bool:
        return self.found == FileDigest(self.entry.sha256, self.entry.num_bytes)


def copies(destination: Destination, index: DatasetIndex) -> Iterator[Copy]:
    """Compare each copy with the manifest that it should be."""
    known = None
    for name in TABLE_NAMES:
        original = index.manifest(name)
        if original is None or original == name:
            continue
        entry = index.manifests[original]
        copy = Copy(name, original, entry, destination.written(name), is_old=False)
        if copy.found is not None and not copy.is_right:
            known = known or destination.names(name.rpartition("/")[0])
            copy = replace(copy, is_old=hashed_name(name, copy.found.sha256) in known)
        yield copy


def refuse_changed_copies(destination: Destination, index: DatasetIndex) -> None:
    """Refuse to write over a copy that no publication made.

    Raises:
        ManifestError: somebody changed it, and would lose that.
    """
    for copy in copies(destination, index):
        if copy.found is not None and not (copy.is_right or copy.is_old):
            raise ManifestError(
                f"{copy.name}: its sha256 is {copy.found.sha256}, dataset.json says "
                f"{copy.entry.sha256}: it was changed since it was published. `avipipe verify "
                "--repair` puts it back"
            )


def keep_unhashed(destination: Destination, index: DatasetIndex) -> None:
    """Give manifests that were published before names had hashes such a name, too: their plain
    name is about to be a copy of the next ones."""
    for name, entry in index.manifests.items():
        if name in TABLE_NAMES:
            destination.copy(name, hashed_name(name, entry.sha256))


def write_copies(destination: Destination, index: DatasetIndex) -> list[str]:
    """Bring the copies up to date; return those that were not."""
    wrong = [copy for copy in copies(destination, index) if not copy.is_right]
    for copy in wrong:
        destination.copy(copy.original, copy.name)
    return [copy.name for copy in wrong]
