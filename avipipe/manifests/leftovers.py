"""Leftovers of stopped publications: how they are found and removed.

Only names that a publication gives are looked at, only what the index does not list is removed,
and only once it is older than any publication takes: another writer, whose lease was lost on the
way, may still be at it.
"""

import logging
import re
from collections.abc import Iterator

from avipipe.files import PARTIAL
from avipipe.manifests.dataset import DatasetIndex, plain_name
from avipipe.manifests.destination import Destination
from avipipe.manifests.lease import LEASE_NAME
from avipipe.manifests.shards import FOLDER as SHARDS
from avipipe.manifests.shards import is_shard_name
from avipipe.manifests.tables import TABLE_NAMES

logger = logging.getLogger(__name__)

GRACE_S = 24 * 3600.0
"""Age from which a leftover is abandoned: longer than a publication takes (4 TB at 50 MB/s)."""

MANIFESTS = "manifest"
_FOLDERS = (SHARDS, MANIFESTS)

_DRAFT = re.compile(
    rf"([0-9a-f]{{32}}|[\w.-]+\.(tar|parquet|json|yaml|md|html)(\.[0-9a-f]{{12}})?){PARTIAL}"
)


def is_draft(name: str) -> bool:
    """Whether a file was still being written when its writer died, or is just now."""
    return _DRAFT.fullmatch(name.rpartition("/")[2]) is not None


def find_leftovers(destination: Destination, *indexes: DatasetIndex) -> Iterator[tuple[str, bool]]:
    """Yield (name, whether a publication could have made it) of files that no index lists.

    Looks where they would be listed: among the shards and the manifests.
    """
    listed = set(TABLE_NAMES)
    for index in indexes:
        listed |= {shard.name for shard in index.shards} | set(index.manifests)
    for folder in _FOLDERS:
        for name in destination.names(folder):
            if name not in listed:
                yield name, is_draft(name) or is_shard_name(name) or _is_manifest_name(name)


def remove_leftovers(destination: Destination, *indexes: DatasetIndex) -> None:
    """Remove what publications left that were stopped. For the holder of the lease alone.

    Args:
        indexes: that were read, and published, under the lease. What the one before lists stays
            until the next publication, since somebody may be reading by it.
    """
    now_s = destination.store.modified_s(LEASE_NAME)
    if now_s is None:
        return
    before_s = now_s - GRACE_S
    own = [name for name, is_own in find_leftovers(destination, *indexes) if is_own]
    own += [name for name in destination.names("") if is_draft(name)]
    for name in own:
        modified_s = destination.store.modified_s(name)
        if modified_s is not None and modified_s < before_s:
            logger.info("removing %s, which no publication finished", name)
            destination.remove(name)
    for folder in _FOLDERS:
        for name in destination.store.remove_uploads(folder, before_s):
            logger.info("ended the upload of %s, which no publication finished", name)


def _is_manifest_name(name: str) -> bool:
    plain = plain_name(name)
    return name != plain and plain in TABLE_NAMES
