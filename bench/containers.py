"""Right content: what clips of odd files hold, against what the files are known to hold.

    python -m bench.containers [--short-side 720] [--only WORD ...] [--messages]

Each file is made here: its pictures carry their own numbers, its sound is noise whose position is
known. It goes through the stages of a build (probe, shots, cut) at several starts: the first
picture, on and off key frames, the end. The clips are judged on the written files alone.

"picture" is the largest error in pictures of the source over all pictures of all clips, "sound" the
largest in ms over all windows of 100 ms, of the reference sound and of the sound for players.
"laid" is how long the clips are that a build would cut the file into, against how long it shows
pictures. "ffmpeg -i" says whether the ffmpeg command line, without a seek, decodes all of it.
"""

import argparse
import math
import sys
import tempfile
from collections import Counter
from pathlib import Path

from avipipe.media.ffmpeg import versions
from avipipe.stages.cut import CutConfig
from tests.containers.judge import MAX_PICTURES, MAX_SOUND_MS
from tests.containers.table import FILES
from tests.containers.trial import Row, try_file


def line(name: str, row: Row) -> str:
    """A row of the table."""
    verdicts = [trial.verdict for trial in row.trials if trial.verdict is not None]
    pictures = max((verdict.picture_error for verdict in verdicts), default=math.nan)
    sound_ms = max((verdict.sound_error_ms for verdict in verdicts), default=math.nan)
    laid = "-" if row.laid_s is None else f"{row.laid_s:.1f}"
    cells = [
        name,
        str(len(row.trials)),
        _figure(pictures, "g"),
        _figure(sound_ms, ".2f"),
        f"{laid} of {row.shown_s:.1f}",
        "whole" if row.is_whole else "not whole",
        outcome(row),
    ]
    return f"| {' | '.join(cells)} |"


def outcome(row: Row) -> str:
    """How the clips of a file ended, the worst first."""
    words = []
    num_wrong = sum(trial.is_wrong for trial in row.trials)
    if num_wrong:
        words.append(f"**WRONG with passing certificate: {num_wrong}**")
    if not row.is_laid:
        words.append("**other seconds than it shows**")
    for kind, count in Counter(row.failures).items():
        is_crash = kind.startswith("crash")
        words.append(f"**{kind}** ({count})" if is_crash else f"failed by name: {kind} ({count})")
    return "; ".join(words) or "right"


def _figure(value: float, form: str) -> str:
    return "-" if math.isnan(value) else "not found" if math.isinf(value) else format(value, form)


def summary(rows: dict[str, Row]) -> str:
    """The figures that are asked for."""
    trials = [trial for row in rows.values() for trial in row.trials]
    failed = {
        name: row
        for name, row in rows.items()
        if row.failures and not (row.is_wrong or row.has_crashed)
    }
    return "\n".join(
        [
            f"{len(rows)} files, {len(trials)} clips: "
            f"{sum(row.is_right for row in rows.values())} files within ±{MAX_PICTURES} picture "
            f"and ±{MAX_SOUND_MS:g} ms, {len(failed)} failed by name "
            f"({sum(row.is_whole for row in failed.values())} of them decoded whole by "
            f"`ffmpeg -i`), {sum(row.is_wrong for row in rows.values())} wrong with a passing "
            f"certificate or in silence, {sum(row.has_crashed for row in rows.values())} crashed.",
            f"Clips: {sum(trial.is_right for trial in trials)} right, "
            f"{sum(trial.failure is not None for trial in trials)} failed, "
            f"{sum(trial.is_wrong for trial in trials)} wrong.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short-side", type=int, default=720, help="of the written pictures")
    parser.add_argument("--only", nargs="*", default=[], help="files with one of these words")
    parser.add_argument("--messages", action="store_true", help="also print why clips failed")
    arguments = parser.parse_args()
    config = CutConfig(short_side_px=arguments.short_side, crop_bars=False)
    tool = versions()
    print(
        f"ffmpeg {tool['ffmpeg']}, PyAV {tool['pyav']}; clips of 2.5 s, {config.short_side_px}p\n"
    )
    print("| file | clips | picture | sound ms | laid s | ffmpeg -i | outcome |")
    print("|---|---:|---:|---:|---:|---|---|")
    rows: dict[str, Row] = {}
    for name, make in FILES.items():
        if arguments.only and not any(word in name for word in arguments.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = row = try_file(make, Path(folder), config)
        print(line(name, row), flush=True)
        for trial in row.trials if arguments.messages else ():
            if not trial.is_right:
                print(
                    f"{name} at {trial.start_s}: {trial.failure} {trial.message} {trial.verdict}",
                    file=sys.stderr,
                )
    print(f"\n{summary(rows)}")


if __name__ == "__main__":
    main()
