"""How many floating-point operations the network needs: what a device's use is measured against."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from avipipe.editor.avi_edit.network.loading import blank, blank_clip
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations of products of matrices, two for each multiply-add.

    Attributes:
        backbone: plain Wan, the mask channel and the precision factor.
        audio: encoder and injections.
        refiner: the mask refiner.
    """

    backbone: int
    audio: int
    refiner: int

    @property
    def total(self) -> int:
        """Of the whole network."""
        return self.backbone + self.audio + self.refiner


@cache
def forward_flops(config: EditorConfig, bucket: Bucket) -> Flops:
    """One pass over one clip with mask, audio and refiner, without controls and references.

    Torch counts them on tensors that have a shape and nothing else, in seconds. (On fake tensors
    of a CPU it would miss attention, for whose kernel there it has no count.)
    """
    with torch.device("meta"), torch.no_grad():
        model, clip = blank(config), blank_clip(config, bucket)

        def count(**instead: Any) -> int:
            with FlopCounterMode(display=False) as counter:
                model(**clip | instead)
            return int(counter.get_total_flops())

        backbone, heard, total = count(audio=None, refine=False), count(refine=False), count()
    return Flops(backbone, heard - backbone, total - heard)
