"""A tiny random checkpoint of every model that backends load, by the name of its weight."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from avipipe.annotators import audioset
from avipipe.annotators.faces.lr_asd import LrAsd
from avipipe.annotators.faces.lr_asd import load as load_lr_asd
from avipipe.annotators.registry import create
from avipipe.audio_agent.backends.audio_lm import Qwen2Audio, Qwen25Omni
from avipipe.audio_agent.backends.diffusion import AudioLdm2, StableAudio
from avipipe.audio_agent.backends.frames import QueriedSeparator
from avipipe.audio_agent.backends.speech import BarkSpeech, MmsSpeech
from avipipe.evaluate.extractors.clip import ClipVitB32
from avipipe.weights import locate
from tests.models import test_ast, test_demucs, test_pyannote, test_qwen3_vl, test_xmem_propagator
from tests.models.grounded_sam import write_grounding_dino, write_sam2
from tests.models.tiny_clip import write_clip
from tests.models.tiny_listeners import (
    write_bark,
    write_pe_a_frame,
    write_qwen2_5_omni,
    write_qwen2_audio,
)
from tests.models.tiny_matchers import write_clap, write_pe_av
from tests.models.tiny_sound_makers import write_audioldm2, write_mms_tts, write_stable_audio

MM_BIAS = -4.0

_OF_VIDEO = re.compile("memory_|mask_downsample|object_pointer|temporal_pos|no_|occlusion")
"""What SAM 2 has for frames that follow another."""


@dataclass(frozen=True)
class Tiny:
    """How a checkpoint is written into a folder, and what loads it in production.

    Attributes:
        spare: tensors of other models in the same files.
    """

    write: Callable[[Path], None]
    load: Callable[[], Any]
    spare: re.Pattern[str] = re.compile("$")


def _backend(role: str, name: str) -> Callable[[], Any]:
    return lambda: create(role, name).setup()


def _ast(folder: Path) -> None:
    test_ast.write_ast(folder, list(audioset.classes()))


def _audioldm2(folder: Path) -> None:
    clap = folder.parent / "clap of audioldm2"
    write_clap(clap)
    write_audioldm2(folder, clap)


def _qwen3_vl(folder: Path) -> None:
    test_qwen3_vl.write_model(folder, test_qwen3_vl.write_processor(folder))


def _xmem(folder: Path) -> None:
    folder.mkdir()
    test_xmem_propagator.write_checkpoint(folder)


def _lr_asd(folder: Path) -> None:
    folder.mkdir()
    torch.save(LrAsd().state_dict(), folder / "lr_asd_pretrain_AVA.model")


CHECKPOINTS: Mapping[str, Tiny] = {
    "ast": Tiny(_ast, _backend("tag", "ast")),
    "sam2": Tiny(write_sam2, _backend("segment", "sam2"), _OF_VIDEO),
    "sam2_video": Tiny(write_sam2, _backend("propagate", "sam2_video")),
    "grounding_dino": Tiny(write_grounding_dino, _backend("detect", "grounding_dino")),
    "mm_grounding_dino": Tiny(
        lambda folder: write_grounding_dino(folder, bias=MM_BIAS),
        _backend("detect", "mm_grounding_dino"),
    ),
    "pe_av": Tiny(write_pe_av, _backend("match", "pe_av")),
    "clap": Tiny(write_clap, _backend("match", "clap")),
    "clip_vitb32": Tiny(write_clip, lambda: ClipVitB32().setup()),
    "qwen3_vl": Tiny(_qwen3_vl, _backend("caption", "qwen3_vl")),
    "htdemucs": Tiny(test_demucs.save, _backend("separate", "htdemucs")),
    "xmem": Tiny(_xmem, _backend("propagate", "xmem")),
    "lr_asd": Tiny(_lr_asd, lambda: load_lr_asd(locate("lr_asd"), device="cpu")),
    "pyannote_diarization": Tiny(test_pyannote.write_pipeline, _backend("diarize", "pyannote")),
    "qwen2_audio": Tiny(write_qwen2_audio, lambda: Qwen2Audio().setup()),
    "qwen2_5_omni": Tiny(write_qwen2_5_omni, lambda: Qwen25Omni().setup()),
    "pe_a_frame": Tiny(write_pe_a_frame, lambda: QueriedSeparator().setup()),
    "bark": Tiny(write_bark, lambda: BarkSpeech().setup()),
    "mms_tts_eng": Tiny(write_mms_tts, lambda: MmsSpeech().setup()),
    "stable_audio": Tiny(write_stable_audio, lambda: StableAudio().setup()),
    "audioldm2": Tiny(_audioldm2, lambda: AudioLdm2().setup()),
}
"""Where a name is of a backend that shares another's weight, the backend's: `sam2_video`."""
