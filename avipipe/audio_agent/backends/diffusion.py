"""Sounds and music from words, by diffusion."""

from typing import Any, ClassVar

import numpy as np

from avipipe.annotators.loading import device, load_pipeline
from avipipe.annotators.weighted import Weighted
from avipipe.audio_agent.schema import Kind
from avipipe.audio_agent.tools import Sound

_SHORTEST_S = 3.0
"""What is asked of a model at least; of less they make a mess."""

_NEGATIVE = "low quality, average quality, noise, distortion"


class _Diffusion(Weighted):
    gpu = True
    cost_usd: float | None = 0.0
    kinds: ClassVar[frozenset[Kind]] = frozenset({"sfx", "music"})
    _pipeline_class: ClassVar[str]

    def setup(self) -> None:
        """Load the diffusion pipeline, once; half precision on a GPU.

        Raises:
            WeightsError: missing, corrupted, or not what diffusers can load.
        """
        import diffusers
        import torch

        (weight,) = self.needs
        dtype = torch.float16 if device() == "cuda" else torch.float32
        kind = getattr(diffusers, self._pipeline_class)
        self._pipeline = load_pipeline(weight, kind, instead=self._instead(), dtype=dtype)
        self._pipeline.set_progress_bar_config(disable=True)

    def _instead(self) -> dict[str, Any]:
        """Name of a part -> its class, where that is not the one of the checkpoint's index."""
        return {}

    def _run(self, prompt: str, seed: int, **options: Any) -> Any:
        import torch

        generator = torch.Generator("cpu").manual_seed(seed)
        made = self._pipeline(prompt, negative_prompt=_NEGATIVE, generator=generator, **options)
        return made.audios[0]


class StableAudio(_Diffusion):
    """Generates sounds by Stable Audio Open: stereo, 44.1 kHz, at most 47 s.

    Source: Evans et al., Stable Audio Open (arXiv 2407.14358), as diffusers has it.
    """

    name = "stable_audio"
    needs = ("stable_audio",)
    _pipeline_class = "StableAudioPipeline"

    def generate(self, prompt: str, *, duration_s: float, seed: int) -> Sound:
        """Generate a sound, cut to `duration_s`; shorter where the model cannot make as much."""
        vae, transformer = self._pipeline.vae, self._pipeline.transformer
        rate_hz = int(vae.config.sampling_rate)
        longest_s = transformer.config.sample_size * vae.hop_length / rate_hz
        made_s = min(max(duration_s, _SHORTEST_S), longest_s)
        wav_CN = self._run(prompt, seed, audio_end_in_s=made_s).float().cpu().numpy()
        return Sound(np.asarray(wav_CN, dtype=np.float32), rate_hz)


class AudioLdm2(_Diffusion):
    """Generates sounds by AudioLDM 2: mono, 16 kHz.

    Source: Liu et al., AudioLDM 2 (arXiv 2308.05734), as diffusers has it.
    """

    name = "audioldm2"
    needs = ("audioldm2",)
    _pipeline_class = "AudioLDM2Pipeline"

    def _instead(self) -> dict[str, Any]:
        """Its index names a class of GPT-2 that can no longer generate."""
        from transformers import GPT2LMHeadModel

        return {"language_model": GPT2LMHeadModel}

    def generate(self, prompt: str, *, duration_s: float, seed: int) -> Sound:
        """Generate a sound, of `duration_s` or, where that is very short, 3 s."""
        made_s = max(duration_s, _SHORTEST_S)
        wav_N = self._run(prompt, seed, audio_length_in_s=made_s)
        rate_hz = int(self._pipeline.vocoder.config.sampling_rate)
        return Sound(np.asarray(wav_N, dtype=np.float32)[None], rate_hz)
