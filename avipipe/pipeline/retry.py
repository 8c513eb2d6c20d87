"""Forget failures, so that the next build runs those items again."""

from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path

from avipipe.errors import FailKind, ItemError
from avipipe.manifests.records import Fail
from avipipe.manifests.uris import is_url, path_uri
from avipipe.media.host_gate import forget_host, gate_folders, host_of
from avipipe.pipeline.accounting import ItemState, Survey
from avipipe.pipeline.private import Private
from avipipe.pipeline.workspace import Workspace


def forget_failures(
    workspace: Workspace, items: Collection[str], kinds: Collection[FailKind]
) -> list[ItemState]:
    """Forget the failures of `items` (clip ids, source ids or URIs) of the given `kinds`.

    An empty collection means all. What the hosts of downloads that run again asked for, such as
    to be left alone for an hour, is forgotten as well. Returns the items that run again.

    Raises:
        RunError: a build is at work on the dataset.
        ConfigError: there is no dataset.
    """
    graph = workspace.graph()
    with workspace.locked(), workspace.open_ledger() as ledger:
        lines = workspace.lines()
        survey = Survey(graph, ledger.get, workspace.store.folder)
        states = chain(survey.sources(lines), survey.clips(lines))
        private = Private(workspace.work)
        named = {*items, *map(private.stored_uri, items), *map(path_uri, items)}
        chosen = [state for state in states if _is_chosen(state, named, kinds)]
        for state in chosen:
            ledger.forget(state.last.key)
            workspace.store.discard(state.last.key)
    urls = {state.row.source.uri for state in chosen if state.last.stage.name == "fetch"}
    _forget_hosts(filter(is_url, urls), graph.config.stages.fetch.state_dir)
    return chosen


def _forget_hosts(urls: Iterable[str], state_dir: Path | None) -> None:
    for url in urls:
        try:
            host = host_of(url)
        except ItemError:
            continue  # it was never asked
        for folder in gate_folders(state_dir):
            forget_host(folder, host)


def _is_chosen(state: ItemState, items: Collection[str], kinds: Collection[FailKind]) -> bool:
    record = state.last.record
    if record is None or not isinstance(record.outcome, Fail):
        return False
    names = {state.clip_id, state.source_id, state.row.source.uri, state.row.source.line_id}
    if items and not names & set(items):
        return False
    # A clip whose source failed shows its source's failure: the source itself is in the list.
    if state.clip_id and state.last.stage.level == "source":
        return False
    return not kinds or record.outcome.kind in kinds
