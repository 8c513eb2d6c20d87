"""Files that are odd packet by packet, or whose index or header says little."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av

from tests.containers.boxes import write_sound
from tests.containers.cases import Maker, Source, avi, plain
from tests.containers.encode import AAC, FLAC, H264, encode, placed
from tests.containers.plain_cases import MP3_DELAY, MPEG4, NO_B, OPUS, PCM, VP8
from tests.containers.splice import Chunk, Piece, joined, splice
from tests.containers.truth import Sound, Truth, at_times, steady

AMR = ("-c:a", "libopencore_amrnb", "-b:a", "12.2k")
H263 = ("-c:v", "h263", "-q:v", "3")
AMR_DELAY = 40
"""Samples of 8 kHz that the coder looks ahead; ffmpeg's edit list takes off 50."""
MP3_KBPS = 128


def joined_amr(folder: Path) -> Source:
    """AMR-NB in 3GP, ten frames of 20 ms in each packet, as phones write it."""
    whole = encode(folder / "whole.3gp", [*H263, *AMR], rate_hz=8000)
    with av.open(str(whole)) as container:
        frames = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    groups = [frames[at : at + 10] for at in range(0, len(frames), 10)]
    packets = [b"".join(group) for group in groups]
    path = folder / "source.3gp"
    write_sound(path, whole, packets, [160 * len(group) for group in groups])
    late_s = AMR_DELAY / 8000
    part = steady(25, 175, sound_s=(late_s, 7.0), content_s=-late_s)
    return Source(path, Truth((placed(path, part),)))


def joined_mp3(folder: Path) -> Source:
    """MP3 of a constant rate in AVI: several frames a chunk, and a header that counts bytes."""
    options = [*MPEG4, *NO_B, "-c:a", "libmp3lame", "-b:a", f"{MP3_KBPS}k", "-write_xing", "0"]
    options += ["-avoid_negative_ts", "disabled"]
    whole = encode(folder / "whole.avi", options)
    chunked = folder / "chunked.avi"
    splice(chunked, [Piece(whole)], [Piece(whole)], edit_sounds=joined(4))
    path = folder / "source.avi"
    path.write_bytes(_counting_bytes(chunked.read_bytes(), MP3_KBPS * 125))
    late_s = MP3_DELAY / 44_100
    part = replace(steady(25, 175), sounds=(Sound(late_s, 7.0 + late_s, 0.0),))
    return Source(path, Truth((part,)))


