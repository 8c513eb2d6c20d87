"""The workspace of a dataset: where it is published, and where the work for it lies."""

import json
import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from pydantic import ValidationError

from avipipe.config_file import difference
from avipipe.errors import ConfigError, ManifestError, RunError
from avipipe.files import locked, remove_drafts, write_whole
from avipipe.manifests.copies import refuse_lost_index
from avipipe.manifests.dataset import read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.lease import LEASE_NAME, Lease
from avipipe.manifests.ledger import Ledger
from avipipe.manifests.leftovers import is_draft
from avipipe.manifests.records import SourceLine
from avipipe.manifests.sources import listed_together
from avipipe.manifests.stores.failures import BucketMissing
from avipipe.pipeline.accounting import Survey
from avipipe.pipeline.config import BuildConfig
from avipipe.pipeline.graph import Graph, Row
from avipipe.pipeline.needs import missing_weights, stages_ahead
from avipipe.pipeline.own_files import (
    BACKENDS_VERSION,
    read_backends,
    read_document,
    read_lines,
)
from avipipe.pipeline.private import Private
from avipipe.pipeline.store import ContentStore
from avipipe.stages.annotated import AnnotatedStage

logger = logging.getLogger(__name__)

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
        """Find the folders of a dataset.

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
    def store(self) -> ContentStore:
        return ContentStore(self.work)

    @contextmanager
    def survey(self) -> Iterator[tuple[Survey, list[SourceLine]]]:
        """Survey every item, for commands that only look."""
        graph = self.graph()
        with self.open_ledger(read_only=True) as ledger:
            yield Survey(graph, ledger.get, self.store.folder), self.lines()

    def graph(self) -> Graph:
        """Build the graph as the last build here had it, whatever weights are on this machine."""
        graph = Graph(self.require_config())
        if not self.adopt_backends(graph) and (missing := missing_weights(graph.annotated)):
            logger.warning(
                "%s is not there: an earlier version of avipipe built this, and what depends on "
                "weights that are not here shows as pending (%s; see AVIPIPE_WEIGHTS_DIR)",
                self._backends_path,
                ", ".join(missing),
            )
        return graph

    def adopt_backends(self, graph: Graph, *, only_missing: bool = False) -> bool:
        """Use the weights of the last build here in a graph; see `Graph.adopt`.

        Returns:
            whether it is known which they were.
        """
        try:
            used = read_backends(self._backends_path.read_bytes(), self._backends_path)
        except FileNotFoundError:
            return False
        if others := graph.adopt(used, only_missing=only_missing):
            logger.warning(
                "weights here are not those of the last build of %s: %s; `avipipe build` here "
                "makes again what depends on them",
                self.out,
                ", ".join(others),
            )
        return True

    def needed_stages(
        self, graph: Graph, lines: Sequence[SourceLine]
    ) -> tuple[AnnotatedStage, ...]:
        """Stages that a build with these lines, `merged_lines`, may have to run.

        It is only looked into where weights are missing; else all of them may run.
        """
        if not graph.adopted():
            return graph.annotated
        with self.open_ledger(read_only=True) as ledger:
            survey = Survey(graph, ledger.get, self.store.folder)
            counts = survey.counts(lines)
        return stages_ahead(graph, {name: count.items["pending"] for name, count in counts.items()})

    def write_backends(self, graph: Graph) -> None:
        """Remember the weights that a build uses, for commands that only look."""
        stages = {stage.name: stage.identities for stage in graph.annotated}
        text = json.dumps({"version": BACKENDS_VERSION, "stages": stages}, indent=1, sort_keys=True)
        self.ledger_folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._backends_path, f"{text}\n".encode())

    @property
    def _backends_path(self) -> Path:
        return self.ledger_folder / "backends.json"

    def open_ledger(self, *, read_only: bool = False) -> Ledger:
        return Ledger(self.ledger_folder, read_only=read_only)

    def path(self, name: str) -> str:
        """Path or URL of a file of the published dataset."""
        return f"{self.out}/{name}"

    def stored_config(self) -> BuildConfig | None:
        """Configuration that the dataset was begun with; None if it was not begun.

        Raises:
            ManifestError: it is damaged, or another version of avipipe wrote it.
        """
        where = self.path(CONFIG_NAME)
        data = Destination(self.out).read(CONFIG_NAME)
        if data is None:
            return None
        try:
            return BuildConfig.model_validate(read_document(data, where))
        except ValidationError as error:
            raise ManifestError(
                f"{where}: another version of avipipe wrote this, or it was changed: {error}\n"
                "Use that version, restore the file, or use another --out"
            ) from error

    def require_config(self) -> BuildConfig:
        """Read the stored configuration, which must be there.

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

    def look(self, *, create_bucket: bool = False) -> BuildConfig | None:
        """Check whether a dataset may be built here, as far as that can be told. Writes nothing.

        Args:
            create_bucket: a bucket that is missing is no error, as it is to be created.
        Returns:
            the configuration that it was begun with; None where one is yet to be begun.
        Raises:
            ConfigError: the user can mend it (bucket, credentials, region, clock, driver), or other
                people's files are there.
            ManifestError: what is published there is damaged.
            RunError: it cannot be reached.
        """
        destination = Destination(self.out)
        try:
            destination.store.look()
        except BucketMissing:
            if create_bucket:
                return None
            raise
        if read_index(destination) is None:
            refuse_lost_index(destination)
        stored = self.stored_config()
        if stored is None:
            self._refuse_strangers()
        return stored

    def check(self, config: BuildConfig, *, create_bucket: bool = False) -> None:
        """Whether a build with this configuration may work here. Writes nothing; a bucket that is
        to be created is created.

        Raises:
            ConfigError: as `look`, or it holds a dataset with another configuration.
            ManifestError, RunError: as `look`.
        """
        if create_bucket:
            Destination(self.out).store.make_bucket()
        stored = self.look()
        if stored is not None and stored.identity() != config.identity():
            changes = "\n  ".join(difference(stored.identity(), config.identity()))
            raise ConfigError(
                f"{self.out} holds a dataset with another configuration:\n  {changes}\n"
                "Use the same configuration, another --out, or, for keys of "
                "stages.decide, `avipipe refilter --apply`."
            )

    def write_config(self, config: BuildConfig) -> None:
        """Write the configuration, whole or not at all: a killed build must find it again."""
        text = yaml.safe_dump(
            config.model_dump(mode="json"), sort_keys=True, explicit_start=True, explicit_end=True
        )
        destination = Destination(self.out)
        if destination.read(CONFIG_NAME) != text.encode():
            destination.write(CONFIG_NAME, text.encode())

    def has_work(self) -> bool:
        """Whether the work of a build is here; once published, its folder may be deleted."""
        return self._lines_path.exists()

    def lines(self) -> list[SourceLine]:
        """Read every source line that the dataset was ever asked to hold, in order.

        Raises:
            ConfigError: there is none.
            ManifestError: the file is damaged.
        """
        try:
            data = self._lines_path.read_bytes()
        except FileNotFoundError:
            raise ConfigError(
                f"{self.work} holds no build (no {self._lines_path.name}); expected the --out, or "
                "--work, of an earlier `avipipe build`"
            ) from None
        return list(read_lines(data, self._lines_path))

    def merged_lines(self, lines: Iterable[SourceLine], private: Private) -> list[SourceLine]:
        """Merge the dataset's lines and those that are new to it, as they are stored, in order.

        Which ranges of a URL are fetched together is settled when they are first listed: what a
        later list adds is fetched by itself, and nothing that is here already is fetched again.
        `private` takes in the addresses of `lines`, which may have changed since they were stored.
        """
        earlier = self.lines() if self._lines_path.exists() else []
        merged: dict[str, SourceLine] = {}
        for line in map(private.stored, earlier):
            merged.setdefault(line.line_id, replace(line, index=len(merged)))
        new: dict[str, SourceLine] = {}
        for line in map(private.stored, lines):
            if line.line_id not in merged:
                new.setdefault(line.line_id, replace(line, index=len(merged) + len(new)))
        return [*merged.values(), *listed_together(list(new.values()), list(merged.values()))]

    def write_lines(self, lines: Iterable[SourceLine]) -> None:
        """Remember the lines for later commands."""
        text = "".join(Row(line).to_json() + "\n" for line in lines)
        write_whole(self._lines_path, text.encode())

    @property
    def _lines_path(self) -> Path:
        return self.work / "sources.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the work folder for one build at a time; a dead build holds nothing.

        Raises:
            RunError: another build is at work here, or the folder cannot be written.
        """
        lock = self.work / "lock"
        with ExitStack() as held:
            try:
                self.work.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(lock, patience_s=0))
            except BlockingIOError as error:
                raise RunError(
                    f"another build (process {lock.read_text() or 'unknown'}) is at work in "
                    f"{self.work}; wait for it, or use another --out"
                ) from error
            except OSError as error:
                raise RunError(
                    f"cannot write to {self.work}: {error.strerror}; choose another --out or "
                    "--work, or change its permissions"
                ) from error
            lock.write_text(str(os.getpid()))
            remove_drafts(self.work)
            yield

    def lease(self) -> Lease:
        """Make the lease on `out`, for those who hold the work folder."""
        return Lease(Destination(self.out), self._work_id())

    def _work_id(self) -> str:
        """What tells this work folder from all others, copies of it included."""
        path = self.work / "id"
        if not path.exists():
            write_whole(path, uuid.uuid4().hex.encode())
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
