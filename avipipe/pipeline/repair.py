"""Finds results whose bytes are not those that a stage wrote, and lets them be made again."""

import logging
from collections.abc import Collection, Iterable

from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import Keep
from avipipe.pipeline.accounting import ItemState
from avipipe.pipeline.graph import Visit
from avipipe.pipeline.store import ContentStore

logger = logging.getLogger(__name__)


def forget_damaged(
    states: Iterable[ItemState], stages: Collection[str], ledger: Ledger, store: ContentStore
) -> set[str]:
    """Read the files of `stages` through, and forget those that are damaged or gone.

    What was made from them is forgotten too: nobody knows whether it was made before the damage.

    Args:
        states: of kept clips.
    Returns:
        the ids of the clips that have to run again.
    """
    damaged = set()
    for state in states:
        faults = _faults(state, stages, store)
        if not faults:
            continue
        damaged.add(state.clip_id)
        doomed = _with_dependents(state.visits, faults)
        for name, fault in faults.items():
            logger.warning(
                "%s: `%s` runs again, and what was made from it: %s", state.clip_id, name, fault
            )
        # The causes last: a build that is killed here must find them again.
        for visit in reversed(doomed):
            ledger.forget(visit.key)
            store.discard(visit.key)
    return damaged


def _faults(state: ItemState, stages: Collection[str], store: ContentStore) -> dict[str, str]:
    """Stage -> what is wrong with its files."""
    faults = {}
    for visit in state.visits:
        record = visit.record
        if visit.stage.name in stages and record is not None and isinstance(record.outcome, Keep):
            if found := "; ".join(store.check(record)):
                faults[visit.stage.name] = found
    return faults


def _with_dependents(visits: Iterable[Visit], damaged: Collection[str]) -> list[Visit]:
    """Visits of damaged stages, and of all that read, at any remove, what those wrote."""
    doomed: dict[str, Visit] = {}
    for visit in visits:
        if visit.stage.name in damaged or doomed.keys() & set(visit.stage.needs):
            doomed[visit.stage.name] = visit
    return list(doomed.values())
