"""DINO and DINOv2: class features of frames, and the keys whose self-similarity is the layout."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.base import Frames
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.extractors import dino_views
from avipipe.evaluate.metrics.undefined import require_frames

if TYPE_CHECKING:
    from torch import Tensor

View = Callable[[Any], "Tensor"]
"""One of `dino_views`: from frames or crops to what the network sees of them."""


class DinoVitS16(Weighted):
    """DINO ViT-S/16.

    Source: `networks.vit`.
    """

    name = "dino_vits16"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("dino_vits16",)
    packages = ("timm", "torch", "torchvision")

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import filled, read_state
        from avipipe.evaluate.extractors.networks.vit import DinoVit

        (weight,) = self.needs
        state = read_state(weight)
        state.pop("mask_token", None)  # of DINOv2's training alone
        with (
            reading(weights.locate(weight), "a transformer of DINO", pull_again(weight)),
            torch.device("meta"),
        ):
            self._network = DinoVit(state)
        filled(self._network.vit, state, weight=weight)

    def cls(
        self, frames: Frames | Sequence[Frames], *, view: View = dino_views.whole
    ) -> npt.NDArray[np.float32]:
        """Class features (T, D) of frames (T, H, W, 3), or of crops with the view of crops.

        Raises:
            Undefined: no frames.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        with exact():
            found = [self._network.cls(batch).cpu().numpy() for batch in _batches(frames, view)]
        return np.concatenate(found)

    def keys(
        self, frames_THWC: Frames, *, view: View = dino_views.whole
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Keys (N tokens, D) of the last block of each frame, class token first.

        Raises:
            Undefined: no frames.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        for batch in _batches(frames_THWC, view):
            with exact():
                keys_TND = self._network.keys(batch).cpu().numpy()
            yield from keys_TND


class DinoVitB16(DinoVitS16):
    """DINO ViT-B/16, which VBench's subject consistency uses."""

    name = "dino_vitb16"
    needs: ClassVar[tuple[str, ...]] = ("dino_vitb16",)


class DinoVitB8(DinoVitS16):
    """DINO ViT-B/8, by which structure distances are measured."""

    name = "dino_vitb8"
    needs: ClassVar[tuple[str, ...]] = ("dino_vitb8",)


class Dinov2VitB14(DinoVitS16):
    """DINOv2 ViT-B/14, of FlowAnchor's L.DINO."""

    name = "dinov2_vitb14"
    needs: ClassVar[tuple[str, ...]] = ("dinov2_vitb14",)


def _batches(frames: Frames | Sequence[Frames], view: View) -> Iterator["Tensor"]:
    from avipipe.evaluate.extractors.networks.running import BATCH_FRAMES

    require_frames(frames, 1)
    for start in range(0, len(frames), BATCH_FRAMES):
        yield view(frames[start : start + BATCH_FRAMES]).to(device())
