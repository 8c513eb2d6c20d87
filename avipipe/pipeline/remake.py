"""Makes damaged and missing files of a dataset again, byte for byte, from what is still there."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack

from avipipe.errors import AvipipeError, ManifestError
from avipipe.manifests.copies import write_copies
from avipipe.manifests.dataset import DatasetIndex, plain_name
from avipipe.manifests.destination import Destination
from avipipe.manifests.lease import Lease
from avipipe.manifests.samples import sample_members
from avipipe.manifests.shards import Member, ShardEntry, drafted_shard
from avipipe.manifests.stores.base import FileDigest
from avipipe.manifests.tables import CLIPS_NAME, EDITS_NAME, PublishedTables
from avipipe.pipeline.publication import Clips
from avipipe.pipeline.verify import check_file, require_index
from avipipe.pipeline.workspace import Workspace

Samples = Iterator[tuple[str, dict[str, Member], float]]


def remake(workspace: Workspace) -> Iterator[str]:
    """Make files again that are not as `dataset.json` lists them; yield a sentence on each.

    A file is only written if its bytes are the listed ones. Takes the lease of the dataset.

    Raises:
        ManifestError: nothing is published there, or its index is damaged.
        RunError: a build is at work there, or the store cannot be reached.
    """
    destination = Destination(workspace.out)
    index = require_index(destination)
    with ExitStack() as stack:
        lease = Lease(destination)
        if workspace.work.is_dir():
            stack.enter_context(workspace.locked())
            lease = workspace.lease()
        stack.enter_context(lease)
        yield from _remake_manifests(destination, index)
        yield from _remake_shards(workspace, destination, index)
        yield from (f"{name}: copied again" for name in _copied(destination, index))


def _remake_manifests(destination: Destination, index: DatasetIndex) -> Iterator[str]:
    """A manifest and its copy make up for each other."""
    for name, entry in index.manifests.items():
        if not check_file(destination, name, entry):
            continue
        copy = plain_name(name)
        if destination.written(copy) == FileDigest(entry.sha256, entry.num_bytes):
            destination.copy(copy, name)
            yield f"{name}: made again from {copy}"
        else:
            yield f"{name}: cannot be made again: {copy} is not what it was either"


def _remake_shards(
    workspace: Workspace, destination: Destination, index: DatasetIndex
) -> Iterator[str]:
    wrong = [shard for shard in index.shards if check_file(destination, shard.name, shard)]
    if not wrong:
        return
    try:
        names, edited = _names(destination, index, wrong)
        with workspace.survey() as (survey, lines):
            clips = Clips(survey, lines)
            for shard in wrong:
                yield _remake_shard(destination, shard, names[shard.name], edited, clips)
    except AvipipeError as error:
        yield f"{', '.join(shard.name for shard in wrong)}: cannot be made again: {error}"


def _names(
    destination: Destination, index: DatasetIndex, shards: Sequence[ShardEntry]
) -> tuple[dict[str, list[str]], set[str]]:
    """Shard -> ids of its clips, in order; and the ids of all clips that come with edits."""
    names: dict[str, list[str]] = {shard.name: [] for shard in shards}
    with PublishedTables(destination, index) as tables:
        for row in tables.rows(CLIPS_NAME, ["clip_id", "shard"]):
            if row["shard"] in names:
                names[row["shard"]].append(row["clip_id"])
        edited = {row["clip_id"] for row in tables.rows(EDITS_NAME, ["clip_id"])}
    return names, edited


def _remake_shard(
    destination: Destination,
    shard: ShardEntry,
    names: Sequence[str],
    edited: Collection[str],
    clips: Clips,
) -> str:
    try:
        with drafted_shard(destination, _samples(shard, names, edited, clips)) as draft:
            if draft.written.sha256 != shard.sha256:
                return (
                    f"{shard.name}: cannot be made again: what work/ holds gives other bytes; "
                    "settings or clips have changed since"
                )
            destination.place(draft, shard.name)
    except ManifestError as error:
        return f"{shard.name}: cannot be made again: {error}"
    return f"{shard.name}: made again from work/"


def _samples(
    shard: ShardEntry, names: Sequence[str], edited: Collection[str], clips: Clips
) -> Samples:
    for name in names:
        record = clips.kept(name)
        if record is None or not all(path.is_file() for path in record.files.values()):
            raise ManifestError(f"work/ does not hold {name} any more")
        members = sample_members(record, shard.split, has_edits=name in edited)
        yield name, members, record.evidence["cut"]["duration_s"]


def _copied(destination: Destination, index: DatasetIndex) -> list[str]:
    """The copies that were written again; none while what they are copies of is damaged."""
    if any(check_file(destination, name, entry) for name, entry in index.manifests.items()):
        return []
    return write_copies(destination, index)