def _counting_bytes(data: bytes, bytes_per_s: int) -> bytes:
    """The header of an AVI's sound as of a constant stream of bytes."""
    at = data.index(b"strh", data.index(b"strh") + 4)
    assert data[at + 8 : at + 12] == b"auds"
    header = bytearray(data)
    chunks = [n for n in range(len(data) - 8) if data[n : n + 4] == b"01wb"]
    num_bytes = sum(struct.unpack_from("<I", data, n + 4)[0] for n in chunks[: len(chunks) // 2])
    # Behind the tags: scale, rate, start, length, buffer, quality, size of a sample.
    struct.pack_into("<IIII", header, at + 8 + 20, 1, bytes_per_s, 0, num_bytes)
    struct.pack_into("<I", header, at + 8 + 44, 1)
    wave = data.index(b"strf", at) + 8
    struct.pack_into("<IH", header, wave + 8, bytes_per_s, 1)
    return bytes(header)


def sbr_aac(folder: Path) -> Source:
    """AAC of 24 kHz whose header says SBR: decoders give 48 kHz, and run in for longer."""
    whole = encode(folder / "whole.mp4", [*H264, *AAC], rate_hz=24_000)
    data = whole.read_bytes()
    # The sync extension of the AudioSpecificConfig, without SBR; with it, at 48 kHz.
    if data.count(b"\x56\xe5\x00") != 1:
        raise AssertionError("expected one AudioSpecificConfig that says: no SBR")
    path = folder / "source.mp4"
    path.write_bytes(data.replace(b"\x56\xe5\x00", b"\x56\xe5\x98"))
    late_s = SBR_DELAY / 48_000
    part = steady(25, 175, sound_s=(late_s, 7.0), content_s=-late_s)
    return Source(path, Truth((placed(path, part),)))


SBR_DELAY = 962


def uneven(suffix: str, options: Sequence[str], step: int, but: str, except_for: range) -> Maker:
    """Pictures at 50 fps, of which only each `step`-th is left, with or without some more.

    Args:
        but: `with` or `without` the pictures of `except_for`.
    """

    def make(folder: Path) -> Source:
        is_extra = f"between(n,{except_for[0]},{except_for[-1]})"
        chosen = f"gt(not(mod(n,{step})){'+' if but == 'with' else '-'}{is_extra},0)"
        numbers = [n for n in range(350) if (but == "with" if n in except_for else n % step == 0)]
        path = encode(
            folder / f"source.{suffix}",
            [*options, "-fps_mode", "passthrough"],
            fps=50,
            count=350,
            picture_filter=f"select='{chosen}'",
        )
        part = at_times([n / 50 for n in numbers], 7.0, numbers)
        return Source(path, Truth((placed(path, part),)))

    return make


def turned(degrees: int, filters: str) -> Maker:
    """An MP4 whose pictures lie on their side, and whose header turns them upright."""

    def make(folder: Path) -> Source:
        whole = encode(folder / "whole.mp4", [*H264, *AAC], picture_filter=filters)
        path = folder / "source.mp4"
        with av.open(str(whole)) as read, av.open(str(path), "w") as written:
            streams = [written.add_stream_from_template(stream) for stream in read.streams]
            picture = streams[0]
            assert isinstance(picture, av.VideoStream)
            picture.set_display_rotation(degrees)
            for packet in read.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream_index]
                    written.mux(packet)
        return Source(path, Truth((placed(path, steady(25, 175)),)))

    return make


def packed_avi(folder: Path) -> Source:
    """DivX's packed B-frames: one rides with the P-picture before it, and a stub follows."""
    options = [*MPEG4, "-bf", "1", "-b_strategy", "0", "-sc_threshold", "1000000000", *PCM]
    options += ["-avoid_negative_ts", "disabled"]
    whole = encode(folder / "whole.avi", options)
    path = folder / "source.avi"
    splice(path, [Piece(whole)], [Piece(whole)], edit_pictures=_packed)
    # The decoder holds a picture back as it would with plain B-frames; the sound begins at 0.
    part = replace(steady(25, 175).later(1 / 25), sounds=(Sound(0.0, 7.0, 0.0),))
    return Source(path, Truth((part,)))


def _packed(chunks: list[Chunk]) -> list[Chunk]:
    packed: list[Chunk] = []
    for chunk in chunks:
        if _kind_of(chunk.data) == "B":
            packed[-1] = replace(packed[-1], data=packed[-1].data + chunk.data)
            packed.append(replace(chunk, data=_STUB, is_key=False))
        else:
            packed.append(chunk)
    first = packed[0]
    mark = b"\x00\x00\x01\xb2DivX503b1393p"
    at = first.data.index(b"\x00\x00\x01\xb6")
    packed[0] = replace(first, data=first.data[:at] + mark + first.data[at:])
    # Chunks of an AVI follow each other; their times say no more than that.
    return [
        replace(chunk, pts=n * 3600, dts=n * 3600, duration=3600) for n, chunk in enumerate(packed)
    ]


def _kind_of(data: bytes) -> str:
    at = data.index(b"\x00\x00\x01\xb6")
    return "IPBS"[data[at + 4] >> 6]


# A P-picture that is "not coded": type 01, no second passed, marker, time, marker, not coded.
_STUB = b"\x00\x00\x01\xb6" + bytes([0b01_0_1_0000, 0b0_1_0_01111])


def without_index(folder: Path) -> Source:
    """An AVI that ends before its index, as after a crash of the recorder."""
    source = avi([*MPEG4, "-bf", "2", *PCM], num_reordered=1, rate_hz=48_000)(folder)
    data = source.path.read_bytes()
    source.path.write_bytes(data[: data.rindex(b"idx1")])
    return source


PACKETS: dict[str, Maker] = {
    "3GP H.263, AMR-NB": plain("3gp", [*H263, *AMR], rate_hz=8000, num_delay=AMR_DELAY - 50),
    "3GP H.263, AMR-NB, ten frames a packet": joined_amr,
    "AVI MPEG-4, MP3, four frames a chunk": joined_mp3,
    "AVI MPEG-4 packed B": packed_avi,
    "AVI MPEG-4 with B, no index": without_index,
    "MP4 HE-AAC": sbr_aac,
    "MP4 H.264, no edit list": plain("mp4", [*H264, *AAC, "-use_editlist", "0"]),
    "WebM VP8, Opus, live (no cues)": plain("webm", [*VP8, *OPUS, "-live", "1"], rate_hz=48_000),
    "MKV H.264 VFR": uneven("mkv", [*H264, *FLAC], 2, "with", range(100, 181)),
    "MP4 H.264 VFR, one picture for 1.2 s": uneven(
        "mp4", [*H264, *AAC], 4, "without", range(121, 180)
    ),
    "MP4 H.264 turned 90": turned(90, "transpose=clock"),
    "MP4 H.264 turned 270": turned(270, "transpose=cclock"),
}
