"""From a kind and a seed to a clip: frames one at a time, its sound, and the truth."""

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from avipipe.audio_agent.procedural.sound import SAMPLE_RATE_HZ
from avipipe.errors import ConfigError
from avipipe.manifests.rle import Size, encode
from avipipe.synth.picture import Frame, Shot
from avipipe.synth.scenes import KINDS, Kind
from avipipe.synth.takes import SceneParameters, SyntheticScene
from avipipe.synth.truth import ObjectTrack, Truth

DEFAULT_FPS = Fraction(24)
VFR_TICK_S = Fraction(1, 1000)
"""Irregular frame times are whole milliseconds."""


@dataclass(frozen=True, slots=True)
class SynthClip:
    """A clip in memory, without its pixels.

    Attributes:
        times_s: exact presentation time of each frame.
        wav_CN: float32 (1 or 2, N) at `sample_rate_hz`.
        truth: with masks, frame times and objects filled in.
    """

    kind: Kind
    seed: int
    scene: SyntheticScene
    size: Size
    times_s: tuple[Fraction, ...]
    wav_CN: npt.NDArray[np.float32]
    truth: Truth
    sample_rate_hz: int = SAMPLE_RATE_HZ

    def frames(self) -> Iterator[Frame]:
        """Each frame, uint8 RGB (H, W, 3), drawn as it is asked for."""
        for time_s in self.times_s:
            shot = shot_at(self.scene, time_s)
            yield shot.draw(float(time_s), self.size, seed=self.seed)


def render(
    kind: str,
    seed: int,
    *,
    duration_s: float = 4.0,
    height_px: int = 360,
    fps: Fraction | Sequence[Fraction] | None = None,
) -> SynthClip:
    """Make a clip. The same arguments give the same pixels, samples and truth.

    Args:
        kind: a key of `KINDS`.
        duration_s: at least 1.
        height_px: even, at least 64; the picture is 16:9.
        fps: frames per second, or the time of each frame; None for what the kind wants.
    Raises:
        ConfigError: an unknown kind, or a size or a duration out of range.
    """
    if kind not in KINDS:
        raise ConfigError(f"kinds: expected one of {', '.join(KINDS)}; got {kind!r}")
    if height_px % 2 or height_px < 64 or duration_s < 1:
        raise ConfigError(
            "expected an even height of at least 64 px and a duration of at least 1 s,"
            f" got {height_px} px and {duration_s} s"
        )
    chosen = KINDS[kind]
    size = (height_px, 2 * round(height_px * 8 / 9))
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    scene = chosen.build(SceneParameters(rng, duration_s, size))
    times_s = _frame_times(chosen, fps, duration_s, seed)
    wav_CN = scene.wav_CN[:1] if chosen.mono else scene.wav_CN
    truth = _truth(chosen, seed, scene, size, times_s, duration_s)
    return SynthClip(chosen, seed, scene, size, times_s, wav_CN, truth)


def shot_at(scene: SyntheticScene, time_s: Fraction) -> Shot:
    """The shot on show at a time."""
    return max((shot for shot in scene.shots if shot.start_s <= time_s), key=lambda s: s.start_s)


def irregular_times(duration_s: float, seed: int) -> tuple[Fraction, ...]:
    """Frame times of a phone in poor light: 15 to 40 frames per second, whole milliseconds."""
    rng = np.random.default_rng([zlib.crc32(b"vfr"), seed])
    steps_ms = rng.choice([25, 33, 34, 42, 50, 67], int(duration_s * 45))
    times_ms = np.concatenate([[0], np.cumsum(steps_ms)])
    return tuple(Fraction(int(ms), 1000) for ms in times_ms if ms < duration_s * 1000 - 10)


def _frame_times(
    kind: Kind, fps: Fraction | Sequence[Fraction] | None, duration_s: float, seed: int
) -> tuple[Fraction, ...]:
    if isinstance(fps, Sequence):
        return tuple(fps)
    if fps is None and kind.vfr:
        return irregular_times(duration_s, seed)
    rate = Fraction(fps or kind.fps or DEFAULT_FPS)
    return tuple(index / rate for index in range(round(duration_s * rate)))


def _truth(
    kind: Kind,
    seed: int,
    scene: SyntheticScene,
    size: Size,
    times_s: tuple[Fraction, ...],
    duration_s: float,
) -> Truth:
    sounding = [sprite for shot in scene.shots for sprite in shot.sprites if sprite.sounding]
    steps = {later - earlier for earlier, later in itertools.pairwise(times_s)}
    # A shot begins with the first frame that shows it.
    cuts_s = [min(t for t in times_s if t >= shot.start_s) for shot in scene.shots[1:]]
    mean_fps = Fraction(len(times_s) - 1) / (times_s[-1] - times_s[0])
    return Truth(
        kind=kind.name,
        seed=seed,
        verdict=kind.verdict,
        reason=kind.reasons[0].value if kind.reasons else "",
        other_reasons=tuple(reason.value for reason in kind.reasons[1:]),
        duration_s=duration_s,
        fps=f"{mean_fps.numerator}/{mean_fps.denominator}",
        vfr=len(steps) > 1,
        num_frames=len(times_s),
        size=size,
        rotation_deg=kind.rotation_deg,
        cuts_s=tuple(round(float(cut_s), 6) for cut_s in cuts_s),
        events_s=scene.events_s,
        voices=scene.voices,
        label=sounding[0].label if sounding else "",
        times_s=tuple(round(float(time_s), 6) for time_s in times_s),
        objects=_object_tracks(scene, size, times_s),
    )


def _object_tracks(
    scene: SyntheticScene, size: Size, times_s: tuple[Fraction, ...]
) -> tuple[ObjectTrack, ...]:
    empty = encode(np.zeros(size, np.bool_))
    sprites = [sprite for shot in scene.shots for sprite in shot.sprites]
    counts = {id(sprite): [empty] * len(times_s) for sprite in sprites}
    for index, time_s in enumerate(times_s):
        for sprite, mask_HW in shot_at(scene, time_s).masks(float(time_s), size):
            counts[id(sprite)][index] = encode(mask_HW)
    ordered = sorted(sprites, key=lambda sprite: not sprite.sounding)
    return tuple(
        ObjectTrack(sprite.label, sprite.sounding, tuple(counts[id(sprite)])) for sprite in ordered
    )
