"""Which models are on the device, and which wait in the machine's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from avipipe.errors import ConfigError

Offload = Literal["none", "models", "blocks"]


class PlacementConfig(BaseModel):
    """How models fit into memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["cuda", "cpu"] | None = Field(None, description="Else a GPU if there is one.")
    offload: Offload = Field(
        "none",
        description="What waits in the machine's memory: nothing; models that are not at work; "
        "and of the network at work all but a few blocks, too.",
    )
    tiled_vae: bool = Field(
        False, description="Pictures go tile by tile: slower, in little memory."
    )


@dataclass(frozen=True, slots=True)
class Placement:
    """Where models work, and where they wait."""

    device: torch.device
    offload: Offload

    @classmethod
    def of(cls, config: PlacementConfig) -> "Placement":
        """What a configuration means here.

        Raises:
            ConfigError: there is no such device.
        """
        has_gpu = torch.cuda.is_available()
        if config.device == "cuda" and not has_gpu:
            raise ConfigError(
                "models.device: cuda, but torch finds no GPU here; leave it out, or: cpu"
            )
        device = torch.device(config.device or ("cuda" if has_gpu else "cpu"))
        return cls(device, config.offload)

    @property
    def home(self) -> torch.device:
        """Where models are loaded."""
        return self.device if self.offload == "none" else torch.device("cpu")

    def settle(self, network: Any) -> None:
        """Bring the network home, not to be trained; its blocks come and go if they shall."""
        network.to(self.home).requires_grad_(False).eval()
        if self.offload == "blocks":
            network.enable_group_offload(
                onload_device=self.device,
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=1,
                use_stream=self.device.type == "cuda",
            )

    @contextmanager
    def at_work(self, model: Any, *, is_network: bool = False) -> Iterator[None]:
        """Keep a model on the device while it is needed."""
        if self.offload == "none" or (self.offload == "blocks" and is_network):
            yield
            return
        model.to(self.device)
        try:
            yield
        finally:
            model.to("cpu")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()  # so that the next model finds it in one piece
