"""What an annotator is: one model, or one classical method, behind one small protocol.

An annotator knows arrays and nothing else: no Ray, no ledger, no dataset paths. Every result says
how sure it is; `confidence` is in [0, 1], and None means "unknown", which is an honest answer.

Shape suffixes: T frames, H height, W width, C channels, N audio samples. Pixels are uint8 RGB,
audio is float32 in [-1, 1], boxes are (x0, y0, x1, y1) in pixels, half-open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]
Wave = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Heat = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

HEARING_HZ = 16_000
"""Rate at which sound is analysed; models may have their own."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A half-open interval in which `label` (a speaker, or "speech") is heard."""

    start_s: float
    end_s: float
    label: str = "speech"


@dataclass(frozen=True, slots=True)
class Speech:
    """Speech turns: where somebody speaks."""

    turns: tuple[Turn, ...]
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who speaks when. `num_speakers` and `overlap_ratio` are None where they cannot be told."""

    turns: tuple[Turn, ...]
    num_speakers: int | None
    overlap_ratio: float | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Stems:
    """A mixture taken apart: name -> (C, N) wave, adding up to about the mixture."""

    waves: Mapping[str, Wave]
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Tags:
    """Scores in [0, 1] of sound groups: `speech`, `music`, `impact`, `animal`, `vehicle`, ….

    A group that the backend cannot judge is absent, not zero. `details` holds the measurements
    behind the scores, for the record; `classes` the scores of the likeliest classes of a backend
    that knows classes (AudioSet display names), from which `scores` are made.
    """

    scores: Mapping[str, float]
    confidence: float | None
    details: Mapping[str, float] = field(default_factory=dict)
    classes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Localization:
    """Where in the picture the sound comes from.

    Attributes:
        correlation: of the best region with the sound, in [-1, 1]; None where nothing moves.
        p_value: share of time-shifted audio that does at least as well; None where untestable.
        margin: correlation minus that of the best region elsewhere; None with `correlation`.
        lag_s: lag of the best correlation (positive: the sound comes after the motion).
        heat_HW: float32 in [0, 1] at the size of the frames given, all zero where unknown.
        box: of the best region in pixels of the frames given; None where unknown.
    """

    correlation: float | None
    p_value: float | None
    margin: float | None
    lag_s: float | None
    heat_HW: Heat
    box: Box | None
    confidence: float | None
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpeakerTrack:
    """A face over time, and how strongly it seems to speak in each frame.

    Attributes:
        frames: in which it is seen, ascending; `boxes` and `scores` go with them.
        scores: logit of speaking (0: even odds), before any gating by sound.
        sync_correlation: of the mouth's motion with the sound, in [-1, 1]; None where untestable.
        sync_p_value: share of time-shifted sound that does at least as well.
        sync_lag_s: lag of the best correlation, positive where the sound is late.
    """

    frames: tuple[int, ...]
    boxes: tuple[Box, ...]
    scores: tuple[float, ...]
    sync_correlation: float | None = None
    sync_p_value: float | None = None
    sync_lag_s: float | None = None


@dataclass(frozen=True, slots=True)
class ActiveSpeakers:
    """Face tracks; `confidence` None means that this backend sees no faces at all."""

    tracks: tuple[SpeakerTrack, ...]
    confidence: float | None


@dataclass(frozen=True, slots=True)
class ThingTrack:
    """A thing of a known class over time.

    Attributes:
        label: its likeliest class.
        frames: in which it was looked for and seen, ascending; `boxes` and `scores` go with them.
        scores: of that class, in [0, 1].
    """

    label: str
    frames: tuple[int, ...]
    boxes: tuple[Box, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """A source that is heard, and what is seen that explains it best.

    Attributes:
        heard: score of the source in [0, 1].
        thing: None where nothing that is seen explains it.
        match: how well, in [0, 1]: 1 where both are sure and the thing is the source.
    """

    source: str
    heard: float
    thing: str | None
    match: float


@dataclass(frozen=True, slots=True)
class Detection:
    """A detected box in one frame; `rough_HW` is a rough silhouette where the detector sees one."""

    frame: int
    box: Box
    label: str
    score: float
    rough_HW: Mask | None = None


@dataclass(frozen=True, slots=True)
class FrameMask:
    """A mask of one frame (H, W)."""

    mask_HW: Mask
    score: float | None


@dataclass(frozen=True, slots=True)
class PropagatedMasks:
    """A mask in every frame (T, H, W), and per frame how far it can be trusted, in [0, 1]."""

    masks_THW: Mask
    quality_T: npt.NDArray[np.float32]
    confidence: float | None


@dataclass(frozen=True, slots=True)
class SceneCaption:
    """Caption of a scene, one sentence or more; `label` names the instance."""

    text: str
    label: str
    confidence: float | None


class Annotator(Protocol):
    """What every annotator backend has.

    `name` and `version` and `weights` (name -> sha256, empty for classical methods) go into the
    stage key, so a changed backend recomputes what it made. `setup` runs once in each worker,
    before the first call, and is where weights are loaded and heavy libraries imported.
    """

    name: str
    version: int

    @property
    def weights(self) -> Mapping[str, str]: ...

    def setup(self) -> None: ...


class Vad(Annotator, Protocol):
    """Voice activity detection."""

    def speech(self, wav_N: Wave, *, sample_rate_hz: int) -> Speech: ...


class Diarizer(Annotator, Protocol):
    """Speaker diarization, given where speech is."""

    def diarize(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Diarization: ...


class Separator(Annotator, Protocol):
    """Source separation."""

    def separate(self, wav_CN: Wave, *, sample_rate_hz: int) -> Stems: ...


class AudioTagger(Annotator, Protocol):
    """Audio tagging: names groups of sounds."""

    def tag(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Tags: ...


class SoundLocalizer(Annotator, Protocol):
    """Sound localization: finds the region whose motion goes with the sound."""

    def localize(
        self, frames_THWC: Frames, *, fps: Fraction, wav_N: Wave, sample_rate_hz: int
    ) -> Localization: ...


class ActiveSpeaker(Annotator, Protocol):
    """Active-speaker detection: finds faces and scores which of them speaks.

    `height_px` is the short side of the frames that it wants; 0 takes any.
    """

    height_px: int

    def score(
        self, frames_THWC: Frames, *, fps: Fraction, wav_N: Wave, sample_rate_hz: int
    ) -> ActiveSpeakers: ...


class Detector(Annotator, Protocol):
    """Finds boxes of the sounding instance in some frames, best first.

    `prompts` are nouns for detectors that read; `localization` is for those that do not, and
    `speakers` for those that know faces (boxes and heat are in pixels of the frames given here).
    """

    def detect(
        self,
        frames_THWC: Frames,
        *,
        fps: Fraction,
        prompts: Sequence[str],
        localization: Localization | None,
        speakers: ActiveSpeakers | None = None,
    ) -> list[Detection]: ...


class Classifier(Annotator, Protocol):
    """Image classification: names what a picture shows, and where in it that is.

    `height_px` is the short side of the frames that it wants to see parts of; 0 for one that names
    nothing.
    """

    height_px: int

    def classify(self, crops: Sequence[Frames]) -> list[dict[str, float]]:
        """Classify each picture (h, w, 3): noun -> score in [0, 1], the best first.

        A noun that the backend does not have, or is sure not to see, is absent.
        """
        ...

    def locate(self, frame_HWC: Frames, noun: str) -> Heat:
        """Map of the evidence for a noun (H, W), in [0, 1]; all zero where there is none."""
        ...


class TextFinder(Annotator, Protocol):
    """Text detection: finds writing, burnt in or on things; it need not read it.

    `height_px` is the short side of the frames that it wants; 0 for one that looks for none.
    """

    height_px: int

    def find(self, frames: Sequence[Frames]) -> list[tuple[Box, ...]] | None:
        """Boxes around the lines of text of each picture (h, w, 3), from top to bottom.

        None: this backend looks for none.
        """
        ...


@runtime_checkable
class ThingFinder(Protocol):
    """A detector that can also name and track everything in view, unasked.

    `height_px` is the short side of the frames that it wants at most.
    """

    height_px: int

    def things(self, frames_THWC: Frames, *, fps: Fraction) -> list[ThingTrack]:
        """Tracks of everything that it has names for, the surest first."""
        ...


class Matcher(Annotator, Protocol):
    """Tells which thing in the picture makes the sound, by what it looks like.

    `sample_rate_hz` is what it wants to hear; 0 for one that never listens itself, which costs next
    to nothing.
    """

    sample_rate_hz: int

    def match(
        self,
        crops: Sequence[Frames],
        *,
        labels: Sequence[str],
        heard: Mapping[str, float] | None = None,
        fps: Fraction,
        wav_N: Wave,
        sample_rate_hz: int,
    ) -> list[float | None]:
        """Similarity of the sound with each crop (t, h, w, 3) of the whole clip, in [-1, 1].

        `labels` names what each crop shows, `heard` the classes of sounds that a tagger heard, with
        their scores (`Tags.classes`). None: this backend cannot tell.
        """
        ...


@runtime_checkable
class SourceMatcher(Protocol):
    """A matcher that also knows the sources of sounds by name."""

    def explain(self, heard: Mapping[str, float], seen: Mapping[str, float]) -> list[Explained]:
        """Explanations of every source that is heard, the best explained first.

        Args:
            heard: class of sounds -> score, as a tagger gives them.
            seen: name of a thing -> score.
        """
        ...


class Segmenter(Annotator, Protocol):
    """Cuts the thing in a box out of one frame.

    A rough silhouette guides it, if there is one; `label` says what the thing is, if that is known.
    """

    def segment(
        self, frame_HWC: Frames, *, box: Box, rough_HW: Mask | None = None, label: str = ""
    ) -> FrameMask: ...


class Propagator(Annotator, Protocol):
    """Carries one mask through all frames, both ways from the seed frame."""

    def propagate(
        self, frames_THWC: Frames, *, seed_frame: int, seed_mask_HW: Mask
    ) -> PropagatedMasks: ...


class Captioner(Annotator, Protocol):
    """Describes a clip from `num_frames` of its frames and the evidence gathered so far."""

    num_frames: int

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> SceneCaption: ...
