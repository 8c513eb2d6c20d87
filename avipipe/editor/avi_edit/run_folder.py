"""What the folder of a training run holds, and what editing reads of its configuration."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from avipipe.config_file import told, validated
from avipipe.editor.avi_edit.data.config import DataConfig
from avipipe.editor.avi_edit.weights import NetworkConfig
from avipipe.editor.common.dtypes import Precision

CHECKPOINTS, SAMPLES, MODEL = "checkpoints", "samples", "model"
METRICS, CONFIG = "metrics.jsonl", "config.yaml"


class TrainedConfig(BaseModel):
    """The part of a run's configuration that tells what its network is and was trained with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    network: NetworkConfig
    data: DataConfig
    precision: Precision = "bf16"


def read_trained(folder: Path) -> TrainedConfig:
    """What the network of a run was trained with.

    Raises:
        ConfigError: the run's configuration is damaged.
    """
    path = folder / CONFIG
    return validated(TrainedConfig, told(path), where=path)
