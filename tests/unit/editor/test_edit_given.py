"""What a user gives beside a video opens nothing else, and takes no more memory than it may."""

import json
import resource
import shutil
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from avipipe.audio_agent.files import decode_bytes, read_sound
from avipipe.editor.common.media import Take, decode_frames
from avipipe.editor.edit import given
from avipipe.editor.edit.job import MaskSpec
from avipipe.editor.edit.masks_in import read_mask
from avipipe.editor.edit.method import Canvas
from avipipe.editor.edit.pictures_in import control_pictures, read_control, read_image
from avipipe.editor.edit.video import fit_sound, prepare
from avipipe.errors import ConfigError, FailKind, ManifestError, MediaError
from avipipe.manifests import rle

SHAPE = (200, 100)
TAKE = Take(
    start=0, num_frames=6, scaled_px=(64, 128), top_px=0, left_px=16, height_px=64, width_px=96
)
SPARE_BYTES = 64 << 20
"""What refusing a file may take; decoding any of them would take more than twice as much."""


def mask_of(path: Path) -> None:
    read_mask(MaskSpec(file=path), TAKE, SHAPE, max_precision=4)


def video(path: Path, width: int = 200, height: int = 100, container: str = "matroska") -> Path:
    """As long as the take, white, with a tone."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        sound = output.add_stream("mp2", rate=48_000, layout="mono")
        for number in range(6):
            pixels = np.full((height, width, 3), 255, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        wave_1N = (8000 * np.sin(np.arange(11_520) / 10)).astype(np.int16)[None]
        for first in range(0, 11_520, 1152):
            part = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(wave_1N[:, first : first + 1152]), "s16", "mono"
            )
            part.sample_rate, part.pts, part.time_base = 48_000, first, Fraction(1, 48_000)
            output.mux(sound.encode(part))
        output.mux(sound.encode())
    return path


SCRIPTS = {
    "ffconcat": "ffconcat version 1.0\nfile {name}\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.25,\n{name}\n#EXT-X-ENDLIST\n",
}


@pytest.fixture(params=SCRIPTS)
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file by the name of a video that has players open another one."""
    video(tmp_path / "other.ts", container="mpegts")
    suffix = {"ffconcat": "mkv", "m3u8": "m3u8"}[request.param]
    path = tmp_path / f"given.{suffix}"
    path.write_text(SCRIPTS[request.param].format(name="other.ts"))
    with av.open(str(path)) as container:  # as anyone opens it, it reads the other file
        assert next(container.decode(video=0)).width == 200
    return path


def test_a_script_is_no_mask_and_no_control(script: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="playlists are not followed"):
        mask_of(script)
    with pytest.raises(ConfigError, match="playlists are not followed"):
        list(control_pictures(script, TAKE))
    with pytest.raises(ConfigError, match="playlists are not followed"):
        read_control(script, TAKE, SHAPE, tmp_path / "control")
    other = script.with_name("other.ts")
    mask_of(other)
    assert len(list(control_pictures(other, TAKE))) == 6


def test_a_script_is_no_video_and_no_sound(script: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="playlists are not followed") as refused:
        prepare(script, tmp_path / "work", lambda shape: Canvas(96, 64, 13, 4))
    assert refused.value.kind is FailKind.NOT_MEDIA
    with pytest.raises(MediaError, match="playlists are not followed"):
        read_sound(script)
    with pytest.raises(MediaError) as failed:
        fit_sound(script, 6, tmp_path / "out.flac")
    assert failed.value.kind is FailKind.TOOL_FAILED
    assert "whitelist" in failed.value.log_tail.lower()
    fit_sound(script.with_name("other.ts"), 6, tmp_path / "out.flac")
    assert read_sound(tmp_path / "out.flac").duration_s == 0.25


