"""What a build costs, against the floor: one bare ffmpeg normalisation of just the kept clips.

    python bench/build.py                    12 synthetic clips of 4 s, 360p
    python bench/build.py --source FOLDER    other clips
    python bench/build.py --memory           peak memory at 10 and at 1,000 items too (long)

Everything is measured in one run, in CPU seconds of the processes and their children, because wall
time on a shared machine says little. The build runs inline, so that no other process adds to it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avipipe.media.ffmpeg import ffmpeg_path
from avipipe.media.normalize import NormalizeConfig
from avipipe.pipeline.workspace import Workspace
from avipipe.synth import generate

MEDIA_STAGES = ("probe", "shots", "cut", "publish")
CORE_S = "from avipipe.cli import main; main()"


@dataclass(frozen=True)
class Spent:
    """What a child process and its children spent."""

    cpu_s: float
    wall_s: float
    peak_rss_bytes: int


def spent_by(words: list[str]) -> Spent:
    started_s = time.monotonic()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    if code != 0:
        raise SystemExit(f"{' '.join(words[:6])} … ended with {code}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Spent(cpu_s, time.monotonic() - started_s, usage.ru_maxrss * 1024)


def avipipe(*words: str) -> list[str]:
    return [sys.executable, "-c", CORE_S, *words]


def read_status(out: Path) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        avipipe("status", "--out", str(out), "--json"), capture_output=True, text=True, check=True
    )
    return {stage["stage"]: stage for stage in json.loads(done.stdout)}


def kept_spans(out: Path) -> list[tuple[str, float, float]]:
    import pyarrow.parquet as pq

    table = pq.read_table(out / "manifest" / "clips.parquet")
    return [
        (row["source_uri"], row["start_s"], row["end_s"])
        for row in table.to_pylist()
        if row["decision"] == "keep"
    ]


def bare_normalisation(uri: str, start_s: float, end_s: float, folder: Path) -> list[str]:
    """The plainest command that makes what a sample holds: 720p, 24 fps, BT.709, and a FLAC."""
    config = NormalizeConfig()
    side = config.short_side_px
    size = f"'if(gt(iw,ih),-2,{side})':'if(gt(iw,ih),{side},-2)'"
    scale = f"scale={size}:flags=lanczos:out_color_matrix=bt709,fps=24,format=yuv420p"
    return [
        *(ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-threads", "1"),
        *("-ss", f"{start_s:.3f}", "-t", f"{end_s - start_s:.3f}", "-i", uri),
        *("-map", "0:v:0", "-map", "0:a:0", "-vf", scale),
        *("-c:v", "libx264", "-preset", config.preset, "-crf", str(config.crf), "-bf", "0"),
        *("-threads", "1", "-c:a", "aac", "-ar", "48000", str(folder / "bare.mp4")),
        *("-map", "0:a:0", "-c:a", "flac", "-ar", "48000", "-ac", "2", str(folder / "bare.flac")),
    ]


def measure(source: Path, scratch: Path) -> str:
    """Build inline, normalise the kept clips barely, and compare."""
    out = scratch / "dataset"
    whole = spent_by(
        avipipe("-q", "build", "--source", str(source), "--out", str(out), "--executor", "inline")
    )
    counts = read_status(out)
    spans = kept_spans(out)
    if not spans:
        raise SystemExit("no clip was kept: there is nothing to compare with")
    bare_s = sum(spent_by(bare_normalisation(*span, scratch)).cpu_s for span in spans)
    stages_s = {name: float(stage["cpu_s"]) for name, stage in counts.items()}
    stages_s["publish"] = publish_s(out)
    rest_s = whole.cpu_s - sum(stages_s.values())
    media_s = sum(stages_s[name] for name in MEDIA_STAGES)
    kept_s = sum(end_s - start_s for _, start_s, end_s in spans)
    all_s = sum(counts["listen"]["hours"].values()) * 3600
    rows = [
        f"| {name} | {counts[name]['in'] if name in counts else 1} | {cpu_s:.2f} | "
        f"{cpu_s / bare_s:.2f} |"
        for name, cpu_s in stages_s.items()
    ]
    lines = [
        f"{counts['fetch']['in']} sources, {counts['listen']['in']} clips, {len(spans)} kept "
        f"({kept_s:.1f} s of {all_s:.1f} s)",
        "",
        "| stage | items | CPU s | ratio |",
        "|---|---:|---:|---:|",
        *rows,
        f"| start, ledger, report | 1 | {rest_s:.2f} | {rest_s / bare_s:.2f} |",
        f"| bare ffmpeg normalisation of the kept clips | {len(spans)} | {bare_s:.2f} | 1.00 |",
        f"| **media path: {', '.join(MEDIA_STAGES)}** | | {media_s:.2f} | "
        f"**{media_s / bare_s:.2f}** |",
        f"| **whole build** | | {whole.cpu_s:.2f} | **{whole.cpu_s / bare_s:.2f}** |",
        "",
        f"wall {whole.wall_s:.1f} s, peak memory {whole.peak_rss_bytes / 1e6:.0f} MB "
        "(one process: inline)",
    ]
    return "\n".join(lines)


def publish_s(out: Path) -> float:
    """CPU seconds of the last publication, from the ledger."""
    with Workspace.at(str(out)).open_ledger(read_only=True) as ledger:
        return [record.cost.cpu_s for record in ledger.records(stages=("publish",))][-1]


def memory(scratch: Path) -> str:
    """Peak memory of driver and workers, on Ray, at 10 and at 1,000 small clips."""
    lines = ["| clips | driver MB | largest worker MB | wall s |", "|---:|---:|---:|---:|"]
    for num_clips in (10, 1000):
        folder = scratch / f"memory-{num_clips}"
        # Mostly clips that fall early, so that a thousand do not take hours; some go all the way.
        kinds = ("bounce", *("silent",) * 49) if num_clips > 10 else ("bounce", "silent")
        source = generate(
            folder, num_clips=num_clips, seed=1, kinds=kinds, duration_s=2.25, height_px=120
        )
        out = folder / "dataset"
        driver = spent_by(avipipe("-q", "build", "--source", str(source), "--out", str(out)))
        worker_bytes = max(stage["peak_rss_bytes"] for stage in read_status(out).values())
        lines.append(
            f"| {num_clips} | {driver.peak_rss_bytes / 1e6:.0f} | {worker_bytes / 1e6:.0f} | "
            f"{driver.wall_s:.0f} |"
        )
    return "\n".join(lines)


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return f"{model}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--source", type=Path, help="folder or list; synthetic clips by default")
    parser.add_argument("--memory", action="store_true", help="also at 10 and 1,000 items")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        source = arguments.source
        if source is None:
            source = generate(scratch / "synth", num_clips=12, duration_s=4.0, height_px=360)
        print(f"{machine()}\n")
        print(measure(source, scratch))
        if arguments.memory:
            print(f"\n{memory(scratch)}")


if __name__ == "__main__":
    main()
