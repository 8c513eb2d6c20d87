"""Forget failures, so that the next build runs those items again."""

from collections.abc import Collection
from itertools import chain

from avipipe.errors import FailKind
from avipipe.manifests.records import Fail
from avipipe.manifests.uris import path_uri
from avipipe.pipeline.accounting import ItemState, Survey
from avipipe.pipeline.private import Private
from avipipe.pipeline.workspace import Workspace


def forget_failures(
    workspace: Workspace, items: Collection[str], kinds: Collection[FailKind]
) -> list[ItemState]:
    """Forget the failures of `items` (clip ids, source ids or URIs) of the given `kinds`.

    An empty collection means all. Returns the items that run again.

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
    return chosen


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
