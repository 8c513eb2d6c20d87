"""From words to a mask: the profile's detector finds the thing, its propagator follows it."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from avipipe.annotators import registry
from avipipe.annotators.base import HEARING_HZ, Detection, Detector, Frames, Mask, Wave
from avipipe.annotators.instance import find_instance
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.masks_in import UserMask
from avipipe.errors import ConfigError
from avipipe.manifests import rle
from avipipe.manifests.rle import MaskTrack
from avipipe.manifests.samples import FPS

SHORT_SIDE_PX = 360
"""Size at which the thing is looked for, that of the light profile's backends."""
PRECISION = 1
"""Of what models find: near the truth, but for its edge."""

# Seeds that are tried, until the track agrees with the masks of the other frames by so much.
# Choices.
_MAX_SEEDS = 3
_MIN_AGREEMENT = 0.8
_PERSON = re.compile(
    r"\b(person|people|wom[ae]n|m[ae]n|girls?|boys?|child|kid|lady|guy|speaker|singer|face)\b", re.I
)


def ground(
    words: str, footage: Footage, wav_N: Wave, profile: str, *, precision: int | None
) -> UserMask:
    """The mask of what words name, or, where the detector cannot read, of what sounds.

    Holds the whole video at 360 pixels in memory.

    Args:
        wav_N: the sound of the video, mono at 16 kHz.
        profile: whose detector, segmenter and propagator are used.
    Raises:
        ConfigError: nothing is found.
    """
    frames_FHWC, size = _small(footage)
    backends = registry.profile(profile)
    tools = {role: _ready(role, backends[role]) for role in ("detect", "segment", "propagate")}
    fallbacks = []
    detections = tools["detect"].detect(
        frames_FHWC, fps=Fraction(FPS), prompts=[words], localization=None
    )
    if not detections:
        detections = _by_sound(tools["detect"], frames_FHWC, wav_N, words, backends)
        fallbacks.append(
            f"the detector `{backends['detect']}` did not find {words!r} by its name: it took what "
            "moves with the sound; give a mask, or use --profile full to find things by name"
        )
    instance = find_instance(
        frames_FHWC,
        detections,
        segmenter=tools["segment"],
        propagator=tools["propagate"],
        max_seeds=_MAX_SEEDS,
        min_agreement=_MIN_AGREEMENT,
    )
    if instance is None or not instance.track.masks_THW.any():
        raise ConfigError(
            f"nothing that is called {words!r} was found in the video with the detector "
            f"`{backends['detect']}` of the profile {profile}; use other words, give a mask "
            "(--mask-box, --mask-polygon or --mask), or use --profile full"
        )
    counts = tuple(rle.encode(_enlarged(mask_HW, size)) for mask_HW in instance.track.masks_THW)
    seed = instance.seed.detection
    return UserMask(
        MaskTrack(size, FPS, counts),
        PRECISION if precision is None else precision,
        f"words {words!r}",
        tuple(fallbacks),
        {
            "profile": profile,
            "backends": {role: tool.name for role, tool in tools.items()},
            "weights": {role: dict(tool.weights) for role, tool in tools.items()},
            "label": seed.label,
            "frame": seed.frame,
            "score": seed.score,
            "agreement": instance.agreement,
        },
    )


def _by_sound(
    detector: Detector,
    frames_FHWC: Frames,
    wav_N: Wave,
    words: str,
    backends: Mapping[str, str],
) -> list[Detection]:
    """What a detector finds that goes by sound, motion and speaking faces."""
    heard: dict[str, Any] = {"fps": Fraction(FPS), "wav_N": wav_N, "sample_rate_hz": HEARING_HZ}
    localization = _ready("localize", backends["localize"]).localize(frames_FHWC, **heard)
    is_person = _PERSON.search(words) is not None
    speakers = None
    if is_person:
        speakers = _ready("active_speaker", backends["active_speaker"]).score(frames_FHWC, **heard)
    return detector.detect(
        frames_FHWC,
        fps=Fraction(FPS),
        prompts=["person" if is_person else words],
        localization=localization,
        speakers=speakers,
    )


def _ready(role: str, name: str) -> Any:
    backend = registry.create(role, name)
    backend.setup()
    return backend


def _small(footage: Footage) -> tuple[Frames, tuple[int, int]]:
    """All frames with a short side of 360 pixels at most, and the full size."""
    parts, size = [], (0, 0)
    for _, part in footage.segments():
        size = part.shape[1:3]
        scale = min(1.0, SHORT_SIDE_PX / min(size))
        small = (round(size[1] * scale), round(size[0] * scale))
        parts += [cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in part]
    return np.stack(parts), size


def _enlarged(mask_HW: Mask, size: tuple[int, int]) -> Mask:
    soft = cv2.resize(mask_HW.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(soft > 0.5)
