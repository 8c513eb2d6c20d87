"""The folders of one dataset: where it is published, and where the work for it lies."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import yaml
from pydantic import ValidationError

from avipipe.config_file import difference
from avipipe.errors import ConfigError, RunError
from avipipe.manifests.destination import PARTIAL, Destination
from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import SourceLine
from avipipe.manifests.sources import listed_together
from avipipe.pipeline.accounting import Survey
from avipipe.pipeline.config import BuildConfig
from avipipe.pipeline.graph import Graph, Row
from avipipe.pipeline.store import Store

CONFIG_NAME = "config.yaml"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A dataset directory and its work folder.

    Attributes:
        out: local path or fsspec URL (`s3://…`) that the dataset is published to.
        work: local (on a cluster: shared) folder with ledger, store and caches.
    """

    out: str
    work: Path

    @classmethod
    def at(cls, out: str, work: Path | None = None) -> "Workspace":
        """Find the folders.

        Raises:
            ConfigError: `out` is remote and no work folder is given.
        """
        if "://" in out and not out.startswith("file://"):
            if work is None:
                raise ConfigError(
                    f"--out {out} is not a local folder, so --work must name one for the ledger "
                    "and the intermediate results (on a cluster: one that all nodes share)"
                )
            return cls(out.rstrip("/"), work.absolute())
        local = Path(out.removeprefix("file://")).absolute()
        return cls(str(local), (work or local / "work").absolute())

    @property
    def ledger_folder(self) -> Path:
        return self.work / "ledger"

    @property
    def store(self) -> Store:
        return Store(self.work)

    @contextmanager
    def survey(self) -> Iterator[tuple[Survey, list[SourceLine]]]:
        """What is known of every item, for commands that only look."""
        graph = Graph(self.require_config())
        with self.open_ledger(read_only=True) as ledger:
            yield Survey(graph, ledger.get, self.store.folder), self.lines()

    def open_ledger(self, *, read_only: bool = False) -> Ledger:
        return Ledger(self.ledger_folder, read_only=read_only)

    def path(self, name: str) -> str:
        """Where a file of the published dataset stands."""
        return f"{self.out}/{name}"

    def stored_config(self) -> BuildConfig | None:
        """The configuration that the dataset was begun with, if it was."""
        try:
            with fsspec.open(self.path(CONFIG_NAME), "r", encoding="utf-8") as file:
                return BuildConfig.model_validate(yaml.safe_load(file))
        except FileNotFoundError:
            return None
        except (yaml.YAMLError, ValidationError) as error:
            raise ConfigError(
                f"{self.path(CONFIG_NAME)} is not what a build of this version of avipipe writes: "
                f"{error}\nRestore it, or use another --out"
            ) from error

    def require_config(self) -> BuildConfig:
        """The stored configuration.

        Raises:
            ConfigError: there is no dataset here.
        """
        config = self.stored_config()
        if config is None:
            raise ConfigError(
                f"{self.out} holds no dataset (no {CONFIG_NAME}); expected the --out folder of "
                "an earlier `avipipe build`"
            )
        return config

    def check(self, config: BuildConfig) -> None:
        """Whether a build with this configuration may work here. Writes nothing.

        Raises:
            ConfigError: it holds a dataset with another configuration, or other people's files.
        """
        stored = self.stored_config()
        if stored is None:
            self._refuse_strangers()
        elif stored.identity() != config.identity():
            changes = "\n  ".join(difference(stored.identity(), config.identity()))
            raise ConfigError(
                f"{self.out} holds a dataset with another configuration:\n  {changes}\n"
                "Use the same configuration, another --out, or, for thresholds of "
                "stages.decide, `avipipe refilter --apply`."
            )

    def write_config(self, config: BuildConfig) -> None:
        """Write the configuration, whole or not at all: a killed build must find it again."""
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=True)
        try:
            Destination(self.out).write(CONFIG_NAME, text.encode())
        except OSError as error:
            raise RunError(
                f"cannot write to {self.out}: {error.strerror or error}; choose another --out "
                "or change its permissions"
            ) from error

    def lines(self) -> list[SourceLine]:
        """Every source line that the dataset was ever asked to hold, in order.

        Raises:
            ConfigError: there is none.
        """
        try:
            text = self._lines_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(
                f"{self.work} holds no build (no {self._lines_path.name}); expected the --out, or "
                "--work, of an earlier `avipipe build`"
            ) from None
        return [Row.from_json(line).source for line in text.splitlines()]

    def merged_lines(self, lines: Iterable[SourceLine]) -> list[SourceLine]:
        """The dataset's lines and those that are new to it, numbered in order.

        Which ranges of a URL are fetched together is settled when they are first listed: what a
        later list adds is fetched by itself, and nothing that is here already is fetched again.
        """
        merged = self.lines() if self._lines_path.exists() else []
        seen = {line.line_id for line in merged}
        new: list[SourceLine] = []
        for line in lines:
            if line.line_id not in seen:
                seen.add(line.line_id)
                new.append(replace(line, index=len(merged) + len(new)))
        return merged + listed_together(new, whole={line.uri for line in merged if not line.ranges})

    def write_lines(self, lines: Iterable[SourceLine]) -> None:
        """Remember the lines for later commands."""
        draft = self._lines_path.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(Row(line).to_json() + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._lines_path)

    @property
    def _lines_path(self) -> Path:
        return self.work / "sources.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the work folder for one build at a time; a dead build holds nothing.

        Raises:
            RunError: another build is at work here, or the folder cannot be written.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            file = (self.work / "lock").open("a+")
        except OSError as error:
            raise RunError(
                f"cannot write to {self.work}: {error.strerror}; choose another --out or --work, "
                "or change its permissions"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise RunError(
                    f"another build (process {file.read().strip() or 'unknown'}) is at work in "
                    f"{self.work}; wait for it, or use another --out"
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _refuse_strangers(self) -> None:
        fs, path = fsspec.core.url_to_fs(self.out)
        if fs.exists(path) and not fs.isdir(path):
            raise ConfigError(f"--out {self.out} is a file; expected a folder, new or empty")
        names = {Path(name).name for name in (fs.ls(path, detail=False) if fs.exists(path) else [])}
        # A build that was killed in its first moments leaves no more than a part of its own file.
        strangers = sorted(names - {"work", CONFIG_NAME + PARTIAL})
        if strangers:
            raise ConfigError(
                f"--out {self.out} is not empty and holds no avipipe dataset (found "
                f"{', '.join(strangers[:3])}); choose a new or empty folder"
            )
