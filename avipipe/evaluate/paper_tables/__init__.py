"""Tables of papers as data: who is compared, on what, by which metrics, and what was published.

A table is a YAML file in this folder. It says which settings of `avipipe edit` make the edits of a
row, and which metric by name stands for a column; whoever runs it makes the edits and measures.
Numbers are None where a paper has a dash, or where no text of it that was read tells them.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from avipipe.errors import ConfigError
from avipipe.evaluate.catalogue import LISTED
from avipipe.evaluate.metric import Sense

TABLES = (
    "avi-edit-main",
    "avi-edit-ablation",
    "aved-main",
    "aved-ablation",
    "audioscenic-main",
    "audioscenic-ablation",
    "flowanchor-main",
    "flowanchor-cost",
    "flowanchor-masks",
    "flowanchor-ablation",
)
"""Names of the tables, of papers in the order of methods."""

Setting = bool | int | float | str | None
MaskKind = Literal["given", "degraded", "box"]
"""The case's mask as it is; coarsened, to a level that is drawn for each case; its bounding box."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PaperBenchmark(_Part):
    """What a paper edits.

    Attributes:
        loader: the benchmark of `avipipe eval cases` that its folder is read as.
        words: what it is, and how to come by it.
    """

    loader: str
    words: str = Field(min_length=1)


class PaperColumn(_Part):
    """A metric of a paper, and what stands for it here.

    Exactly one of `metric`, `cost` and `unmeasured` is given.

    Attributes:
        label: as in the paper's head.
        metric: name with protocol, which the catalogue may lack as yet.
        cost: what an edit takes, in seconds, or GiB of the device at most.
        unmeasured: why it cannot be measured.
        protocol: whether the paper tells its own; ours `differs` in what `note` says.
        scale: what our number is multiplied with to be in the paper's unit.
        places: of a number behind the point.
    """

    label: str
    sense: Sense
    metric: str | None = None
    cost: Literal["time_s", "memory_gib"] | None = None
    unmeasured: str = ""
    protocol: Literal["differs", "unknown"]
    note: str = ""
    scale: float = 1.0
    places: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(map(bool, (self.metric, self.cost, self.unmeasured))) != 1:
            raise ValueError(f"{self.label}: expected one of metric, cost and unmeasured")
        return self

    @property
    def lack(self) -> str:
        """Why nobody can measure it here, whatever weights there are; empty where one can."""
        if self.metric is None or self.metric in LISTED:
            return self.unmeasured
        return f"there is no metric {self.metric} yet"


class PaperRow(_Part):
    """A method, or a variant of it, in a table.

    Attributes:
        name: of its folder.
        label: as in the paper.
        method: the editing method that makes its edits; None where only numbers are shown.
        settings: `section.key` of the method -> value, which hold whatever else is set.
        audio: what becomes of the sound, where a method leaves it to the job.
        mask: what mask the edits are given; they are measured by the case's own.
        precision: the factor p that the network is told; else that of the mask.
        film: which of its videos is measured.
        missing: what it would need that the editor has not.
        note: in what it is not the paper's.
        published: benchmark -> numbers in the order of the columns.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    label: str
    method: str | None = None
    settings: dict[str, Setting] = Field(default_factory=dict)
    audio: Literal["keep", "agent"] = "keep"
    mask: MaskKind = "given"
    precision: int | None = Field(None, ge=0)
    film: Literal["edited.mp4", "native.mp4"] = "edited.mp4"
    missing: str = ""
    note: str = ""
    published: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        """Whether there is a method for it here."""
        return self.method is not None and not self.missing

    @property
    def overrides(self) -> list[str]:
        """Its settings as the `key=value` texts of `avipipe edit --set`."""
        return [
            f"{key}={yaml.safe_dump(value).splitlines()[0]}" for key, value in self.settings.items()
        ]


class PaperTable(_Part):
    """A table of a paper.

    Attributes:
        name: under which it is asked for.
        place: of the table in the paper.
        method: the paper's own, whose models and settings a user gives.
        mask_tells: what a case's mask shows to the method: where to edit, or what stays.
        takes_sounds: whether each case needs a new sound that is given with it.
        benchmarks: name -> what it is; the first is the usual one.
    """

    name: str
    paper: str
    place: str
    method: str
    mask_tells: Literal["edit", "stay"] = "edit"
    takes_sounds: bool = False
    note: str = ""
    benchmarks: dict[str, PaperBenchmark] = Field(min_length=1)
    columns: tuple[PaperColumn, ...] = Field(min_length=1)
    rows: tuple[PaperRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("expected each row's name once")
        for row in self.rows:
            for benchmark, numbers in row.published.items():
                if benchmark not in self.benchmarks or len(numbers) != len(self.columns):
                    raise ValueError(
                        f"{row.name}: expected {len(self.columns)} numbers of a benchmark of "
                        f"{', '.join(self.benchmarks)}, got {len(numbers)} of {benchmark}"
                    )
        return self

    def published(self, benchmark: str) -> Mapping[str, tuple[float | None, ...]]:
        """Row -> numbers on a benchmark, in the order of the columns."""
        blank = (None,) * len(self.columns)
        return {row.name: row.published.get(benchmark, blank) for row in self.rows}

    @property
    def metrics(self) -> list[str]:
        """The metrics of its columns that there are here, in the order of the catalogue."""
        asked = {column.metric for column in self.columns}
        return [name for name in LISTED if name in asked]

    def chosen_benchmark(self, name: str | None) -> str:
        """The benchmark of a name, or the usual one.

        Raises:
            ConfigError: the paper has no such benchmark in this table.
        """
        if name is not None and name not in self.benchmarks:
            raise ConfigError(
                f"--benchmark {name}: {self.name} is of {', '.join(self.benchmarks)}; choose one"
            )
        return name or next(iter(self.benchmarks))

    def chosen_rows(self, names: tuple[str, ...]) -> list[PaperRow]:
        """The rows of some names, in the table's order; all of them for none.

        Raises:
            ConfigError: there is no such row.
        """
        known = {row.name for row in self.rows}
        for name in names:
            if name not in known:
                raise ConfigError(f"--row {name}: {self.name} has {', '.join(sorted(known))}")
        return [row for row in self.rows if not names or row.name in names]


@lru_cache
def load_table(name: str) -> PaperTable:
    """The table of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TABLES:
        raise ConfigError(f"there is no table {name!r}; choose one of {', '.join(TABLES)}")
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return PaperTable.model_validate({"name": name, **yaml.safe_load(text)})
