"""How well the speech annotators find speech and tell speakers apart, against reference turns.

    python bench/speech.py [--audio FOLDER] [--vad NAME …] [--diarize NAME …]

--audio: recordings `NAME.wav` with reference turns in any `.rttm` file beside them; a URI of the
RTTM is the NAME or its ending. Every registered backend runs that can; the others say why not.
Errors are pyannote.metrics' detection and diarization error rates, overlap counted, with a collar
of 0 and of 0.25 s around each reference boundary.
"""

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io.wavfile
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database import util
from pyannote.metrics.detection import DetectionErrorRate
from pyannote.metrics.diarization import DiarizationErrorRate

from avipipe.annotators.base import Turn, Wave
from avipipe.annotators.registry import BACKENDS, create
from avipipe.errors import AvipipeError

SHARED = Path(__file__).parents[2] / "shared"
COLLARS_S = (0.0, 0.25)

HEADER = """
| recording | vad | diarize | error | missed | false | confused | with collar | speakers | CPU s |
|---|---|---|---:|---:|---:|---:|---:|---|---:|"""

Recording = tuple[str, Wave, int, Annotation]
Metric = type[DetectionErrorRate | DiarizationErrorRate]


def recordings(folder: Path) -> list[Recording]:
    """Name, wave (N,), sample rate and reference of everything that has both."""
    rttm_reader: Any = util
    found = []
    for rttm in sorted(folder.glob("*.rttm")):
        for uri, reference in rttm_reader.load_rttm(rttm).items():
            for path in sorted(folder.glob(f"*{uri}.wav"))[:1]:
                found.append((path.stem, *read_wav(path), reference))
    return found


def read_wav(path: Path) -> tuple[Wave, int]:
    rate_hz, samples = scipy.io.wavfile.read(path)
    scale = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max) + 1
    wav_N = samples.reshape(len(samples), -1).mean(axis=1) / scale
    return wav_N.astype(np.float32), int(rate_hz)


def annotation(turns: Iterable[Turn]) -> Annotation:
    result = Annotation()
    for track, turn in enumerate(turns):
        result[Segment(turn.start_s, turn.end_s), track] = turn.label
    return result


def ready(role: str, names: Sequence[str]) -> dict[str, Any]:
    """The backends of a role that can run here; says of the others why not."""
    backends = {}
    for name in names:
        backend = create(role, name)
        try:
            backend.setup()
        except (AvipipeError, ImportError) as error:
            print(f"{role} {name}: cannot run here: {error}")
            continue
        backends[name] = backend
    return backends


def error_rates(reference: Annotation, found: Annotation, whole: Timeline, metric: Metric) -> str:
    """Cells of a table: the rate and its parts without a collar, then the rate with one."""
    plain, forgiving = (metric(collar=2 * collar_s) for collar_s in COLLARS_S)
    parts = plain(reference, found, uem=whole, detailed=True)
    share = {key: value / parts["total"] for key, value in parts.items()}
    cells = [
        parts[metric.metric_name()],
        share["miss"] if "miss" in share else share["missed detection"],
        share["false alarm"],
        share.get("confusion"),
        forgiving(reference, found, uem=whole),
    ]
    return " | ".join("-" if cell is None else f"{cell:.1%}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--audio", type=Path, default=SHARED / "audio")
    parser.add_argument("--vad", nargs="*", default=list(BACKENDS["vad"]))
    parser.add_argument("--diarize", nargs="*", default=list(BACKENDS["diarize"]))
    arguments = parser.parse_args()
    vads, diarizers = ready("vad", arguments.vad), ready("diarize", arguments.diarize)
    print(HEADER)
    for name, wav_N, rate_hz, reference in recordings(arguments.audio):
        whole = Timeline([Segment(0.0, len(wav_N) / rate_hz)])
        for vad_name, vad in vads.items():
            start_s = time.process_time()
            speech = vad.speech(wav_N, sample_rate_hz=rate_hz)
            cpu_s = time.process_time() - start_s
            rates = error_rates(reference, annotation(speech.turns), whole, DetectionErrorRate)
            print(f"| {name} | {vad_name} | - | {rates} | - | {cpu_s:.1f} |")
            for diarizer_name, diarizer in diarizers.items():
                start_s = time.process_time()
                found = diarizer.diarize(wav_N, sample_rate_hz=rate_hz, speech=speech)
                cpu_s = time.process_time() - start_s
                rates = error_rates(reference, annotation(found.turns), whole, DiarizationErrorRate)
                count = f"{found.num_speakers} of {len(reference.labels())}"
                print(
                    f"| {name} | {vad_name} | {diarizer_name} | {rates} | {count} | {cpu_s:.1f} |"
                )


if __name__ == "__main__":
    main()
