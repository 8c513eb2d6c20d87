"""Checkpoints from which a run goes on exactly as if it had not been stopped.

`checkpoints/step-00000010/` holds the distributed checkpoint (weights that learn, optimiser, moving
average), `state.json` (step, data position, counters, configuration) and `rng-{rank}.pt`.
`checkpoints/latest` names the newest one. A folder has its final name only when it is whole.
"""

import json
import os
import random
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from avipipe.config_file import difference
from avipipe.editor.train.ema import Ema
from avipipe.editor.train.parallel import World
from avipipe.errors import ConfigError, RunError

LATEST = "latest"
STATE = "state.json"
_OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: of all of them.
        keep: how many of the newest are kept.
        identity: of the configuration; a checkpoint of another is refused.
    """

    def __init__(
        self, folder: Path, world: World, *, keep: int, identity: Mapping[str, Any]
    ) -> None:
        self.folder, self._world, self._keep, self._identity = folder, world, keep, identity

    def latest(self) -> Path | None:
        """The newest checkpoint, if there is one.

        Raises:
            ConfigError: it is of another configuration.
            RunError: it cannot be read.
        """
        marker = self.folder / LATEST
        if not marker.exists():
            return None
        found = self.folder / marker.read_text(encoding="utf-8").strip()
        stored = self.read_state(found)["config"]
        if changes := difference(stored, self._identity):
            raise ConfigError(
                f"{found} is a checkpoint of another configuration:\n  "
                + "\n  ".join(changes)
                + "\nPut these keys back, or train into another folder."
            )
        return found

    def read_state(self, found: Path) -> dict[str, Any]:
        """What `save` was given as `progress`, and the configuration.

        Raises:
            RunError: it cannot be read.
        """
        try:
            state: dict[str, Any] = json.loads((found / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{found / STATE}: cannot be read: {error}. Name an older checkpoint in "
                f"{self.folder / LATEST}, or train into another folder."
            ) from error
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
        partial = final.with_suffix(".partial")
        if self._world.is_first:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._world.barrier()
        with _alone_is_fine():
            save(_tensors(model, optimiser, ema), checkpoint_id=partial)
        torch.save(rng_state(), partial / f"rng-{self._world.rank}.pt")
        self._world.barrier()
        if self._world.is_first:
            state = {**progress, "config": self._identity}
            (partial / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
            _sync(partial)
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
            self._name_latest(final)
            self._prune(final)
        self._world.barrier()
        return final

    def load(
        self, found: Path, model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema | None
    ) -> None:
        """Restore all but the generators of random numbers, which come last: `restore_rng`."""
        tensors = _tensors(model, optimiser, ema)
        with _alone_is_fine():
            load(tensors, checkpoint_id=found)
        set_model_state_dict(model, tensors["model"], options=_OPTIONS)
        set_optimizer_state_dict(model, optimiser, tensors["optimiser"], options=_OPTIONS)

    def restore_rng(self, found: Path) -> None:
        """Restore the generators of this process, if there was one of its rank."""
        path = found / f"rng-{self._world.rank}.pt"
        if path.exists():
            restore_rng(torch.load(path, weights_only=True))

    def _name_latest(self, final: Path) -> None:
        partial = self.folder / f"{LATEST}.partial"
        partial.write_text(f"{final.name}\n", encoding="utf-8")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self.folder / LATEST)

    def _prune(self, newest: Path) -> None:
        partial = set(self.folder.glob("step-*.partial"))
        older = sorted(set(self.folder.glob("step-*")) - partial - {newest})
        for path in (*partial, *older[: max(len(older) - self._keep + 1, 0)]):
            shutil.rmtree(path)


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


def _sync(folder: Path) -> None:
    """Have the disk hold all files of a folder before it gets its name."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
