"""What a stage is: one verb, one decision, one file.

A stage is a frozen config, a version, and `run(item, folder) -> Outcome`. It is pure but for the
files that it writes into `folder`, which the store keeps under the stage key. It may raise
`ItemError`; anything else that it raises is caught at the executor's per-item boundary.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from avipipe.manifests.records import Evidence, Outcome, SourceLine, Span, digest


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker of a stage holds. `num_gpus` may be a fraction."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """What a stage sees of a source or a clip.

    Attributes:
        id: a line id until the source is fetched, then a source id, then a clip id.
        source: the line of the list that it comes from.
        span: the clip's interval in source time; None for a whole source.
        evidence: of each stage named in `needs`, by stage name.
        folders: of each stage named in `needs`, where its files lie.
        address: of a URL that was listed with secrets, the whole of it; only `fetch` is told, and
            nothing that it says may hold it.
    """

    id: str
    source: SourceLine
    span: Span | None
    evidence: Mapping[str, Evidence]
    folders: Mapping[str, Path]
    address: str = field(default="", repr=False)

    @property
    def clip_span(self) -> Span:
        """The span of an item that is a clip."""
        assert self.span is not None, f"{self.id} is not a clip"
        return self.span


class Stage(ABC):
    """One verb of the build.

    Class attributes:
        name: of the stage, and of its section in the configuration.
        version: raised whenever the same input would give another result.
        level: whether its items are sources or clips; one that gives children fans out.
        needs: the stages whose evidence and files it reads.
        fans_out: whether it gives children, which go on in the item's place.
        resources: what one worker holds.
        uses_gpu: whether `setup` loads a model that wants a GPU, for which workers are kept.
        timeout_s: longest time for one item, after which it fails with `timeout`.
    """

    name: str
    version: ClassVar[int]
    level: ClassVar[Literal["source", "clip"]]
    needs: tuple[str, ...]
    fans_out: ClassVar[bool] = False
    resources: Resources = Resources()
    uses_gpu: bool = False
    timeout_s: float = 600.0

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes the result: the stage's own config, backends and weights."""

    def setup(self) -> None:  # noqa: B027  most stages have nothing to load
        """Load models. Runs once in each worker, before the first item."""

    @abstractmethod
    def run(self, item: Item, folder: Path) -> Outcome:
        """Process one item. `folder` is empty and belongs to this call.

        Raises:
            ItemError: the item is bad.
        """

    def fresh(self, item: Item, evidence: Evidence) -> bool:
        """Whether a stored result still holds. Only what reads the world outside can go stale."""
        return True

    def key(self, item_id: str, upstream: Mapping[str, str]) -> str:
        """The stage key: what the result depends on, and nothing else."""
        return digest(
            {
                "stage": self.name,
                "version": self.version,
                "settings": self.settings(),
                "item": item_id,
                "needs": {name: upstream[name] for name in self.needs},
            }
        )
