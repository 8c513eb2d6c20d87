"""Clips with exact ground truth: masks, cuts, sound events, speakers and verdicts are known."""

from avipipe.synth.encode import write_clip
from avipipe.synth.generate import generate
from avipipe.synth.render import SynthClip, render
from avipipe.synth.scenes import DEFAULT_KINDS, KINDS, Kind
from avipipe.synth.truth import ObjectTrack, Truth, VoiceSpan, load_truth

__all__ = [
    "DEFAULT_KINDS",
    "KINDS",
    "Kind",
    "ObjectTrack",
    "SynthClip",
    "Truth",
    "VoiceSpan",
    "generate",
    "load_truth",
    "render",
    "write_clip",
]
