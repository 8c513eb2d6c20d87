"""The folders of one dataset: where it is published, and where the work for it lies."""

import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from pydantic import ValidationError

from avipipe.config_file import difference
from avipipe.errors import ConfigError, RunError
from avipipe.manifests.copies import refuse_lost_index
from avipipe.manifests.dataset import read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.lease import LEASE_NAME, Lease
from avipipe.manifests.ledger import Ledger
from avipipe.manifests.leftovers import is_draft
from avipipe.manifests.records import SourceLine
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
        data = Destination(self.out).read(CONFIG_NAME)
        if data is None:
            return None
        try:
            return BuildConfig.model_validate(yaml.safe_load(data))
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

    def look(self, *, create_bucket: bool = False) -> None:
        """Whether `out` can be reached and read, as far as that can be told. Writes nothing.

        Raises:
            ConfigError: the user can mend it: bucket, credentials, region, clock, driver.
            RunError: it cannot be reached.
        """
        Destination(self.out).store.look(create_bucket=create_bucket)

    def check(self, config: BuildConfig, *, create_bucket: bool = False) -> None:
        """Whether a build with this configuration may work here. Writes nothing; a bucket that is
        to be created is created.

        Raises:
            ConfigError: it holds a dataset with another configuration, or other people's files.
            ManifestError: what is published there is damaged.
        """
        self.look(create_bucket=create_bucket)
        destination = Destination(self.out)
        if create_bucket:
            destination.store.make_bucket()
        if read_index(destination) is None:
            refuse_lost_index(destination)
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
        destination = Destination(self.out)
        if destination.read(CONFIG_NAME) != text.encode():
            destination.write(CONFIG_NAME, text.encode())

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
        """The dataset's lines and those that are new to it, numbered in order."""
        merged = self.lines() if self._lines_path.exists() else []
        seen = {line.line_id for line in merged}
        for line in lines:
            if line.line_id not in seen:
                seen.add(line.line_id)
                merged.append(replace(line, index=len(merged)))
        return merged

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

    def lease(self) -> Lease:
        """The right to write `out`. For those who hold the work folder."""
        return Lease(Destination(self.out), self._work_id())

    def _work_id(self) -> str:
        """What tells this work folder from all others, copies of it included."""
        path = self.work / "id"
        if not path.exists():
            path.write_text(uuid.uuid4().hex)
        return f"{path.read_text()}-{path.stat().st_ino}"

    def _refuse_strangers(self) -> None:
        if Path(self.out).is_file():
            raise ConfigError(f"--out {self.out} is a file; expected a folder, new or empty")
        # A build that was killed in its first moments leaves no more than these.
        own = {"work", LEASE_NAME, f"{LEASE_NAME}.lock"}
        names = Destination(self.out).names("")
        strangers = sorted(name for name in names if name not in own and not is_draft(name))
        if strangers:
            raise ConfigError(
                f"--out {self.out} is not empty and holds no avipipe dataset (found "
                f"{', '.join(strangers[:3])}); choose a new or empty folder"
            )
