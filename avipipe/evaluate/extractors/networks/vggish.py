"""VGGish, in the names and shapes of its public PyTorch weights.

B examples of 0.96 s, F = 96 frames of M = 64 mel bands.

Source: Hershey et al., CNN architectures for large-scale audio classification (ICASSP 2017);
harritaylor/torchvggish (Apache-2.0), converted from TensorFlow's.
"""

from torch import Tensor, nn

_CHANNELS = ((64,), (128,), (256, 256), (512, 512))
"""Of the convolutions before each halving."""


class Vggish(nn.Module):
    """The network from log-mel examples to embeddings.

    Args:
        num_hidden: numbers in the two hidden layers at its end, 4096 in the public weights.
    """

    def __init__(self, num_hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for stage in _CHANNELS:
            for after in stage:
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
                before = after
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, num_hidden),
            nn.ReLU(),
            nn.Linear(num_hidden, num_hidden),
            nn.ReLU(),
            nn.Linear(num_hidden, 128),
        )

    def forward(self, examples_BFM: Tensor) -> Tensor:
        """Embeddings (B, 128) before the last rectifier of the original."""
        maps_BCfm: Tensor = self.features(examples_BFM[:, None])
        # TensorFlow lays channels out last.
        embeddings_BD: Tensor = self.embeddings(maps_BCfm.permute(0, 2, 3, 1).flatten(1))
        return embeddings_BD
