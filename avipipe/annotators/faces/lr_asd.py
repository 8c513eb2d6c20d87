"""The LR-ASD network, in the names and shapes of its official weights, and its scores of a face.

Only what needs torch anyway may import this module.

B batch, T frames, C channels, H and W of a picture, P its pixels, R rows of K cepstra.

Source: Liao et al., LR-ASD: Lightweight and Robust Network for Active Speaker Detection, IJCV 2025;
Junhua-Liao/LR-ASD@1b6dcd2.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from avipipe.annotators.faces.crop import Faces
from avipipe.annotators.faces.mfcc import ROWS_PER_FRAME, Cepstra
from avipipe.annotators.reading import pull_again, reading

CHUNKS_S = (1, 2, 3, 4, 5, 6)
"""Lengths of chunks in which a face is scored, as in the official demo, which takes the mean."""

_SECOND = 25
"""Frames in a second of the network, whatever the video's rate: the features are stretched."""
_REACH = 9
"""Frames on either side that the features of a face depend on: three blocks of 5 and 3 frames."""
_PIECE = 4 * _SECOND
"""Frames that are seen at a time, which bounds the memory."""
# Of the official network: features of picture and sound, epsilon of its norms, mean and standard
# deviation of grey by which it was trained.
_NUM_FEATURES = 128
_EPSILON = 0.001
_GREY_MEAN, _GREY_STD = 0.4161, 0.1688


class _SpaceConv(nn.Conv3d):
    """Convolves pictures (B T, C, H, W): PyTorch has no fast kernel for flat convolutions in 3D."""

    def __init__(self, before: int, after: int, width: int, *, stride: int = 1) -> None:
        super().__init__(before, after, (1, width, width), bias=False)
        self._steps = stride

    def forward(self, pictures: Tensor) -> Tensor:
        kernel = self.weight[:, :, 0]
        return functional.conv2d(
            pictures, kernel, stride=self._steps, padding=kernel.shape[-1] // 2
        )


