"""Takes a file through the stages that `build` takes it through, and judges what they write."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avipipe.errors import ItemError
from avipipe.manifests.records import Evidence, Keep, SourceLine, Span
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME
from avipipe.stages.base import Item, Stage
from avipipe.stages.cut import Cut, CutConfig
from avipipe.stages.probe import Probe, ProbeConfig
from avipipe.stages.shots import Shots, ShotsConfig
from tests.containers.cases import Maker
from tests.containers.judge import Verdict, judge
from tests.containers.reference import decode_whole
from tests.containers.truth import Truth

QUICK = CutConfig(short_side_px=144, crf=12, crop_bars=False)
"""As small as still lets every cell be read."""

# Guards around a cut that is none, and what is less than 125 ms at the end of a clip.
MAX_UNLAID_S = 0.7
MAX_GAP_S = 2.0
"""A longer time without a picture is no part of any clip."""


@dataclass(frozen=True)
class Read:
    """A source as the build knows it before anything is cut, or the word for why not.

    `spans` are the clips that it would be cut into.
    """

    evidence: Mapping[str, Evidence]
    folders: Mapping[str, Path]
    line: SourceLine
    spans: tuple[Span, ...]
    failure: str | None = None
    message: str = ""


@dataclass(frozen=True)
class Trial:
    """One clip: what was found wrong, and how it ended.

    Attributes:
        failure: the kind, where it failed by name; `crash: …` where by an exception of another
            kind; None where there is a clip with a passing certificate.
        verdict: of a clip with a passing certificate.
    """

    start_s: float
    failure: str | None = None
    message: str = ""
    verdict: Verdict | None = None

    @property
    def is_right(self) -> bool:
        return self.verdict is not None and self.verdict.is_right

    @property
    def is_wrong(self) -> bool:
        """The worst: other content than the source's, and a certificate that says otherwise."""
        return self.verdict is not None and not self.verdict.is_right


def read_source(
    path: Path, folder: Path, span: Span | None = None, clock_start_s: float | None = None
) -> Read:
    """Probe a file and lay its clips, as `build` does."""
    line = SourceLine(0, str(path), span, "list.txt:1")
    fetched: Evidence = {"path": str(path), "clock_start_s": clock_start_s}
    evidence: dict[str, Evidence] = {"fetch": fetched}
    folders: dict[str, Path] = {"fetch": path.parent}
    spans: tuple[Span, ...] = ()
    stages: tuple[Stage, ...] = (Probe(ProbeConfig()), Shots(ShotsConfig()))
    for stage in stages:
        folders[stage.name] = folder / stage.name
        folders[stage.name].mkdir(parents=True)
        try:
            outcome = stage.run(Item("source", line, None, evidence, folders), folders[stage.name])
        except Exception as error:  # noqa: BLE001  as the executor's boundary does
            return Read(evidence, folders, line, (), _kind(error), str(error))
        assert isinstance(outcome, Keep)
        evidence[stage.name] = outcome.evidence
        spans = outcome.children
    return Read(evidence, folders, line, spans)


def try_clip(
    source: Read, truth: Truth, *, start_s: float, end_s: float, folder: Path, config: CutConfig
) -> Trial:
    """Cut `[start_s, end_s)` as `build` does, and judge what was written."""
    if source.failure is not None:
        return Trial(start_s, source.failure, source.message)
    folder.mkdir()
    item = Item("clip", source.line, Span(start_s, end_s), source.evidence, source.folders)
    try:
        Cut(config).run(item, folder)
    except Exception as error:  # noqa: BLE001  as the executor's boundary does
        return Trial(start_s, _kind(error), str(error))
    files: dict[str, Any] = {"video": folder / VIDEO_NAME, "audio": folder / AUDIO_NAME}
    return Trial(start_s, verdict=judge(truth, start_s=start_s, end_s=end_s, **files))


@dataclass(frozen=True)
class Row:
    """All trials of one file.

    Attributes:
        is_whole: whether `ffmpeg -i` decodes all of it.
        laid_s: how long the clips are that the build would cut it into; None where it refuses.
        shown_s, most_s: how long it really shows pictures, without and with its short gaps.
    """

    trials: tuple[Trial, ...]
    is_whole: bool
    laid_s: float | None
    shown_s: float
    most_s: float

    @property
    def failures(self) -> list[str]:
        return [trial.failure for trial in self.trials if trial.failure is not None]

    @property
    def has_crashed(self) -> bool:
        """Whether a clip failed otherwise than by name."""
        return any(failure.startswith("crash") for failure in self.failures)

    @property
    def is_right(self) -> bool:
        return self.is_laid and all(trial.is_right for trial in self.trials)

    @property
    def is_laid(self) -> bool:
        """Whether the clips cover what is shown: no second is left out or made up in silence."""
        if self.laid_s is None:
            return True
        return self.shown_s - MAX_UNLAID_S <= self.laid_s <= self.most_s + MAX_UNLAID_S

    @property
    def is_wrong(self) -> bool:
        return not self.is_laid or any(trial.is_wrong for trial in self.trials)


def try_file(make: Maker, folder: Path, config: CutConfig, *, clip_s: float = 2.5) -> Row:
    """Make a file and cut clips at its beginning, in the middle and at its end."""
    source = make(folder)
    whole = decode_whole(source.path, folder)
    read = read_source(source.path, folder / "read", clock_start_s=source.clock_start_s)
    end_s = max((span.end_s for span in read.spans), default=0.0)
    truth = min((source.truth, *source.others), key=lambda truth: abs(truth.end_s - end_s))
    trials = []
    for n, start_s in enumerate(starts_s(truth, source.gop, clip_s)):
        span = {"start_s": start_s, "end_s": round(start_s + clip_s, 3)}
        clip = folder / f"clip_{n}"
        trials.append(try_clip(read, truth, **span, folder=clip, config=config))
    laid_s = sum(span.duration_s for span in read.spans) if read.failure is None else None
    is_whole = whole is not None and whole.holds(truth)
    short_gaps_s = sum(gap_s for gap_s in truth.gaps_s if gap_s <= MAX_GAP_S)
    return Row(tuple(trials), is_whole, laid_s, truth.shown_s, truth.shown_s + short_gaps_s)


def starts_s(truth: Truth, gop: int, clip_s: float) -> list[float]:
    """The first picture; a key frame; off both; across each joint of two parts; the end.

    To the millisecond, as the build's own clips begin.
    """
    found = []
    for part in truth.parts:
        inside_s = [time_s for time_s in part.times_s if time_s + clip_s <= part.end_s]
        later = inside_s[gop::gop] or inside_s[len(inside_s) // 2 :]
        found += [part.times_s[0], later[len(later) // 2], part.end_s - clip_s]
        between = inside_s[len(inside_s) // 2 :][:2]
        found.append(between[0] + 0.37 * (between[-1] - between[0]))
    for gap_s, after in zip(truth.gaps_s, truth.parts[1:], strict=True):
        found += [after.times_s[0] - clip_s / 2] * (gap_s <= MAX_GAP_S)
    return sorted({round(start_s, 3) for start_s in found})


def _kind(error: Exception) -> str:
    return str(error.kind) if isinstance(error, ItemError) else f"crash: {type(error).__name__}"
