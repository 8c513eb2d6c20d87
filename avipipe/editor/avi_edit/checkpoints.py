"""Which weights edit: those that a run of `avipipe train` left, or those that AVI-Edit released."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from avipipe import weights
from avipipe.editor.avi_edit.config import ModelConfig
from avipipe.editor.avi_edit.data.config import BUCKETS, EncoderConfig
from avipipe.editor.avi_edit.lora import CONFIG_FILE, load_lora, merge_lora
from avipipe.editor.avi_edit.network.loading import load_editor
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.run_folder import CONFIG, MODEL, TrainedConfig, read_trained
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.weights import PULLED, NetworkConfig, load_network, weights_path
from avipipe.errors import ConfigError, WeightsError
from avipipe.weights.digests import digest


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights of a network, and what they were trained with.

    Attributes:
        network: the folder that a run exported; or what to load otherwise.
        adapters: folder of what is added to that, if anything is.
        precision: that the network computes in.
        buckets: sizes of clips that it was trained on.
    """

    network: Path | NetworkConfig
    adapters: Path | None
    encoders: EncoderConfig
    precision: Literal["bf16", "fp32"]
    buckets: tuple[Bucket, ...]

    def sizes(self) -> EditorConfig:
        """Sizes of the network.

        Raises:
            WeightsError: the folder does not say.
        """
        if isinstance(self.network, NetworkConfig):
            return self.network.sizes
        load: Any = EditorTransformer.load_config
        try:
            found = load(self.network, local_files_only=True)
            return EditorConfig(**{name: found[name] for name in EditorConfig.model_fields})
        except (OSError, KeyError, ValueError) as error:
            raise WeightsError(
                f"{self.network}: expected a network that `avipipe train` left: {error}"
            ) from error

    def load(self, dtype: torch.dtype) -> EditorTransformer:
        """The network, on the CPU; adapters are added to the weights that they adapt.

        Raises:
            WeightsError: the weights are not whole, or do not fit.
        """
        if isinstance(self.network, Path):
            return load_editor(self.network, dtype=dtype)
        model = load_network(self.network, dtype)
        if self.adapters is not None:
            load_lora(model, self.adapters)
            merge_lora(model)
        return model

    def identity(self) -> str:
        """A hash of the content of all files."""
        listing = [f"{digest(path)}  {path.name}" for path in self._files()]
        if isinstance(self.network, NetworkConfig):
            listing.append(self.network.model_dump_json(exclude={"weights"}))
        return hashlib.sha256("\n".join(listing).encode()).hexdigest()

    def _files(self) -> Iterator[Path]:
        network = self.network if isinstance(self.network, Path) else weights_path(self.network)
        for path in (network, self.adapters):
            if path is not None:
                yield from [path] if path.is_file() else sorted(path.glob("*.*"))


def find_checkpoint(config: ModelConfig) -> Checkpoint:
    """What a configuration means.

    Raises:
        WeightsError: there is no such checkpoint, or weights have not been pulled: all of them.
        ConfigError: adapters, of which nothing says what they were trained on.
    """
    run = _run_of(config.network)
    network, adapters = _parts(config.network, run)
    encoders = _encoders(config, run)
    weights.require(_pulled(network, encoders))
    return Checkpoint(
        network,
        adapters,
        encoders,
        precision=config.precision or ("bf16" if run is None else run.precision),
        buckets=BUCKETS if run is None else run.data.buckets,
    )


def pulled_of(config: ModelConfig) -> list[str]:
    """The weights that a configuration takes of those that are pulled.

    Raises:
        WeightsError: there is no such checkpoint.
        ConfigError: adapters, of which nothing says what they were trained on.
    """
    run = _run_of(config.network)
    return _pulled(_parts(config.network, run)[0], _encoders(config, run))


def _encoders(config: ModelConfig, run: TrainedConfig | None) -> EncoderConfig:
    return config.encoders or (EncoderConfig() if run is None else run.data.encoders)


def _run_of(path: Path | None) -> TrainedConfig | None:
    """The configuration of the run that a folder, or the folder above it, is of."""
    for folder in () if path is None else (path, path.parent):
        if (folder / CONFIG).is_file() and (folder / MODEL).is_dir():
            return read_trained(folder)
    return None


def _parts(
    path: Path | None, run: TrainedConfig | None
) -> tuple[Path | NetworkConfig, Path | None]:
    """Network and adapters."""
    if path is None or path.is_file():
        return NetworkConfig(begin="released", weights=path), None
    if (path / MODEL).is_dir():
        path = path / MODEL
    if not path.is_dir():
        raise WeightsError(
            f"expected a network at {path}, found nothing; give the folder that `avipipe train` "
            "wrote, or the file of AVI-Edit's checkpoint"
        )
    if not (path / CONFIG_FILE).is_file():
        return path, None
    if run is None:
        raise ConfigError(
            f"{path} holds adapters, and nothing beside it says what they adapt; give the whole "
            f"folder of the run, with its {CONFIG}"
        )
    return run.network, path


def _pulled(network: Path | NetworkConfig, encoders: EncoderConfig) -> list[str]:
    """The weights that must have been pulled, so that all that are missing are told at once."""
    names = []
    if isinstance(network, NetworkConfig) and network.weights is None and network.begin in PULLED:
        names.append(PULLED[network.begin][0])
    if encoders.preset != "tiny":
        names += ["wan22_ti2v_5b"] if encoders.wan is None else []
        names += ["wav2vec2"] if encoders.wav2vec2 is None else []
    return names