class _TimeConv(nn.Conv3d):
    """Convolves the course of each pixel (B, C, T, P)."""

    def __init__(self, before: int, after: int, width: int) -> None:
        super().__init__(before, after, (width, 1, 1), bias=False)

    def forward(self, courses: Tensor) -> Tensor:
        kernel = self.weight[..., 0]
        return functional.conv2d(courses, kernel, padding=(kernel.shape[2] // 2, 0))


def _rectified(convolutions: Mapping[str, nn.Conv2d | nn.Conv3d]) -> OrderedDict[str, nn.Module]:
    """Convolutions by name, each with its norm and rectifier, three layers each."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, convolution in convolutions.items():
        kind, _, number = name.partition("_")
        layers[name] = convolution
        layers[f"{kind}_norm_{number}"] = nn.BatchNorm2d(convolution.out_channels, eps=_EPSILON)
        layers[f"{kind}_relu_{number}"] = nn.ReLU(inplace=True)
    return layers


def _run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


class _VisualBlock(nn.Sequential):
    """Pictures (B, T, C, H, W) through two convolutions over space and two over time."""

    def __init__(self, first: int, middle: int, last: int, *, stride: int = 1) -> None:
        convolutions = {
            "s_1": _SpaceConv(first, middle, 5, stride=stride),
            "s_2": _SpaceConv(middle, last, 3),
            "t_1": _TimeConv(last, last, 5),
            "t_2": _TimeConv(last, last, 3),
        }
        super().__init__(_rectified(convolutions))

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        batch, num_frames = x_BTCHW.shape[:2]
        layers = list(self)
        pictures = x_BTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        pictures = _run(layers[:6], pictures)
        size = pictures.shape[1:]
        courses = pictures.reshape(batch, num_frames, size[0], -1).transpose(1, 2)
        courses = _run(layers[6:], courses.contiguous(memory_format=torch.channels_last))
        return courses.transpose(1, 2).reshape(batch, num_frames, *size)


class _VisualEncoder(nn.Module):
    """Faces (B, T, H, W) -> (B, T, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = _VisualBlock(1, 16, 32, stride=2)
        self.block2 = _VisualBlock(32, 32, 64)
        self.block3 = _VisualBlock(64, 64, 128)

    def forward(self, faces_BTHW: Tensor) -> Tensor:
        x_BTCHW: Tensor = self.block2(self._halve(self.block1(faces_BTHW[:, :, None])))
        x_BTCHW = self.block3(self._halve(x_BTCHW))
        return x_BTCHW.amax(dim=(3, 4))

    @staticmethod
    def _halve(x_BTCHW: Tensor) -> Tensor:
        pictures = x_BTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        pictures = functional.max_pool2d(pictures, 3, stride=2, padding=1)
        return pictures.reshape(*x_BTCHW.shape[:2], *pictures.shape[1:])


class _AudioBlock(nn.Sequential):
    """Cepstra (B, C, K, R) through two convolutions over coefficients and two over time."""

    def __init__(self, first: int, middle: int, last: int) -> None:
        convolutions = {
            "m_1": nn.Conv2d(first, middle, (5, 1), padding=(2, 0), bias=False),
            "m_2": nn.Conv2d(middle, last, (3, 1), padding=(1, 0), bias=False),
            "t_1": nn.Conv2d(last, last, (1, 5), padding=(0, 2), bias=False),
            "t_2": nn.Conv2d(last, last, (1, 3), padding=(0, 1), bias=False),
        }
        super().__init__(_rectified(convolutions))


class _AudioEncoder(nn.Module):
    """Cepstra (B, R, K) -> (B, R / 4, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = _AudioBlock(1, 16, 32)
        self.pool1 = nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1))
        self.block2 = _AudioBlock(32, 32, 64)
        self.pool2 = nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1))
        self.block3 = _AudioBlock(64, 64, 128)

    def forward(self, mfcc_BRK: Tensor) -> Tensor:
        x_BCKR: Tensor = self.block2(self.pool1(self.block1(mfcc_BRK.transpose(1, 2)[:, None])))
        x_BCKR = self.block3(self.pool2(x_BCKR))
        return x_BCKR.mean(dim=2).transpose(1, 2)


class _Attention(nn.Module):
    """Weighs every channel in every frame."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(num_channels, num_channels, 1, bias=False)
        self.bn = nn.BatchNorm1d(num_channels, eps=_EPSILON)

    def forward(self, features_BTC: Tensor) -> Tensor:
        weights_BCT: Tensor = torch.sigmoid(self.bn(self.attention(features_BTC.transpose(1, 2))))
        return features_BTC * weights_BCT.transpose(1, 2)


class _Detector(nn.Module):
    """What comes before and after, (B, T, 2 C) -> (B, T, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(2 * _NUM_FEATURES, _NUM_FEATURES // 2, batch_first=True)
        self.gru_backward = nn.GRU(2 * _NUM_FEATURES, _NUM_FEATURES // 2, batch_first=True)
        self.attention = _Attention(_NUM_FEATURES)

    def forward(self, features_BTC: Tensor) -> Tensor:
        forward_BTC, _ = self.gru_forward(features_BTC)
        backward_BTC, _ = self.gru_backward(features_BTC.flip(1))
        both_BTC: Tensor = torch.cat([forward_BTC, backward_BTC.flip(1)], dim=2)
        weighed_BTC: Tensor = self.attention(both_BTC)
        return weighed_BTC


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visualEncoder = _VisualEncoder()
        self.audioEncoder = _AudioEncoder()
        self.fusion = _Attention(2 * _NUM_FEATURES)
        self.detector = _Detector()


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.FC = nn.Linear(_NUM_FEATURES, 2)


class LrAsd(nn.Module):
    """The LR-ASD network: tells from a face and the sound whether the face speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.model = _Model()
        self.lossAV = _Head()
        self.lossV = _Head()

    def see(self, faces_BTHW: Tensor) -> Tensor:
        """Encode grey crops 0 … 255 as features (B, T, 128)."""
        seen_BTC: Tensor = self.model.visualEncoder((faces_BTHW / 255 - _GREY_MEAN) / _GREY_STD)
        return seen_BTC

    def hear(self, mfcc_BRK: Tensor) -> Tensor:
        """Encode cepstra, four rows a frame, as features (B, R / 4, 128)."""
        heard_BTC: Tensor = self.model.audioEncoder(mfcc_BRK)
        return heard_BTC

    def detect(self, heard_BTC: Tensor, seen_BTC: Tensor) -> Tensor:
        """Fuse both kinds of features to (B, T, 128)."""
        fused_BTC = self.model.fusion(torch.cat([heard_BTC, seen_BTC], dim=2))
        both_BTC: Tensor = self.model.detector(fused_BTC)
        return both_BTC

    def forward(self, mfcc_BRK: Tensor, seen_BTC: Tensor) -> Tensor:
        """Logits (B, T, 2) of being silent and of speaking, from what `see` gave."""
        logits_BT2: Tensor = self.lossAV.FC(self.detect(self.hear(mfcc_BRK), seen_BTC))
        return logits_BT2


def load(path: Path, *, device: str) -> LrAsd:
    """Load the network with the weights in a file, ready to score.

    Raises:
        WeightsError: the file holds something else, or not all of it.
    """
    net = LrAsd()
    with reading(path, "a network of LR-ASD", pull_again("lr_asd")):
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval().to(device)


@torch.inference_mode()
def speaking_scores(net: LrAsd, faces_THW: Faces, mfcc_RK: Cepstra) -> npt.NDArray[np.float32]:
    """Logit of speaking in each frame (T,): the mean over chunks of 1 … 6 s, each scored alone.

    Args:
        faces_THW: grey crops, uint8.
        mfcc_RK: their sound, 4 T rows.
    """
    return np.asarray(chunk_scores(net, faces_THW, mfcc_RK).mean(axis=0), np.float32)


@torch.inference_mode()
def chunk_scores(net: LrAsd, faces_THW: Faces, mfcc_RK: Cepstra) -> npt.NDArray[np.float32]:
    """Logit of speaking by chunk length (6, T): `speaking_scores` before the mean."""
    device = net.lossAV.FC.weight.device
    faces = torch.from_numpy(faces_THW).to(device)
    mfcc_TRK = (
        torch.from_numpy(mfcc_RK.astype(np.float32))
        .to(device)
        .reshape(len(faces), ROWS_PER_FRAME, -1)
    )
    whole_TC, cut_TC = _seen_whole(net, faces), _seen_cut(net, faces)

    def score(mfcc_BTRK: Tensor, seen_BTC: Tensor) -> Tensor:
        logits_BT2: Tensor = net(mfcc_BTRK.flatten(1, 2), seen_BTC)
        return logits_BT2[..., 1]

    rows = []
    for seconds in CHUNKS_S:
        at_edge_T = _at_edge(len(faces), seconds).to(device)
        seen_TC = torch.where(at_edge_T[:, None], cut_TC, whole_TC)
        rows.append(_in_chunks(score, seconds * _SECOND, mfcc_TRK, seen_TC))
    return np.asarray(torch.stack(rows).cpu().numpy(), np.float32)


def _in_chunks(run: Callable[..., Tensor], size: int, *inputs: Tensor) -> Tensor:
    """Run on whole chunks as one batch, then on what is left over; joined again along time."""
    num_frames = len(inputs[0])
    whole = num_frames - num_frames % size
    parts = [
        run(*(x[start:end].reshape(-1, length, *x.shape[1:]) for x in inputs)).flatten(0, 1)
        for start, end, length in ((0, whole, size), (whole, num_frames, num_frames - whole))
        if end > start
    ]
    return torch.cat(parts)


def _seen_cut(net: LrAsd, faces_THW: Tensor) -> Tensor:
    """Features of the faces where each second is seen by itself."""
    pieces = [
        _in_chunks(lambda x: net.see(x.float()), _SECOND, piece)
        for piece in torch.split(faces_THW, _PIECE)
    ]
    return torch.cat(pieces)


def _seen_whole(net: LrAsd, faces_THW: Tensor) -> Tensor:
    """Features of the faces where all is seen at once, in pieces that overlap for little memory."""
    features = []
    for start in range(0, len(faces_THW), _PIECE):
        first = max(0, start - _REACH)
        seen_TC = net.see(faces_THW[None, first : start + _PIECE + _REACH].float())[0]
        features.append(seen_TC[start - first : start - first + _PIECE])
    return torch.cat(features)


def _at_edge(num_frames: int, seconds: int) -> Tensor:
    """The frames that see the edge of a chunk of some seconds: (T,).

    A face is seen with `_REACH` frames around it. So wherever the chunk's edge is out of reach, the
    features are those of the whole, and elsewhere those of a chunk of one second, whose edges are
    edges of all others: two passes serve all six lengths.
    """
    frame_T = torch.arange(num_frames)
    after_T = frame_T % _SECOND
    edge_T = torch.where(after_T < _REACH, frame_T - after_T, frame_T - after_T + _SECOND)
    near_T = (after_T < _REACH) | (after_T >= _SECOND - _REACH)
    return near_T & (edge_T % (seconds * _SECOND) == 0)
