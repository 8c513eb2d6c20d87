"""ImageBind: embeddings of pictures and of sound in one space, of which AC and JavisScore are made.

K views, D numbers of an embedding.

Source: Girdhar et al., ImageBind (CVPR 2023). Its weights are not for commercial use.
"""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.imagebind.views import Views
from avipipe.annotators.loading import device
from avipipe.annotators.weighted import Weighted

if TYPE_CHECKING:
    from avipipe.annotators.imagebind.network import ImageBindTower, Tower

_VIEWS_AT_ONCE = 15
"""Those of one video; a choice that bounds the memory."""


class ImageBindHuge(Weighted):
    """Embeddings by ImageBind-Huge; views are made by `annotators.imagebind.views`."""

    name = "imagebind"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("imagebind",)
    packages = ("torch", "torchaudio", "torchvision")

    def setup(self) -> None:
        """Load both towers, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from avipipe.annotators.imagebind.network import ImageBindTower, own_part
        from avipipe.evaluate.extractors.networks.running import built, read_state

        (weight,) = self.needs
        state = read_state(weight)

        def loaded(tower: "Tower") -> ImageBindTower:
            own = own_part(tower, state)
            return built(lambda sizes: ImageBindTower(tower, sizes), own, weight=weight)

        self._vision, self._audio = loaded("vision"), loaded("audio")

    def video(self, views: Views) -> npt.NDArray[np.float32]:
        """Embeddings (K, D) of views (K, 3, 2, 224, 224), each of length 1."""
        return self._embedded(self._vision, views)

    def pictures(self, views: Views) -> npt.NDArray[np.float32]:
        """Embeddings (T, D) of single pictures (T, 3, 224, 224), shown as videos that stand."""
        return self._embedded(self._vision, np.stack([views, views], axis=2))

    def audio(self, views: Views) -> npt.NDArray[np.float32]:
        """Embeddings (K, D) of views (K, 1, 128, 204), each of length 1."""
        return self._embedded(self._audio, views)

    def _embedded(self, network: "ImageBindTower", views: Views) -> npt.NDArray[np.float32]:
        import torch

        from avipipe.evaluate.extractors.networks.running import exact

        parts = []
        for first in range(0, len(views), _VIEWS_AT_ONCE):
            shown = torch.from_numpy(np.ascontiguousarray(views[first : first + _VIEWS_AT_ONCE]))
            with exact():
                parts.append(network(shown.to(device())).cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
