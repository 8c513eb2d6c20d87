"""The rows of a paper's table: what each needs, and its edits."""

import gc
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avipipe.errors import AvipipeError, ConfigError, WeightsError
from avipipe.files import write_whole

if TYPE_CHECKING:
    from avipipe.editor.edit.batch import Entry
    from avipipe.editor.edit.config import EditConfig
    from avipipe.editor.edit.job import Job
    from avipipe.evaluate.cases import Case
    from avipipe.evaluate.paper_tables import PaperRow, PaperTable
    from avipipe.evaluate.paper_tables.filled import RowOutcome

_COST_NAME = "cost.json"


@dataclass(frozen=True, slots=True)
class RowSettings:
    """What a user tells of the methods of a table.

    Attributes:
        models: method -> folder or file that its `--model` names.
        configs: method -> YAML file.
        overrides: `key=value` texts, for rows of the paper's own method.
    """

    models: Mapping[str, str]
    configs: Mapping[str, Path]
    overrides: tuple[str, ...]

    def config_of(self, row: "PaperRow", table: "PaperTable") -> "EditConfig":
        """The settings of a row: a user's, and the row's own above them.

        Raises:
            ConfigError: a setting is not the method's.
        """
        from avipipe.editor.edit.methods import load_config

        assert row.method is not None, "rows without a method are not run"
        own = self.overrides if row.method == table.method else ()
        return load_config(
            self.configs.get(row.method),
            [*own, f"method={row.method}", *row.overrides],
            {"--model": self.models.get(row.method)},
        )


def by_method(texts: Sequence[str], own: str, option: str) -> dict[str, str]:
    """What an option says of each method: `VALUE` of the table's own, `METHOD=VALUE` of another.

    Raises:
        ConfigError: a method is told twice.
    """
    from avipipe.editor.edit.methods import METHODS

    found: dict[str, str] = {}
    for text in texts:
        method, _, value = text.partition("=")
        method, value = (method, value) if method in METHODS else (own, text)
        if method in found:
            raise ConfigError(f"{option}: expected one for {method}, got two; leave one out")
        found[method] = value
    return found


def missing_weights(config: "EditConfig") -> str:
    """Which weights of a row are not here, and what to run; empty where all are."""
    from avipipe.editor.edit.methods import find_method
    from avipipe.weights import entry, find

    names = find_method(config.method).pulled(config)
    missing = " ".join(name for name in names if find(entry(name)) is None)
    return f"weights are missing; run `avipipe weights pull {missing}`" if missing else ""


def make_row(
    row: "PaperRow",
    config: "EditConfig",
    entries: "list[Entry]",
    without_job: Mapping[str, str],
    out: Path,
    *,
    as_json: bool,
) -> "RowOutcome":
    """Make the edits of a row in OUT/ROW, as `avipipe edit --batch` does.

    Where its models cannot be loaded, edits that were made elsewhere still count.

    Args:
        without_job: case -> why there is no job for it.
    """
    from avipipe.cli.edit_progress import EditProgress
    from avipipe.editor.edit.batch import run_jobs
    from avipipe.editor.edit.methods import load_method
    from avipipe.editor.edit.run import edit
    from avipipe.evaluate.case_folders import is_batch
    from avipipe.evaluate.paper_tables.filled import RowOutcome, RowState

    folder = out / row.name
    _forget_peak()
    try:
        if missing := missing_weights(config):
            raise WeightsError(missing)
        method = load_method(config)
    except AvipipeError as error:
        state: RowState = "run" if is_batch(folder) else "missing"
        return RowOutcome(row, state, str(error), memory_bytes=_noted_peak(folder))
    with EditProgress(as_json=as_json) as progress:
        progress.said(f"{row.label}: {len(entries)} edits")
        progress.jobs(len(entries))

        def run(job: "Job", place: Path) -> None:
            edit(job, place, method, progress)

        outcomes = run_jobs(entries, folder, run, progress.ended)
        progress.summed_up(outcomes)
    failed = {outcome.name: outcome.error for outcome in outcomes if outcome.error}
    failed |= without_job
    return RowOutcome(row, "run", failed=failed, memory_bytes=_note_peak(folder))


def _forget_peak() -> None:
    """Let go of the models of the row before, and of the most that was held for it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _note_peak(folder: Path) -> int | None:
    """Most bytes that torch held on the GPU, in this run or an earlier one; None without a GPU.

    A run in which all edits were made before holds the models alone.
    """
    import torch

    before = _noted_peak(folder)
    if not torch.cuda.is_available():
        return before
    folder.mkdir(parents=True, exist_ok=True)
    peak_bytes = max(before or 0, torch.cuda.max_memory_allocated())
    write_whole(folder / _COST_NAME, json.dumps({"memory_bytes": peak_bytes}).encode())
    return peak_bytes


def _noted_peak(folder: Path) -> int | None:
    path = folder / _COST_NAME
    return int(json.loads(path.read_bytes())["memory_bytes"]) if path.is_file() else None


def as_measured(case: "Case", outcome: "RowOutcome", table: "PaperTable") -> "Case":
    """A case of a row as its table measures it: its film, its mask, why its edit failed."""
    changes: dict[str, object] = {}
    if table.mask_tells == "stay":
        changes["mask"] = None  # then the edit's own says what was edited, which is all else
    if case.edit is not None and (film := case.edit.with_name(outcome.row.film)).is_file():
        changes["edit"] = film
    if case.name in outcome.failed:
        changes["problem"] = f"its edit failed: {outcome.failed[case.name]}"
    return case.model_copy(update=changes)
