"""Checkpoints from which a run goes on exactly as if it had not been stopped.

`checkpoints/step-00000010/` holds the distributed checkpoint (weights that learn, optimiser, moving
average), `state.json` (step, data position, counters, configuration) and `rng-{rank}.pt`.
`checkpoints/latest` names the newest one. A folder has its final name only when it is whole.

`state.json` also holds the sha256 of each other file (`files`), and of the rest of itself
(`sha256`): damage is told before anything is loaded, and nothing is read that is not listed.
"""

import json
import random
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from avipipe.annotators.batching import is_out_of_memory
from avipipe.annotators.reading import few
from avipipe.config_file import difference
from avipipe.editor.avi_edit.train.careful import CarefulPlanner, CarefulReader
from avipipe.editor.avi_edit.train.ema import Ema
from avipipe.editor.avi_edit.train.parallel import World
from avipipe.editor.common.sealed import SEAL, sealed, unsealed
from avipipe.errors import AvipipeError, ConfigError, RunError
from avipipe.files import remove_drafts, sha256_of, sync, write_whole

LATEST = "latest"
STATE = "state.json"
_METADATA = ".metadata"
_NAME = re.compile(r"step-\d{8,}")
_MAX_WORDS = 300
"""Characters of what torch says, which may quote all names."""
_PARTS = frozenset({"config", "progress", "stream"})
_OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: of all of them.
        keep: how many of the newest are kept.
        identity: of the configuration; a checkpoint of another is refused.
        trusted: whether files may be read of which no hash is known. torch runs what is in them.
    """

    def __init__(
        self,
        folder: Path,
        world: World,
        *,
        keep: int,
        identity: Mapping[str, Any],
        trusted: bool = False,
    ) -> None:
        self.folder, self._world, self._keep, self._identity = folder, world, keep, identity
        self._trusted = trusted

    def latest(self) -> Path | None:
        """The newest checkpoint, if there is one.

        Raises:
            ConfigError: it is of another configuration.
            RunError: it is damaged.
        """
        name = self._latest_name()
        if name is None:
            return None
        found = self.folder / name
        stored = self.read_state(found)["config"]
        if changes := difference(stored, self._identity):
            raise ConfigError(
                f"{found} is a checkpoint of another configuration:\n  "
                + "\n  ".join(changes)
                + "\nPut these keys back, or train into another folder."
            )
        return found

    def _latest_name(self) -> str | None:
        """As `latest` says; without it the newest: a folder has its name only when it is whole."""
        marker = self.folder / LATEST
        if not marker.exists():
            names = [each.name for each in self.folder.glob("step-*") if _NAME.fullmatch(each.name)]
            return max(names, default=None)
        try:
            name = marker.read_bytes().decode(errors="replace").strip()
        except OSError as error:
            raise RunError(f"{marker}: cannot be read: {error.strerror}; delete it") from error
        if not _NAME.fullmatch(name):
            raise RunError(
                f"{marker}: expected the name of a checkpoint, such as step-00000010, found "
                f"{name[:80]!r}. Write the name of one of the folders beside it into it"
            )
        return name

    def read_state(self, found: Path) -> dict[str, Any]:
        """What `save` was given as `progress`, and the configuration.

        Raises:
            RunError: it is damaged.
        """
        try:
            state = unsealed((found / STATE).read_bytes())
        except (OSError, ValueError) as error:
            raise self._damaged(found, f"{STATE} cannot be read: {error}") from error
        if not state.keys() >= _PARTS or ("files" in state) != (SEAL in state):
            raise self._damaged(found, f"{STATE} is not what a run wrote")
        return state

    def save(
        self,
        step: int,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        ema: Ema | None,
        progress: Mapping[str, Any],
    ) -> Path:
        """Write a checkpoint; all processes call this together."""
        final = self.folder / f"step-{step:08d}"
        partial = final.with_suffix(".partial")  # one name, as all processes write in it
        if self._world.is_first:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._world.barrier()
        with _alone_is_fine():
            save(_tensors(model, optimiser, ema), checkpoint_id=partial)
        torch.save(rng_state(), partial / f"rng-{self._world.rank}.pt")
        hashes = self._world.gather({path.name: sha256_of(path) for path in self._own(partial)})
        if self._world.is_first:
            files = {name: value for part in hashes for name, value in part.items()}
            state = sealed({**progress, "config": self._identity, "files": files})
            (partial / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
            for path in (*partial.rglob("*"), partial):
                sync(path)
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
            write_whole(self.folder / LATEST, f"{final.name}\n".encode())
            self._prune(final)
        self._world.barrier()
        return final

    def load(
        self, found: Path, model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema | None
    ) -> None:
        """Restore all but the generators of random numbers, which come last: `restore_rng`.

        Raises:
            RunError: a file is missing or has changed, or nothing says what it was.
        """
        self._check(found)
        tensors = _tensors(model, optimiser, ema)
        reader = planner = None
        if not self._trusted:
            reader, planner = CarefulReader(found), CarefulPlanner()
        with self._reading(found), _alone_is_fine():
            load(tensors, checkpoint_id=found, storage_reader=reader, planner=planner)
        set_model_state_dict(model, tensors["model"], options=_OPTIONS)
        set_optimizer_state_dict(model, optimiser, tensors["optimiser"], options=_OPTIONS)

    def restore_rng(self, found: Path) -> None:
        """Restore the generators of this process, if there was one of its rank."""
        path = found / f"rng-{self._world.rank}.pt"
        if path.exists():
            with self._reading(found):
                restore_rng(torch.load(path, weights_only=True))

    def _own(self, folder: Path) -> list[Path]:
        """The files that this process wrote: those of all together are all files."""
        rank = self._world.rank
        own = [*folder.glob(f"__{rank}_*"), folder / f"rng-{rank}.pt"]
        return [*own, folder / _METADATA] if self._world.is_first else own

    def _check(self, found: Path) -> None:
        """Compare all files with their hashes; the processes share the work."""
        files = self.read_state(found).get("files")
        if files is None:
            if self._trusted:
                return
            raise RunError(
                f"{found}: {STATE} holds no hashes of its files, so nothing says that they are as "
                "they were, and torch may run what is in them: it is of an older avipipe, or was "
                "not written by one. If you know where it comes from, add --trust-checkpoint"
            )
        held = [name for name in sorted(files) if not (self._trusted and name == _METADATA)]
        wrong = [
            name
            for name in held[self._world.rank :: self._world.size]
            if not (found / name).is_file() or sha256_of(found / name) != files[name]
        ]
        if names := [name for part in self._world.gather(wrong) for name in part]:
            raise self._damaged(found, f"{few(names)} is missing or has changed")

    @contextmanager
    def _reading(self, found: Path) -> Iterator[None]:
        """Whatever torch raises at what it cannot read is damage; its own is no `Exception`."""
        try:
            yield
        except (CheckpointException, Exception) as error:
            first = _first(error)
            if isinstance(first, AvipipeError) or is_out_of_memory(first):
                raise first from error
            words = f"{type(first).__name__}: {str(first).partition(chr(10))[0][:_MAX_WORDS]}"
            raise self._damaged(found, f"it cannot be loaded: {words}") from error

    def _damaged(self, found: Path, what: str) -> RunError:
        return RunError(
            f"the checkpoint {found} is damaged: {what}. Name an older one in "
            f"{self.folder / LATEST}, or train into another folder."
        )

    def _prune(self, newest: Path) -> None:
        remove_drafts(self.folder)
        partial = set(self.folder.glob("step-*.partial"))
        older = sorted(set(self.folder.glob("step-*")) - partial - {newest})
        for path in (*partial, *older[: max(len(older) - self._keep + 1, 0)]):
            shutil.rmtree(path)


def _first(error: CheckpointException | Exception) -> Exception:
    """What went wrong first, in any process."""
    if not isinstance(error, CheckpointException):
        return error
    cause = next(iter(error.failures.values()))[0]
    return cause if isinstance(cause, Exception) else RuntimeError(str(cause))


def _tensors(model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema | None) -> dict[str, Any]:
    tensors: dict[str, Any] = {
        "model": get_model_state_dict(model, options=_OPTIONS),
        "optimiser": get_optimizer_state_dict(model, optimiser, options=_OPTIONS),
    }
    if ema is not None:
        tensors["ema"] = dict(ema.weights)
    return tensors


@contextmanager
def _alone_is_fine() -> Iterator[None]:
    """One process may write a distributed checkpoint; torch warns of it every time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def rng_state() -> dict[str, Any]:
    """The global generators of Python, NumPy and torch."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, [int(key) for key in keys], *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_rng(state: Mapping[str, Any]) -> None:
    """Set the global generators."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
