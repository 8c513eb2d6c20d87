"""SyncNet v2, in the names and shapes of its public weights.

B windows of 0.2 s, T frames, C channels, H and W of a picture, R rows of 13 cepstra, D = 1024
features.

Source: Chung and Zisserman, Out of time: automated lip sync in the wild (ACCV workshops 2016);
joonson/syncnet_python@6efbb1c, SyncNetModel.py (MIT licence).
"""

from torch import Tensor, nn

WINDOW_FRAMES = 5
"""Frames that the network sees at a time, and the sound of which it hears: 0.2 s."""
NUM_FEATURES = 1024
"""Of lips and of voice."""


def _conv_2d(
    before: int, after: int, size: int | tuple[int, int] = 3, *, padding: int = 1
) -> list[nn.Module]:
    return [nn.Conv2d(before, after, size, padding=padding), nn.BatchNorm2d(after), nn.ReLU()]


def _conv_3d(
    before: int,
    after: int,
    size: tuple[int, int, int],
    *,
    stride: int = 1,
    padding: int = 0,
) -> list[nn.Module]:
    """Over space, with a time of its own in the first layer alone."""
    convolution = nn.Conv3d(
        before, after, size, stride=(1, stride, stride), padding=(0, padding, padding)
    )
    return [convolution, nn.BatchNorm3d(after), nn.ReLU()]


def _head() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, NUM_FEATURES)
    )


class SyncNet(nn.Module):
    """The network `S` of SyncNet v2."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv_2d(1, 64),
            nn.MaxPool2d(1),
            *_conv_2d(64, 192),
            nn.MaxPool2d(3, stride=(1, 2)),
            *_conv_2d(192, 384),
            *_conv_2d(384, 256),
            *_conv_2d(256, 256),
            nn.MaxPool2d(3, stride=2),
            *_conv_2d(256, 512, (5, 4), padding=0),
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *_conv_3d(3, 96, (WINDOW_FRAMES, 7, 7), stride=2),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_conv_3d(96, 256, (1, 5, 5), stride=2, padding=1),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            *_conv_3d(256, 256, (1, 3, 3), padding=1),
            *_conv_3d(256, 256, (1, 3, 3), padding=1),
            *_conv_3d(256, 256, (1, 3, 3), padding=1),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_conv_3d(256, 512, (1, 6, 6)),
        )

    def hear(self, cepstra_B1CR: Tensor) -> Tensor:
        """Features (B, D) of 13 cepstra in 20 rows of 10 ms."""
        heard_BD: Tensor = self.netfcaud(self.netcnnaud(cepstra_B1CR).flatten(1))
        return heard_BD

    def see(self, faces_CTHW: Tensor) -> Tensor:
        """Features (T - 4, D) of every window of a video, BGR in 0 … 255, 224 x 224."""
        seen_BD: Tensor = self.netfclip(self.lips(faces_CTHW))
        return seen_BD

    def lips(self, faces_CTHW: Tensor) -> Tensor:
        """Features (T - 4, 512) before the last two layers.

        After the first layer nothing looks over time, so overlapping windows need no copies.
        """
        seen_CB: Tensor = self.netcnnlip(faces_CTHW[None])[0].flatten(1)
        return seen_CB.T