def test_a_script_is_no_member_and_no_answer(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(script.parent)
    content = script.read_bytes()
    with pytest.raises(MediaError, match="cannot be decoded"):
        decode_bytes(content)
    with pytest.raises(ManifestError, match="cannot be decoded"):
        decode_frames(content, TAKE, where="a member")
    assert decode_bytes(script.with_name("other.ts").read_bytes()).duration_s > 0.2


def png(path: Path, width: int, height: int) -> Path:
    """A whole grey PNG, black: a thousandth of what it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    pack, row = zlib.compressobj(1), bytes(width + 1)
    data = b"".join([*(pack.compress(row) for _ in range(height)), pack.flush()])
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


def peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("size", [(16_400, 8200), (30_000, 6000)])
def test_a_small_file_of_a_large_picture_is_refused_by_its_head(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = png(tmp_path / "bomb.png", *size)
    assert path.stat().st_size < 1 << 20
    before = peak_bytes()
    words = rf"expected at most 67108864 pixels.*{size[0]}x{size[1]}|expected at most 67108864"
    for use in (mask_of, read_image):
        with pytest.raises(ConfigError, match=words):
            use(path)
    assert peak_bytes() - before < SPARE_BYTES


@pytest.mark.parametrize("name", ["m.png", "m.jpg", "m.webp", "m.bmp", "m.tif", "m.tiff"])
def test_the_limit_holds_for_each_kind_of_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    assert cv2.imwrite(str(path), np.full((100, 200, 3), 255, np.uint8))
    mask_of(path)
    monkeypatch.setattr(given, "MAX_PIXELS", 200 * 100)
    assert read_image(path).shape == (100, 200, 3)
    monkeypatch.setattr(given, "MAX_PIXELS", 200 * 100 - 1)
    with pytest.raises(ConfigError, match="at most 19999 pixels, found 200x100"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.png"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"expected an image \(BMP, JPEG, PNG"):
        mask_of(path)


def test_a_video_of_large_pictures_is_refused_by_its_head(tmp_path: Path) -> None:
    path = tmp_path / "bomb.y4m"
    path.write_bytes(b"YUV4MPEG2 W20000 H10000 F24:1 Ip A1:1 Cmono\nFRAME\n" + bytes(1000))
    before = peak_bytes()
    for use in (mask_of, lambda path: list(control_pictures(path, TAKE))):
        with pytest.raises(ConfigError, match="at most 67108864 pixels, found 20000x10000"):
            use(path)
    assert peak_bytes() - before < SPARE_BYTES


def test_pictures_that_grow_midway_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = video(tmp_path / "a.ts", container="mpegts")
    large = video(tmp_path / "b.ts", 1600, 800, container="mpegts")
    path = tmp_path / "grows.ts"
    with path.open("wb") as out:
        for part in (small, large):
            with part.open("rb") as file:
                shutil.copyfileobj(file, out)
    with pytest.raises(ConfigError, match=r"expected 0\.250 s .* found 0\.\d+ s"):
        mask_of(path)  # all of it is decoded, and too long
    monkeypatch.setattr(given, "MAX_PIXELS", 400_000)
    mask_of(small)
    with pytest.raises(ConfigError, match=r"cannot be read: .*avcodec_send_packet"):
        mask_of(path)


@pytest.mark.parametrize(
    "size", [[100_000, 100_000], [8193, 8192], [0, 5], [-5, -5], [1.5, 4], ["5", 7], [1e300, 1]]
)
def test_codes_of_large_masks_are_refused_by_their_size(tmp_path: Path, size: list[object]) -> None:
    path = tmp_path / "m.json"
    # A run of all pixels takes a few characters, however many there are.
    counts = rle.encode(np.zeros((8, 8), np.bool_))
    path.write_text(json.dumps({"size": size, "fps": 24, "frames": [counts] * 6}))
    before = peak_bytes()
    with pytest.raises(ConfigError, match=r"expected (masks of at most 67108864|whole numbers)"):
        mask_of(path)
    assert peak_bytes() - before < SPARE_BYTES


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"null", b'{"size": 5}'])
def test_codes_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"m\.json: expected masks like a sample's masks\.json"):
        mask_of(path)
