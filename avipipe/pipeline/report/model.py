"""What a report shows, as plain data: `collect` makes it, `render` draws it.

Hours are of source time, spans are seconds of source time, and pictures are JPEG data URIs, so a
`Report` needs neither the dataset nor its media any more.
"""

from dataclasses import dataclass
from typing import Literal

Status = Literal["keep", "drop", "fail", "pending"]


@dataclass(frozen=True, slots=True)
class OutcomeTally:
    """An amount, in items or hours, by what became of it."""

    kept: float = 0
    dropped: float = 0
    failed: float = 0
    pending: float = 0

    @property
    def total(self) -> float:
        return self.kept + self.dropped + self.failed + self.pending


@dataclass(frozen=True, slots=True)
class Loss:
    """Items that stopped at a stage for one reason."""

    status: str
    reason: str
    """Reason of a drop or a failure; empty where items are pending."""
    items: int
    hours: float


@dataclass(frozen=True, slots=True)
class StageRow:
    """Row of the funnel: one stage. `num_in` is counted at its entry, apart from its outcomes."""

    name: str
    level: Literal["source", "clip"]
    num_in: int
    items: OutcomeTally
    hours: OutcomeTally
    losses: tuple[Loss, ...]
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int

    @property
    def adds_up(self) -> bool:
        """Whether in = kept + dropped + failed + pending."""
        return self.num_in == self.items.total


@dataclass(frozen=True, slots=True)
class FaceMark:
    """A face in a picture, in its pixels; `score` is the logit of speaking just then."""

    x: float
    y: float
    width: float
    height: float
    name: str
    score: float

    @property
    def speaks(self) -> bool:
        return self.score >= 0


@dataclass(frozen=True, slots=True)
class FramePicture:
    """A frame, and the outline of a mask in it as an SVG path in the frame's pixels."""

    uri: str
    width: int
    height: int
    time_s: float | None = None
    outline: str = ""
    note: str = ""
    faces: tuple[FaceMark, ...] = ()


@dataclass(frozen=True, slots=True)
class DegradedMask:
    """One degraded mask m_p, drawn into the frame of its clip's `frames[pair_frame]`."""

    p: int
    outline: str
    iou: float
    """Intersection over union with the exact mask."""
    is_box: bool


