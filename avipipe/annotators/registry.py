"""Which backends there are for each role, and which of them a profile takes.

A backend is named by an import string and imported only when it is made, so a command line that
needs no model loads none.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from avipipe import plugins

_EMBEDDED = "avipipe.annotators.embedded"
_FACES = "avipipe.annotators.faces"
_LIGHT = "avipipe.annotators.light"
_PYANNET = "avipipe.annotators.pyannet.backends"
_FULL = "avipipe.annotators.full"

BACKENDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "vad": {
            "energy": f"{_EMBEDDED}.vad:EnergyVad",
            "silero": f"{_LIGHT}.vad:SileroVad",
            "pyannet": f"{_PYANNET}:PyanNetVad",
            "pyannote": f"{_FULL}.pyannote:PyannoteVad",
        },
        "diarize": {
            "cluster": f"{_EMBEDDED}.diarize:ClusterDiarizer",
            "pyannet": f"{_PYANNET}:PyanNetDiarizer",
            "pyannote": f"{_FULL}.pyannote:PyannoteDiarizer",
        },
        "separate": {
            "hpss": f"{_EMBEDDED}.separate:HpssSeparator",
            "htdemucs": f"{_FULL}.demucs:DemucsSeparator",
        },
        "tag": {
            "rules": f"{_EMBEDDED}.tag:RuleTagger",
            "yamnet": f"{_LIGHT}.tag:YamnetTagger",
            "ast": f"{_FULL}.tag:AstTagger",
        },
        "localize": {"motion": f"{_EMBEDDED}.localize:MotionLocalizer"},
        "active_speaker": {
            "none": f"{_EMBEDDED}.active_speaker:NoActiveSpeaker",
            "lr_asd": f"{_FACES}.speaker:FaceSpeaker",
        },
        "detect": {
            "motion": f"{_EMBEDDED}.detect:MotionDetector",
            "faces": f"{_LIGHT}.detect:FaceOrMotionDetector",
            "yolox": f"{_LIGHT}.things:YoloxDetector",
            "activation": f"{_LIGHT}.activation:ActivationDetector",
            "grounding_dino": f"{_FULL}.grounding_dino:GroundingDinoDetector",
            "mm_grounding_dino": f"{_FULL}.grounding_dino:MmGroundingDinoDetector",
        },
        "classify": {
            "none": f"{_EMBEDDED}.classify:NoClassifier",
            "mobilenet": f"{_LIGHT}.mobilenet:MobilenetClassifier",
        },
        "match": {
            "none": f"{_EMBEDDED}.match:NoMatcher",
            "classes": "avipipe.annotators.match.classes:ClassMatcher",
            "clap": f"{_FULL}.match:ClapMatcher",
            "pe_av": f"{_FULL}.match:PeAvMatcher",
        },
        "text": {
            "none": f"{_EMBEDDED}.text:NoTextFinder",
            "ppocr": f"{_LIGHT}.text:PpOcrTextFinder",
        },
        "segment": {
            "grabcut": f"{_EMBEDDED}.segment:GrabCutSegmenter",
            "selfie": f"{_LIGHT}.segment:SelfieSegmenter",
            "deeplab": f"{_LIGHT}.segment:DeeplabSegmenter",
            "sam2": f"{_FULL}.sam2:Sam2Segmenter",
        },
        "propagate": {
            "flow": f"{_EMBEDDED}.propagate:FlowPropagator",
            "xmem": f"{_FULL}.xmem:XmemPropagator",
            "sam2_video": f"{_FULL}.sam2_video:Sam2VideoPropagator",
        },
        "caption": {
            "template": f"{_EMBEDDED}.caption:TemplateCaptioner",
            "qwen3_vl": f"{_FULL}.qwen3_vl:Qwen3VlCaptioner",
            "endpoint": f"{_FULL}.endpoint:EndpointCaptioner",
        },
        "instruct": {
            "template": "avipipe.annotators.instruct.template:TemplateInstructor",
            "qwen3_vl": f"{_FULL}.qwen3_vl:Qwen3VlInstructor",
            "endpoint": f"{_FULL}.endpoint:EndpointInstructor",
        },
    }
)
"""Role -> backend name -> `module:Class`."""

PROFILES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "embedded": {
            "vad": "energy",
            "diarize": "cluster",
            "separate": "hpss",
            "tag": "rules",
            "localize": "motion",
            "active_speaker": "none",
            "detect": "motion",
            "classify": "none",
            "match": "none",
            "text": "none",
            "segment": "grabcut",
            "propagate": "flow",
            "caption": "template",
            "instruct": "template",
        },
        "light": {
            "vad": "silero",
            "diarize": "pyannet",
            "separate": "hpss",
            "tag": "yamnet",
            "localize": "motion",
            "active_speaker": "lr_asd",
            "detect": "yolox",
            "classify": "mobilenet",
            "match": "classes",
            "text": "ppocr",
            "segment": "selfie",
            "propagate": "flow",
            "caption": "template",
            "instruct": "template",
        },
        "full": {
            "vad": "pyannote",
            "diarize": "pyannote",
            "separate": "htdemucs",
            "tag": "ast",
            "localize": "motion",
            "active_speaker": "lr_asd",
            "detect": "grounding_dino",
            "classify": "none",
            "match": "pe_av",
            "text": "none",
            "segment": "sam2",
            "propagate": "xmem",
            "caption": "qwen3_vl",
            "instruct": "template",
        },
    }
)
"""Profile -> role -> backend name."""


def create(role: str, name: str) -> Any:
    """Make the backend `name` for `role`; nothing is loaded before its `setup()`.

    Args:
        name: a registered backend, or `module:Class` of one that lives outside avipipe.
    Raises:
        ConfigError: there is no such role or backend; the message names the nearest one.
    """
    plugins.check_known("annotator role", role, BACKENDS)
    return plugins.load(f"{role} backend", name, BACKENDS[role])()


def profile(name: str) -> Mapping[str, str]:
    """The backend of each role in a profile.

    Raises:
        ConfigError: there is no such profile; the message names the nearest one.
    """
    plugins.check_known("profile", name, PROFILES)
    return PROFILES[name]


def chosen(name: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """The backend of each role in a profile, some of them replaced.

    Args:
        overrides: role -> backend.
    Raises:
        ConfigError: there is no such profile or role; the message names the nearest one.
    """
    for role in overrides:
        plugins.check_known("annotator role", role, BACKENDS)
    return {**profile(name), **overrides}
