"""How well annotators hear, against reference turns, on labelled clips and on known mixtures.

    python bench/audio.py [--audio FOLDER] [--clips FOLDER] [--profile embedded]

--audio: recordings `NAME.wav` with reference turns in any `.rttm` file beside them; a URI of the
RTTM is the NAME or its ending. Errors are shares of the reference speech: missed and false time of
the VAD; of the diarization also time of the wrong speaker, under the best naming of speakers
(DER without a collar, overlap counted). --clips: video files and `labels.csv` with the columns
file, verdict and content; prints the evidence that decisions rest on. Every registered separator
takes a synthetic voice out of mixtures at 0 dB, unless it cannot run here, and then says why.
"""

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.io.wavfile
import scipy.optimize

from avipipe.annotators.base import Turn, Wave
from avipipe.annotators.registry import BACKENDS, create, profile
from avipipe.audio_agent.procedural import sound
from avipipe.audio_agent.procedural.voice import VOICES, speak
from avipipe.errors import AvipipeError, ItemError
from avipipe.manifests.evidence import ListenEvidence
from avipipe.media.decode import read_audio
from avipipe.media.normalize import SAMPLE_RATE_HZ
from avipipe.media.probe import probe
from avipipe.stages.listen import Listen, ListenConfig

FRAMES_PER_S = 100
SHARED = Path(__file__).parents[2] / "shared"

Activity = npt.NDArray[np.bool_]


def read_rttm(folder: Path) -> dict[str, list[Turn]]:
    """URI -> reference turns, from every RTTM file of a folder."""
    turns: dict[str, list[Turn]] = defaultdict(list)
    for path in sorted(folder.glob("*.rttm")):
        for line in path.read_text(encoding="utf-8").splitlines():
            _, uri, _, start_s, duration_s, _, _, speaker, *_ = line.split()
            turns[uri].append(Turn(float(start_s), float(start_s) + float(duration_s), speaker))
    return turns


def activity(turns: Iterable[Turn], num_frames: int) -> Activity:
    """Speakers by frames (S, F), by name; never without a row."""
    rows: dict[str, Activity] = defaultdict(lambda: np.zeros(num_frames, dtype=bool))
    for turn in turns:
        first, last = (round(t * FRAMES_PER_S) for t in (turn.start_s, turn.end_s))
        rows[turn.label][first:last] = True
    return np.array([rows[name] for name in sorted(rows)] or [np.zeros(num_frames, dtype=bool)])


def errors(reference_SF: Activity, found_SF: Activity) -> tuple[float, float, float]:
    """Missed, false and wrongly attributed time over the reference's.

    Source: NIST, Rich Transcription evaluation plan (2009), diarization error rate.
    """
    num_reference_F, num_found_F = reference_SF.sum(axis=0), found_SF.sum(axis=0)
    shared_SS = reference_SF.astype(int) @ found_SF.astype(int).T
    rows, columns = scipy.optimize.linear_sum_assignment(-shared_SS)
    right = int(shared_SS[rows, columns].sum())
    total = max(1, int(num_reference_F.sum()))
    missed = int(np.maximum(num_reference_F - num_found_F, 0).sum())
    false = int(np.maximum(num_found_F - num_reference_F, 0).sum())
    confused = int(np.minimum(num_reference_F, num_found_F).sum()) - right
    return missed / total, false / total, confused / total


def read_wav(path: Path) -> tuple[Wave, int]:
    rate_hz, samples = scipy.io.wavfile.read(path)
    scale = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max) + 1
    wav_N = samples.reshape(len(samples), -1).mean(axis=1) / scale
    return wav_N.astype(np.float32), int(rate_hz)


def bench_recordings(folder: Path, backends: Sequence[str]) -> None:
    vad, diarizer = create("vad", backends[0]), create("diarize", backends[1])
    vad.setup()
    diarizer.setup()
    print(f"{'recording':24} {'VAD miss':>8} {'false':>6}  {'DER':>5} {'miss':>5} {'false':>5}"
          f" {'conf.':>5}  speakers")  # fmt: skip
    for uri, turns in sorted(read_rttm(folder).items()):
        path = next(iter(sorted(folder.glob(f"*{uri}.wav"))), None)
        if path is None:
            continue
        wav_N, rate_hz = read_wav(path)
        num_frames = round(len(wav_N) / rate_hz * FRAMES_PER_S)
        speech = vad.speech(wav_N, sample_rate_hz=rate_hz)
        found = diarizer.diarize(wav_N, sample_rate_hz=rate_hz, speech=speech)
        reference_SF = activity(turns, num_frames)
        spoken_SF = reference_SF.max(axis=0, keepdims=True)
        miss, false, _ = errors(spoken_SF, activity(speech.turns, num_frames))
        parts = errors(reference_SF, activity(found.turns, num_frames))
        print(
            f"{path.stem:24} {miss:8.1%} {false:6.1%}  {sum(parts):5.1%} {parts[0]:5.1%}"
            f" {parts[1]:5.1%} {parts[2]:5.1%}  {found.num_speakers} of {len(reference_SF)}"
        )


