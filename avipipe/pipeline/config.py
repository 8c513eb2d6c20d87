"""The configuration of a build: one YAML file, `--set` overrides, and what both resolve to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from avipipe.config_file import merged, told, validated
from avipipe.errors import ConfigError
from avipipe.manifests.records import digest
from avipipe.stages.caption import CaptionConfig
from avipipe.stages.cut import CutConfig
from avipipe.stages.decide import DecideConfig
from avipipe.stages.fetch import Fetch, FetchConfig
from avipipe.stages.instruct import InstructConfig
from avipipe.stages.listen import ListenConfig
from avipipe.stages.look import LookConfig
from avipipe.stages.mask import MaskConfig
from avipipe.stages.pair import PairConfig
from avipipe.stages.probe import ProbeConfig
from avipipe.stages.publish import PublishConfig
from avipipe.stages.shots import ShotsConfig


class StagesConfig(BaseModel):
    """Configuration of the stages: one section each, owned by the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fetch: FetchConfig = FetchConfig()
    probe: ProbeConfig = ProbeConfig()
    shots: ShotsConfig = ShotsConfig()
    listen: ListenConfig = ListenConfig()
    look: LookConfig = LookConfig()
    decide: DecideConfig = DecideConfig()
    cut: CutConfig = CutConfig()
    mask: MaskConfig = MaskConfig()
    caption: CaptionConfig = CaptionConfig()
    instruct: InstructConfig = InstructConfig()
    pair: PairConfig = PairConfig()
    publish: PublishConfig = PublishConfig()


class ExecutorConfig(BaseModel):
    """Configuration of the executor: how the build runs, never what it makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ray", "inline"] = Field("ray", description="Ray Data, or a plain loop.")
    ray_address: str | None = Field(
        None, description="Cluster to join (`auto` inside one); none starts Ray on this machine."
    )
    num_cpus: int | None = Field(
        None, ge=1, description="CPUs that the build may use on this machine; none takes all."
    )
    num_gpus: dict[str, float] = Field(
        default_factory=dict,
        description="Stage -> GPUs of each of its workers, such as 0.5; by default all stages with "
        "models that use one share a GPU equally.",
    )
    max_worker_gb: float | None = Field(
        None,
        gt=0,
        description="Memory at which a worker is replaced between two items; none takes its share "
        "of the machine's.",
    )
    timeout_s: dict[str, float] = Field(
        default_factory=dict, description="Stage -> longest time for one item, to override."
    )
    max_failed_ratio: float = Field(
        1.0, ge=0, le=1, description="Exit with an error when a larger share of sources fails."
    )

    @field_validator("num_gpus")
    @classmethod
    def _check_num_gpus(cls, num_gpus: dict[str, float]) -> dict[str, float]:
        for stage, share in num_gpus.items():
            if stage not in StagesConfig.model_fields:
                raise ValueError(f"expected names of stages, such as `mask`; found {stage!r}")
            if not (0 <= share <= 1 or (share > 1 and share % 1 == 0)):
                raise ValueError(f"expected a share up to 1 or a whole number, found {share:g}")
        return num_gpus


class BuildConfig(BaseModel):
    """The whole configuration of a build."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str = Field("embedded", description="Chooses a backend for every role.")
    annotators: dict[str, str] = Field(
        default_factory=dict, description="Role -> backend, where it differs from the profile."
    )
    stages: StagesConfig = StagesConfig()
    executor: ExecutorConfig = ExecutorConfig()

    def identity(self) -> dict[str, Any]:
        """The part that the dataset depends on: all but executor and manners of downloading."""
        data = self.model_dump(mode="json", exclude={"executor"})
        data["stages"]["fetch"] = dict(Fetch(self.stages.fetch).settings())
        return data

    def identity_hash(self) -> str:
        return digest(self.identity())


PROFILE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # XMem was made for 480 lines.
    "full": {"stages": {"mask": {"height_px": 480}}},
}
"""Defaults by profile: what it sets where the user does not."""


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> BuildConfig:
    """Resolve a configuration: the user's words over the profile's defaults over the general ones.

    Args:
        path: a YAML file, or None for the defaults.
        overrides: `dotted.key=value` texts, the value in YAML; they win over the file.
    Raises:
        ConfigError: unreadable file, unknown key (with the nearest valid one), wrong value.
    """
    said = told(path, overrides)
    defaults = PROFILE_DEFAULTS.get(str(said.get("profile")), {})
    return validated(BuildConfig, merged(defaults, said), where=path)


def with_overrides(config: BuildConfig, overrides: Sequence[str], *, only: str) -> BuildConfig:
    """Override some keys of a configuration, all of which must start with `only`.

    Raises:
        ConfigError: another key, an unknown one, or a wrong value.
    """
    for text in overrides:
        if not text.startswith(only):
            raise ConfigError(f"--set {text}: expected a key that starts with `{only}`")
    return validated(BuildConfig, merged(config.model_dump(mode="json"), told(None, overrides)))
