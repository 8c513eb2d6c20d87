"""How many floating-point operations the network needs: what a device's use is measured against."""

from dataclasses import dataclass

from avipipe.editor.config import Bucket, EditorConfig


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations of matrix products, two for each multiply-add."""

    backbone: int
    audio: int
    refiner: int

    @property
    def total(self) -> int:
        """Of the whole network."""
        return self.backbone + self.audio + self.refiner


def forward_flops(config: EditorConfig, bucket: Bucket) -> Flops:
    """One pass over one clip."""
    raise NotImplementedError


def step_flops(config: EditorConfig, bucket: Bucket) -> int:
    """One training step on one clip with all weights learning: three passes.

    What checkpointing computes again does not count.
    """
    return 3 * forward_flops(config, bucket).total
