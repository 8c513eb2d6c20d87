"""What an edit leaves on record: inputs, settings, every step, and what was done otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from avipipe import __version__
from avipipe.editor.common.tasks import Task
from avipipe.manifests.edits import ClipEdit
from avipipe.manifests.rle import write_json
from avipipe.pages.render import environment, joined

JSON_NAME = "trace.json"
HTML_NAME = "trace.html"

MaskTells = Literal["edit", "stay"]
"""What a user's mask shows: what is edited, or what stays."""

_HERE = Path(__file__).parent
_CHART = (240, 64)
"""Width and height of a curve in pixels of the page."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepTrace(_Record):
    """A step of the solver; None is what its method does not know.

    Attributes:
        seconds: None where an earlier run made it.
        sigma: noise level from which it went on.
        precision: the factor p that the network was told.
        mask_share: of the user's mask, what is left after it.
    """

    step: int
    seconds: float | None
    sigma: float | None = None
    precision: int | None = None
    mask_share: float | None = None


class ChunkTrace(_Record):
    """A part of the video that was edited at once; `skipped` says why it was not."""

    index: int
    start: int
    num_frames: int
    seconds: float
    skipped: str = ""
    steps: tuple[StepTrace, ...] = ()


class MaskTrace(_Record):
    """The user's mask, and where was edited in the end.

    Attributes:
        tells: what the user's mask shows.
        kind: how it was given.
        given_share: of all pixels of the video, those that the user's mask shows.
        refined_share: of all pixels, those that were edited.
        details: of how it was found, where it was.
    """

    tells: MaskTells = "edit"
    kind: str
    precision: int
    given_share: float
    refined_share: float
    details: dict[str, Any] = {}


class EditTrace(_Record):
    """One edit; `files` are the hashes of all that it read."""

    instruction: str
    prompt: str
    source_prompt: str | None = None
    task: Task
    seed: int
    mask: MaskTrace
    sound: dict[str, Any]
    controls: tuple[str, ...] = ()
    num_references: int = 0
    files: dict[str, str] = {}
    chunks: tuple[ChunkTrace, ...]
    fallbacks: tuple[str, ...] = ()


class VideoTrace(_Record):
    """The video before and as it was edited: sizes are (width, height)."""

    path: str
    sha256: str
    size: tuple[int, int]
    fps: float
    duration_s: float
    has_sound: bool
    scaled_size: tuple[int, int]
    edited_size: tuple[int, int]
    cut_left_px: int
    cut_top_px: int
    num_frames: int


class Trace(_Record):
    """The whole run.

    Attributes:
        asked: the edit pair of a dataset that it is.
        outputs: name of a file beside this one -> sha256.
    """

    version: str = __version__
    video: VideoTrace
    edits: tuple[EditTrace, ...]
    asked: ClipEdit | None = None
    models: dict[str, Any]
    settings: dict[str, Any]
    seconds: float
    outputs: dict[str, str] = {}

    @property
    def fallbacks(self) -> list[str]:
        """All that was done otherwise, in words."""
        silent = [] if self.video.has_sound else [NO_SOUND]
        return [*silent, *(text for edit in self.edits for text in edit.fallbacks)]


class Still(NamedTuple):
    """A picture for the page, and what stands under it."""

    uri: str
    time: str


NO_SOUND = (
    "the video has no sound: it is edited without any, and the result is silent unless its sound "
    "is given or made"
)


def write_trace(folder: Path, trace: Trace, stills: Sequence[Sequence[Still]]) -> None:
    """Write `trace.json` and `trace.html`.

    Args:
        stills: some of each edit.
    """
    write_json(folder / JSON_NAME, trace.model_dump(mode="json"))
    page = (
        environment(_HERE)
        .get_template(HTML_NAME)
        .render(
            trace=trace,
            stills=stills,
            css=Markup(joined(_HERE / "trace.css")),
            curve=curve,
            chart=_CHART,
        )
    )
    (folder / HTML_NAME).write_text(page, encoding="utf-8")


def curve(values: list[float]) -> str:
    """Points of an SVG polyline for values in [0, 1], the first at the left."""
    width, height = _CHART
    step = width / max(1, len(values) - 1)
    return " ".join(f"{n * step:.1f},{height * (1 - v):.1f}" for n, v in enumerate(values))
