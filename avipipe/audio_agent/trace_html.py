"""The record of a run of the audio agent as a folder: a page, its JSON, and every sound as a file.

The page works from the disk: players read the FLAC files beside it, pictures are in it.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from markupsafe import Markup

from avipipe.annotators.signal import mel_spectrogram, resample, to_db
from avipipe.audio_agent.checks import AUDIBLE_DB, LEAK_DB, LOUD_DB, SIMILARITY, UNTOUCHED_DB
from avipipe.audio_agent.files import flac_bytes
from avipipe.audio_agent.loop import AgentResult
from avipipe.audio_agent.render import RenderedMix
from avipipe.audio_agent.schema import AudioSpan, Checks, Iteration
from avipipe.audio_agent.tools import Sound, Task
from avipipe.pages.render import environment, joined

HTML_NAME = "trace.html"
JSON_NAME = "trace.json"

_HERE = Path(__file__).parent
_RATE_HZ = 32_000
_RANGE_DB = 70.0
"""Range that a spectrogram shows; a choice."""
_PICTURE_PX = (720, 96)
"""Width and height of a spectrogram; a choice."""


@dataclass(frozen=True, slots=True)
class TrackView:
    """A sound on the trace page: a file beside it, and its spectrogram.

    Attributes:
        spans: (start, width) of what is marked, in percent of the whole.
    """

    name: str
    says: str
    path: str
    picture: str
    spans: tuple[tuple[float, float], ...] = ()


class Measured(NamedTuple):
    """A line of the table of checks: what was measured, what is asked of it, and whether it is."""

    name: str
    value: str
    wanted: str
    fine: bool | None


def write_trace(folder: Path, task: Task, result: AgentResult) -> None:
    """Write `trace.html`, `trace.json` and the sounds of every iteration into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    loudest_db = _loudest_db(task.original)
    pages = _Pages(folder, loudest_db)
    original = pages.track("original", "as it came", task.original)
    chosen = pages.track("result", "as it is returned", result.audio)
    iterations = [
        (iteration, pages.tracks(iteration, take), measured(iteration.checks))
        for iteration, take in zip(result.trace.iterations, result.takes, strict=True)
    ]
    page = (
        environment(_HERE)
        .get_template(HTML_NAME)
        .render(
            trace=result.trace,
            duration_s=task.original.duration_s,
            original=original,
            chosen=chosen,
            iterations=iterations,
            css=Markup(joined(_HERE / "trace.css")),
        )
    )
    (folder / HTML_NAME).write_text(page, encoding="utf-8")
    text = result.trace.model_dump_json(indent=2)
    (folder / JSON_NAME).write_text(text + "\n", encoding="utf-8")


class _Pages:
    """Writes sounds beside the page, and draws them on one scale."""

    def __init__(self, folder: Path, loudest_db: float) -> None:
        self.folder, self.loudest_db = folder, loudest_db

    def track(
        self, name: str, says: str, sound: Sound, spans: Sequence[AudioSpan] = ()
    ) -> TrackView:
        path = self.folder / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(flac_bytes(sound))
        return TrackView(
            name=name.rpartition("/")[2],
            says=says,
            path=f"{name}.flac",
            picture=spectrogram_uri(sound, loudest_db=self.loudest_db),
            spans=tuple(
                (100 * span.start_s / sound.duration_s, 100 * span.duration_s / sound.duration_s)
                for span in spans
            ),
        )

    def tracks(self, iteration: Iteration, take: RenderedMix) -> list[TrackView]:
        place = f"iteration-{iteration.index + 1}"
        mixed = take.mixed
        return [
            self.track(f"{place}/kept", "left of the original", mixed.kept),
            self.track(f"{place}/removed", "taken out", mixed.removed, take.removed_spans),
            self.track(f"{place}/generated", "made anew", mixed.generated, take.generated_spans),
            self.track(f"{place}/mix", "kept and generated", mixed.mix),
        ]


def spectrogram_uri(sound: Sound, *, loudest_db: float) -> str:
    """A mel spectrogram (low at the bottom) of 70 dB below a level, as a PNG in a data URI."""
    width_px, height_px = _PICTURE_PX
    level_FM = np.clip((_levels(sound) - loudest_db) / _RANGE_DB + 1, 0, 1)
    grey_MF = np.rint(255 * level_FM.T[::-1]).astype(np.uint8)
    grey_HW = cv2.resize(grey_MF, (width_px, height_px), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".png", cv2.applyColorMap(grey_HW, cv2.COLORMAP_MAGMA))
    assert done
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def _levels(sound: Sound) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    wav_N = resample(sound.mono(), from_hz=sound.sample_rate_hz, to_hz=_RATE_HZ)
    return np.asarray(to_db(mel_spectrogram(wav_N, sample_rate_hz=_RATE_HZ), floor_db=-140.0))


def _loudest_db(sound: Sound) -> float:
    return float(_levels(sound).max())


def measured(checks: Checks) -> list[Measured]:
    """Rows of the table of checks: those that mean something here."""
    rows = [
        _row("left of what was removed", checks.leak_db, "dB", most=LEAK_DB),
        _row("unchanged beside the edits", checks.untouched_db, "dB SNR", least=UNTOUCHED_DB),
        _row("background under the edits", checks.background_db, "dB"),
        _row("new sound above what is kept", checks.generated_db, "dB", least=AUDIBLE_DB),
        _row("new sound above what was there", checks.generated_over_db, "dB", most=LOUD_DB),
        _row("likeness to its prompt (CLAP)", checks.similarity, "", least=SIMILARITY),
        _row("loudness of the mix", checks.loudness_lufs, "LUFS"),
        _row("true peak of the mix", checks.true_peak_db, "dBTP"),
        _row("newly clipped samples", 100 * checks.clipped_share, "%", most=0.0),
        _row("time that edits cover", 100 * checks.edited_share, "%"),
    ]
    return [row for row in rows if row is not None]


def _row(
    name: str,
    value: float | None,
    unit: str,
    *,
    least: float | None = None,
    most: float | None = None,
) -> Measured | None:
    if value is None:
        return None
    text = f"{value:.1f} {unit}" if unit else f"{value:.2f}"
    if least is not None:
        return Measured(name, text, f"≥ {least:g}", value >= least)
    if most is not None:
        return Measured(name, text, f"≤ {most:g}", value <= most)
    return Measured(name, text, "", None)