def bench_clips(folder: Path, listen: Listen) -> None:
    print(f"{'file':14} {'label':5} {'s':>5} {'dBFS':>6} {'speech':>6} {'speak.':>6} {'overl.':>6}"
          f" {'music':>5} {'impact':>6} {'sust.':>5} {'noise':>5} onsets content")  # fmt: skip
    cpu_s, heard_s = 0.0, 0.0
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = folder / row["file"]
        try:
            info = probe(path)
            wav_CN = read_audio(
                path,
                info,
                start_s=0.0,
                end_s=info.duration_s,
                sample_rate_hz=SAMPLE_RATE_HZ,
                mono=False,
            )
            start_s = time.process_time()
            evidence = listen.listen(wav_CN)
        except ItemError as error:
            print(f"{path.name:14} {row['verdict']:5} {error.kind.value}")
            continue
        cpu_s += time.process_time() - start_s
        heard_s += evidence.duration_s
        print(clip_line(path.name, row, evidence))
    print(f"{cpu_s / max(heard_s, 1e-9):.3f} CPU seconds per second of sound")


def clip_line(name: str, row: dict[str, str], evidence: ListenEvidence) -> str:
    tags = {group: f"{score:.2f}" for group, score in evidence.tags.items()}
    overlap = "-" if evidence.overlap_ratio is None else f"{evidence.overlap_ratio:.2f}"
    speakers = "-" if evidence.num_speakers is None else str(evidence.num_speakers)
    return (
        f"{name:14} {row['verdict']:5} {evidence.duration_s:5.1f} {evidence.rms_dbfs:6.1f}"
        f" {evidence.speech_ratio:6.2f} {speakers:>6} {overlap:>6}"
        f" {tags.get('music', '-'):>5} {tags.get('impact', '-'):>6} {tags.get('sustained', '-'):>5}"
        f" {tags.get('noise', '-'):>5} {len(evidence.onsets_s):6} {row['content'][:48]}"
    )


def si_sdr_db(estimate_N: Wave, reference_N: Wave) -> float:
    """Scale-invariant signal-to-distortion ratio.

    Source: Le Roux et al., SDR: half-baked or well done? (2019).
    """
    estimate, reference = estimate_N.astype(np.float64), reference_N.astype(np.float64)
    target = reference * (estimate @ reference) / (reference @ reference)
    return float(10 * np.log10((target @ target) / ((estimate - target) @ (estimate - target))))


def bench_separators(duration_s: float = 8.0) -> None:
    rng = np.random.default_rng(0)
    voice_N = speak(VOICES[0], rng, duration_s=duration_s, turns_s=[(0.3, duration_s - 0.3)]).wav_N
    knock = sound.impact(rng, pitch_hz=220.0)
    others = {
        "music": sound.music(rng, duration_s),
        "motor": sound.motor(rng, np.full(voice_N.size, 0.7)),
        "knocks": sound.place(knock, [0.6, 1.9, 3.1, 4.6, 6.2], duration_s=duration_s),
    }
    print(f"{'separator':10} {'voice with':10} {'mixture':>7} {'voice':>6} dB, in stem   CPU s/s")
    for name in BACKENDS["separate"]:
        separator = create("separate", name)
        try:
            separator.setup()
        except (AvipipeError, ImportError) as error:
            print(f"{name:10} cannot run here: {error}")
            continue
        for other, other_N in others.items():
            wav_N = 0.3 * (voice_N / voice_N.std() + other_N / other_N.std())
            wav_CN = np.stack([wav_N, wav_N]).astype(np.float32)
            start_s = time.process_time()
            stems = separator.separate(wav_CN, sample_rate_hz=sound.SAMPLE_RATE_HZ)
            cpu_s = time.process_time() - start_s
            ratios = {
                stem: si_sdr_db(wave_CN[0], voice_N)
                for stem, wave_CN in stems.waves.items()
                if wave_CN.any()
            }
            best = max(ratios, key=lambda stem: ratios[stem])
            print(
                f"{name:10} {other:10} {si_sdr_db(wav_N, voice_N):7.1f} {ratios[best]:6.1f}"
                f"     {best:10} {cpu_s / duration_s:6.3f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--audio", type=Path, default=SHARED / "audio")
    parser.add_argument("--clips", type=Path, default=SHARED / "clips")
    parser.add_argument("--profile", default="embedded")
    arguments = parser.parse_args()
    chosen = profile(arguments.profile)
    if arguments.audio.is_dir():
        bench_recordings(arguments.audio, [chosen["vad"], chosen["diarize"]])
        print()
    if arguments.clips.is_dir():
        listen = Listen(
            ListenConfig(),
            vad=create("vad", chosen["vad"]),
            diarizer=create("diarize", chosen["diarize"]),
            separator=create("separate", chosen["separate"]),
            tagger=create("tag", chosen["tag"]),
        )
        listen.setup()
        bench_clips(arguments.clips, listen)
        print()
    bench_separators()


if __name__ == "__main__":
    main()
