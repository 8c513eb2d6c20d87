"""Which weights edit: those that a run of `avipipe train` left, or those that AVI-Edit released."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from avipipe import weights
from avipipe.config_file import told, validated
from avipipe.editor.config import Bucket, EditorConfig
from avipipe.editor.data.config import BUCKETS, EncoderConfig
from avipipe.editor.network.loading import load_editor
from avipipe.editor.network.transformer import EditorTransformer
from avipipe.editor.sample.config import ModelConfig
from avipipe.editor.train.begin import load_network
from avipipe.editor.train.config import NetworkConfig, TrainConfig
from avipipe.editor.train.lora import CONFIG_FILE, load_lora, merge_lora
from avipipe.editor.train.run import CONFIG, MODEL
from avipipe.errors import ConfigError, WeightsError
from avipipe.weights.digests import digest

RELEASED = NetworkConfig(begin="released")
RELEASED_FILE = "avi_edit.pt"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights of a network, and what they were trained with.

    Attributes:
        path: folder with a network or adapters, or a file of AVI-Edit's.
        base: what adapters were trained on; None where the weights are whole.
        precision: that the network computes in.
        buckets: sizes of clips that it was trained on.
    """

    path: Path
    base: NetworkConfig | None
    encoders: EncoderConfig
    precision: Literal["bf16", "fp32"]
    buckets: tuple[Bucket, ...]

    def sizes(self) -> EditorConfig:
        """Of the network.

        Raises:
            WeightsError: the folder does not say.
        """
        if self.base is not None:
            return self.base.sizes
        if self.path.is_file():
            return RELEASED.sizes
        load: Any = EditorTransformer.load_config
        try:
            found = load(self.path, local_files_only=True)
            return EditorConfig(**{name: found[name] for name in EditorConfig.model_fields})
        except (OSError, KeyError, ValueError) as error:
            raise WeightsError(
                f"{self.path}: expected a network that `avipipe train` left: {error}"
            ) from error

    def load(self, dtype: torch.dtype) -> EditorTransformer:
        """The network, on the CPU; adapters are added to the weights that they adapt.

        Raises:
            WeightsError: the weights are not whole, or do not fit.
        """
        if self.base is not None:
            model = load_network(self.base, dtype)
            load_lora(model, self.path)
            merge_lora(model)
            return model
        if self.path.is_file():
            return load_network(RELEASED.model_copy(update={"weights": self.path}), dtype)
        return load_editor(self.path, dtype=dtype)

    def identity(self) -> str:
        """A hash of the files' content."""
        files = [self.path] if self.path.is_file() else sorted(self.path.iterdir())
        listing = [f"{digest(path)}  {path.name}" for path in files if path.is_file()]
        return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def find_checkpoint(config: ModelConfig) -> Checkpoint:
    """What a configuration means.

    Raises:
        WeightsError: there is no such checkpoint.
        ConfigError: adapters, of which nothing says what they were trained on.
    """
    path = config.network
    if path is None:
        path = weights.locate("avi_edit") / RELEASED_FILE
    if not path.exists():
        raise WeightsError(
            f"expected a network at {path}, found nothing; give the folder that `avipipe train` "
            "wrote, or the file of AVI-Edit's checkpoint"
        )
    run = _run_of(path)
    if (path / MODEL).is_dir():
        path = path / MODEL
    is_adapter = (path / CONFIG_FILE).is_file()
    if is_adapter and run is None:
        raise ConfigError(
            f"{path} holds adapters, and nothing beside it says what they adapt; give the whole "
            f"folder of the run, with its {CONFIG}"
        )
    return Checkpoint(
        path,
        base=run.network if run is not None and is_adapter else None,
        encoders=config.encoders or (EncoderConfig() if run is None else run.data.encoders),
        precision=config.precision or ("bf16" if run is None else run.precision),
        buckets=BUCKETS if run is None else run.data.buckets,
    )


def _run_of(path: Path) -> TrainConfig | None:
    """The configuration of the run that a folder, or the folder above it, is of."""
    for folder in (path, path.parent):
        if (folder / CONFIG).is_file() and (folder / MODEL).is_dir():
            return validated(TrainConfig, told(folder / CONFIG), where=folder / CONFIG)
    return None