@dataclass(frozen=True, slots=True)
class Stripe:
    """A half-open interval of a clip, in seconds of the clip, and what is so in it."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True, slots=True)
class SoundSummary:
    """Sound of a clip: peaks, speech, speakers, onsets, classes.

    Attributes:
        peaks: in [0, 1], evenly spread over the clip.
        speech, speakers: labelled with the voice.
        classes: the likeliest ones with their scores in [0, 1], best first.
    """

    peaks: tuple[float, ...]
    speech: tuple[Stripe, ...]
    speakers: tuple[Stripe, ...]
    onsets_s: tuple[float, ...]
    classes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class FaceTimeline:
    """A face over time: `stripes` are labelled `speaks` or `silent`; `note` sums it up."""

    name: str
    stripes: tuple[Stripe, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Argument:
    """Argument of one measure for or against a clip."""

    claim: str
    """Statement that holds where the measure speaks for the clip."""
    value: str
    log_odds: float
    by_prior: bool


@dataclass(frozen=True, slots=True)
class ClipVerdict:
    """Verdict on a clip, on the evidence that it has.

    Attributes:
        best_probability: the most that the probability may become with evidence to come.
        start: log-odds that a clip has before anything is known; with those of all arguments they
            are those of the probability.
        strong, weak: what speaks for and against, strongest first; the weak ones hardly matter.
        limits: the hard limits that are set.
        uncalibrated: `ROLE (BACKEND)` of the annotators whose measures count by their priors.
    """

    probability: float
    best_probability: float
    min_probability: float
    start: float
    strong: tuple[Argument, ...]
    weak: tuple[Argument, ...]
    limits: tuple["Measure", ...]
    uncalibrated: tuple[str, ...]

    @property
    def scale(self) -> float:
        """Scale of the bars: log-odds at their ends."""
        return max([1.0, *(abs(argument.log_odds) for argument in self.strong)])


@dataclass(frozen=True, slots=True)
class Measure:
    """One piece of evidence against a hard limit. `low` and `high` bound the scale it is on."""

    stage: str
    """Stage whose evidence it is."""
    claim: str
    """Statement that holds where the clip passes."""
    quantity: str
    unit: str
    value: float | None
    limit: float
    sense: Literal["at_least", "at_most"]
    passed: bool
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClipCard:
    """One clip of the gallery."""

    clip_id: str
    status: Status
    reason: str
    stage: str
    """Stage at which the clip stopped; of a kept clip its last one."""
    because: str
    """Reason of the drop, in a sentence; empty for a kept clip."""
    deciding: str
    """Hard limit that the clip misses, or what is most against it; empty for a kept clip."""
    source_uri: str
    start_s: float
    end_s: float
    label: str
    caption: str
    backend: str
    """Backend of the caption."""
    av_offset_ms: float | None
    """Offset of the sound against the picture after the cut; positive: the sound is late."""
    frames: tuple[FramePicture, ...]
    pair_frame: int
    levels: tuple[DegradedMask, ...]
    stills: tuple[FramePicture, ...]
    """Stills that a stage left: a heat map, and a strip of frames if the clip was never cut."""
    sound: SoundSummary | None
    faces: tuple[FaceTimeline, ...]
    num_faces: int
    """Number of faces that were found; `faces` may be fewer."""
    verdict: ClipVerdict | None
    """Verdict on the clip; None where nothing was measured."""
    backends: tuple[tuple[str, str], ...]
    """Annotators that looked at the clip or listened to it: (role, `name@version`)."""
    command: str


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One failed source or clip."""

    item_id: str
    stage: str
    message: str
    attempts: int
    log_tail: str


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """The failures of one kind; `rows` may be fewer than `num`."""

    kind: str
    num: int
    command: str
    rows: tuple[FailureRow, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """Outlook: what would be kept as the probability that is asked moves, and how good it is.

    `settled` clips have every piece of evidence that `decide` reads; `open` ones were stopped
    before the rest of it was gathered, and are kept at most.

    Attributes:
        xs: probabilities asked, rising.
        settled, open: clips at each of them; `settled_hours`, `open_hours` alike.
        precision: mean probability of the settled clips that are kept; None where there are none.
        recall: what is kept of the sum of the probabilities of all settled clips; None without any.
        limit: the probability that is asked, as it is configured; one of `xs`.
        num_settled: of all settled clips, kept or not.
    """

    xs: tuple[float, ...]
    settled: tuple[int, ...]
    open: tuple[int, ...]
    settled_hours: tuple[float, ...]
    open_hours: tuple[float, ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    limit: float
    num_settled: int
    sense: Literal["at_least"] = "at_least"

    @property
    def now(self) -> int:
        """Index in `xs` of the configured probability."""
        return self.xs.index(self.limit)


@dataclass(frozen=True, slots=True)
class Curve:
    """Curve of clips and hours that would be kept as one hard limit moves.

    Attributes:
        name: of the limit, in `stages.decide`.
        xs: values of the limit, rising.
        settled, open: clips at each of them, as in `Outlook`; `settled_hours`, `open_hours` alike.
        num_known: clips that have the evidence this limit is about.
        limit: as it is configured; one of `xs`.
    """

    name: str
    claim: str
    quantity: str
    unit: str
    stage: str
    sense: Literal["at_least", "at_most"]
    limit: float
    num_known: int
    xs: tuple[float, ...]
    settled: tuple[int, ...]
    open: tuple[int, ...]
    settled_hours: tuple[float, ...]
    open_hours: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Row of the table of sources: one line of the list."""

    uri: str
    source_id: str
    status: Status
    reason: str
    duration_s: float | None
    num_clips: int
    num_kept: int


@dataclass(frozen=True, slots=True)
class SplitRow:
    """Row of the table of splits: one published split."""

    name: str
    num_clips: int
    duration_s: float
    num_shards: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """The report: everything on the page. Lists that could grow are bounded samples."""

    title: str
    out: str
    generation: int
    """Generation of the published dataset; 0 before the first."""
    profile: str
    config_hash: str
    backends: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    """Backends of the build: (role, backend, its weights as (name, licence))."""
    stages: tuple[StageRow, ...]
    clips: tuple[ClipCard, ...]
    uncalibrated: tuple[str, ...]
    """`ROLE (BACKEND)` of the annotators of this build for which its decision is not calibrated."""
    held: str
    """Reliability of the profile's decisions, cross-validated; empty where not measured."""
    outlook: Outlook | None
    """Outlook; None where no clip has evidence."""
    curves: tuple[Curve, ...]
    failures: tuple[FailureGroup, ...]
    sources: tuple[SourceRow, ...]
    num_sources: int
    splits: tuple[SplitRow, ...]
    num_retracted: int
    """Number of published clips that were decided against later."""
    num_clips: int
    """Number of clips ever considered."""
    num_upscaled: int
    """Number of kept clips that have larger pictures than their sources."""
    items: OutcomeTally
    """Clips by what became of them."""
    hours: OutcomeTally
    fates: tuple[Loss, ...]
    """Reasons for which clips stopped, over all stages, most first."""
