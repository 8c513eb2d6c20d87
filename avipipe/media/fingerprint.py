"""Fingerprints that survive re-encoding: a perceptual hash of pictures, chromaprint of sound."""

import functools
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import ffmpeg
import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from avipipe.media.decode import read_frames
from avipipe.media.ffmpeg import ffmpeg_path, run
from avipipe.media.normalize import FPS
from avipipe.media.probe import MediaInfo

NUM_FRAMES = 3
"""Pictures that are hashed; a choice: one may be black, or shared with another clip."""
MAX_BITS = 6
"""Most bits in which the 64-bit hashes of the same picture differ."""

MIN_CONTRAST = 4.0
"""Least standard deviation of luma, of 255; under it, a hash is that of noise."""

MIN_WORDS = 8
"""Least words of chromaprint to compare by; one each 0.124 s after the first 2.5 s."""

MIN_DISTINCT = 6
"""Least different words; with fewer, sound is silence or a tone, which is like any other."""

MAX_BIT_ERRORS = 0.15
"""Largest share of wrong bits. Re-encoded and out of step: up to 0.10; other sound: 0.3."""

# How pictures are read: any small one will do, as the hash is of 32 x 32 pixels.
_HEIGHT_PX = 180
_TIMEOUT_S = 120.0

Words = npt.NDArray[np.uint32]


def sample_frames(path: Path, info: MediaInfo) -> list[npt.NDArray[np.uint8]]:
    """Read the pictures at 1/6, 1/2 and 5/6 of a file: (H, W, 3) RGB, at most 180 px high."""
    pictures = []
    for n in range(NUM_FRAMES):
        at_s = info.duration_s * (2 * n + 1) / (2 * NUM_FRAMES)
        start_s = float(int(at_s * FPS) / FPS)
        pictures.append(
            read_frames(
                path,
                info,
                start_s=start_s,
                end_s=start_s + float(1 / FPS),
                fps=FPS,
                height_px=_HEIGHT_PX,
            )[0]
        )
    return pictures


def video_phash(frames_HWC: Sequence[npt.NDArray[np.uint8]]) -> tuple[str | None, ...]:
    """The 64-bit perceptual hash of each picture as 16 hex digits; None for one without content."""
    return tuple(_phash(frame_HWC) for frame_HWC in frames_HWC)


def _phash(frame_HWC: npt.NDArray[np.uint8]) -> str | None:
    picture = Image.fromarray(frame_HWC).convert("L")
    if np.asarray(picture).std() < MIN_CONTRAST:
        return None
    return str(imagehash.phash(picture))


@functools.cache
def has_chromaprint() -> bool:
    """Whether the ffmpeg in use has chromaprint; many distributions' has not."""
    listed = subprocess.run(
        [ffmpeg_path(), "-hide_banner", "-muxers"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return "chromaprint" in listed.stdout.split()


def audio_chromaprint(path: Path) -> tuple[int, ...] | None:
    """Chromaprint of a sound, words of 32 bits; none of a sound under 2.6 s.

    Returns:
        None where this machine's ffmpeg has no chromaprint.
    Raises:
        MediaError: the sound cannot be decoded.
    """
    if not has_chromaprint():
        return None
    with tempfile.TemporaryDirectory(prefix="avipipe-") as folder:
        words = Path(folder) / "words"
        source = ffmpeg.input(f"file:{path.resolve()}", protocol_whitelist="file").audio
        output = ffmpeg.output(source, f"file:{words}", format="chromaprint", fp_format="raw")
        run(output.compile()[1:], timeout_s=_TIMEOUT_S)
        return tuple(np.fromfile(words, "<u4").tolist())


def same_video(a: Sequence[str | None], b: Sequence[str | None]) -> bool:
    """Whether two of the pictures of one clip are among those of the other, each its own one."""
    alike = [[_is_near(one, other) for other in b] for one in a]
    return any(
        sum(row[column] for row, column in zip(alike, order, strict=True)) >= 2
        for order in permutations(range(len(b)), len(a))
    )


def _is_near(a: str | None, b: str | None) -> bool:
    return a is not None and b is not None and (int(a, 16) ^ int(b, 16)).bit_count() <= MAX_BITS


def same_audio(a: Words, b: Words, *, offset: int) -> bool:
    """Whether the sounds agree where they overlap once b is moved `offset` words later."""
    start, stop = max(0, offset), min(len(a), offset + len(b))
    if stop - start < MIN_WORDS:
        return False
    mine, other = a[start:stop], b[start - offset : stop - offset]
    if int(np.bitwise_count(mine ^ other).sum()) > MAX_BIT_ERRORS * 32 * mine.size:
        return False
    return min(np.unique(mine).size, np.unique(other).size) >= MIN_DISTINCT
