"""The configuration of a training run: a YAML file, or the name of one that comes with avipipe."""

from collections.abc import Sequence
from contextlib import nullcontext
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from avipipe.config_file import merged, told, validated
from avipipe.editor.avi_edit.config import SampleConfig
from avipipe.editor.avi_edit.data.config import DataConfig
from avipipe.editor.avi_edit.lora import LoraConfig
from avipipe.editor.avi_edit.losses import DropConfig, LossConfig
from avipipe.editor.avi_edit.weights import NetworkConfig
from avipipe.editor.common.flow import SigmaLaw
from avipipe.errors import ConfigError

PRESETS = ("tiny", "lora-24g", "full-h200", "paper")
"""The configurations that come with avipipe, in `configs/`."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimiserConfig(_Section):
    """AdamW, and the schedule of its learning rate: linear warm-up, then constant."""

    name: Literal["adamw", "adamw_8bit"] = Field(
        "adamw", description="`adamw_8bit`: a quarter of its memory; needs bitsandbytes."
    )
    lr: float = Field(2e-5, gt=0)
    new_lr_factor: float = Field(1.0, gt=0, description="For the modules that Wan does not have.")
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(1000, ge=0)
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to it once a step.")


class CheckpointConfig(_Section):
    """How often, and how many."""

    every_steps: PositiveInt = 500
    keep: PositiveInt = 2


class ValidationConfig(_Section):
    """What is measured at fixed noise between steps."""

    every_steps: PositiveInt = 500
    split: str = "val"
    num_clips: int = Field(16, ge=0, description="At most; the first ones by key. 0: none.")
    sigmas: tuple[float, ...] = Field((0.3, 0.6, 0.8, 0.9, 0.97), min_length=1)
    mask_threshold: float = Field(
        0.2, gt=0, lt=1, description="Probability from which a cell is in the refined mask."
    )
    num_samples: int = Field(1, ge=0, description="Of the clips that are edited. 0: none.")
    sample: SampleConfig = Field(SampleConfig(num_steps=20), description="How they are edited.")


class LogConfig(_Section):
    """Where metrics go besides `metrics.jsonl`."""

    every_steps: PositiveInt = 1
    tensorboard: bool = False
    wandb: str | None = Field(None, description="Project of Weights & Biases.")


class TrainConfig(_Section):
    """Everything that a training run can be told."""

    network: NetworkConfig
    data: DataConfig
    sigmas: SigmaLaw = SigmaLaw()
    loss: LossConfig = LossConfig()
    drop: DropConfig = DropConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    lora: LoraConfig | None = Field(None, description="Adapters instead of the whole backbone.")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="Of the moving average, if any.")
    steps: PositiveInt = Field(160_000, description="Optimiser steps of the whole run.")
    batch_size: PositiveInt = Field(1, description="Clips of a micro-batch, in each process.")
    accumulate: PositiveInt = Field(1, description="Micro-batches of a step.")
    precision: Literal["bf16", "fp32"] = "bf16"
    checkpoint_layers: Literal["all", "none"] | tuple[int, ...] = Field(
        "all", description="Layers whose activations are computed again instead of kept."
    )
    compile: bool = Field(False, description="Compile the blocks; the first steps take minutes.")
    cpu_threads: PositiveInt | None = Field(
        None, description="Of torch, in each process; more only slow a tiny network down."
    )
    seed: int = 0
    max_bad_steps: PositiveInt = Field(
        5, description="Steps in a row whose loss may be NaN or infinite; they change no weight."
    )
    checkpoint: CheckpointConfig = CheckpointConfig()
    validation: ValidationConfig = ValidationConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        layers = self.network.sizes.num_layers
        if not set(self.checkpointed) <= set(range(layers)):
            raise ValueError(f"checkpoint_layers: expected numbers from 0 to {layers - 1}")
        if self.data.max_precision != self.network.sizes.max_precision:
            raise ValueError(
                f"data.max_precision: expected the network's {self.network.sizes.max_precision}"
            )
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits of the dataset whose clips are used."""
        held_out = (self.validation.split,) if self.validation.num_clips else ()
        return tuple(dict.fromkeys((self.data.split, *held_out)))

    @property
    def checkpointed(self) -> tuple[int, ...]:
        """Numbers of the layers whose activations are computed again."""
        if self.checkpoint_layers == "all":
            return tuple(range(self.network.sizes.num_layers))
        return () if self.checkpoint_layers == "none" else self.checkpoint_layers

    def identity(self) -> dict[str, Any]:
        """What the weights depend on: all but how long, how and with what notes the run goes."""
        exclude: dict[str, Any] = dict.fromkeys(RUNTIME_KEYS, True)
        exclude["data"] = {"dataset", "cache", "index", "workers"}  # the stream knows its clips
        return self.model_dump(mode="json", exclude=exclude)


RUNTIME_KEYS = (
    "steps",
    "checkpoint_layers",
    "compile",
    "cpu_threads",
    "max_bad_steps",
    "checkpoint",
    "validation",
    "log",
)
"""Keys on which no weight depends."""


def load_config(
    name: str, overrides: Sequence[str] = (), *, dataset: str | None = None
) -> TrainConfig:
    """Resolve the configuration of a training run.

    Args:
        name: of one that comes with avipipe, or a path of a YAML file.
        overrides: `dotted.key=value` texts, the value in YAML; they win.
        dataset: folder or URL, for `data.dataset`.
    Raises:
        ConfigError: no such file, an unknown key, or a wrong value.
    """
    if name not in PRESETS and not Path(name).exists():
        raise ConfigError(
            f"--config {name}: expected one of {', '.join(PRESETS)}, or the path of a YAML file"
        )
    preset = resources.files(__package__) / "configs" / f"{name}.yaml"
    with resources.as_file(preset) if name in PRESETS else nullcontext(Path(name)) as path:
        data = told(path, overrides)
    if dataset is not None:
        data = merged(data, {"data": {"dataset": dataset}})
    return validated(TrainConfig, data, where=Path(name))
