"""ImageBind's reader of sounds, the paper's own, in place of CLAP."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from avipipe.annotators.base import HEARING_HZ, Wave
from avipipe.annotators.imagebind.network import ImageBindTower, own_part
from avipipe.annotators.imagebind.views import audio_views
from avipipe.annotators.reading import reading
from avipipe.editor.common.memory import weight_bytes

_WHAT = "ImageBind"
_REMEDY = "Name a whole checkpoint, as imagebind_huge.pth, in models.imagebind"


@dataclass(frozen=True, slots=True)
class ImageBindReader:
    """ImageBind's tower of sounds, which turns one into an embedding of its meaning."""

    model: ImageBindTower

    @torch.no_grad()
    def meaning(self, wave_N: Wave) -> Tensor:
        """The embedding of a sound, (D,), on the CPU: the mean of those of three clips of 2 s.

        Each of these is of unit length; the original multiplies them by 20.

        Args:
            wave_N: mono at 16 kHz.
        Raises:
            AnnotatorError: less than 25 ms.
        """
        views_KCMF = audio_views(wave_N[None], sample_rate_hz=HEARING_HZ, is_shared=False)
        device = next(self.model.parameters()).device
        found_KD: Tensor = self.model(torch.from_numpy(views_KCMF).to(device))
        return found_KD.mean(0).cpu()


def load_imagebind_reader(checkpoint: Path) -> ImageBindReader:
    """The tower of sounds of a checkpoint in ImageBind's own layout, on the CPU.

    Raises:
        WeightsError: it is missing, no such checkpoint, or not whole.
    """
    with reading(checkpoint, _WHAT, _REMEDY):
        state = _sound_part(checkpoint)
        tower = _blank(state)
        tower.load_state_dict(state, assign=True)
    return ImageBindReader(tower.float().eval())


def imagebind_sizes(checkpoint: Path) -> tuple[int, int]:
    """Size of the embeddings of such a checkpoint, and bytes of its weights for sounds.

    Raises:
        WeightsError: it is missing, or no such checkpoint.
    """
    with reading(checkpoint, _WHAT, _REMEDY):
        state = _sound_part(checkpoint)
        tower = _blank(state)
    num_meaning = len(state["modality_heads.audio.2.weight"])
    return num_meaning, weight_bytes(tower, torch.float32)


def _sound_part(checkpoint: Path) -> dict[str, Tensor]:
    """Its tensors for sounds; the others, most of 4.5 GB, are not read."""
    return own_part("audio", torch.load(checkpoint, "cpu", weights_only=True, mmap=True))


def _blank(state: dict[str, Tensor]) -> ImageBindTower:
    with torch.device("meta"):
        return ImageBindTower("audio", state)
