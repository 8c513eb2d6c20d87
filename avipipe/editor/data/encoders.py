"""Models that turn video, text and sound into what the network is given."""

from dataclasses import dataclass
from typing import Any

import torch

from avipipe.editor.data.config import EncoderConfig


@dataclass(frozen=True, slots=True)
class Encoders:
    """The three encoders."""

    video: Any
    text: Any
    audio: Any


def load_encoders(config: EncoderConfig, device: torch.device | str = "cpu") -> Encoders:
    """Load from located weights, local paths, or make tiny ones."""
    raise NotImplementedError
