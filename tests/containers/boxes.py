"""Writes tables of MP4 files byte by byte, as phones and editors do, and ffmpeg does not."""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Edit:
    """One entry: `duration_s` of the media from `from_s` on; of nothing where that is None.

    `from_s` counts from the first picture or sample that the file meant to show.
    """

    duration_s: float
    from_s: float | None


def write_edits(path: Path, source: Path, video: Sequence[Edit], audio: Sequence[Edit]) -> Path:
    """Copy an MP4 whose `moov` comes last, with other edit lists for its two tracks."""
    data = source.read_bytes()
    head, moov = _split_moov(data)
    movie_scale = struct.unpack_from(">I", _find(moov, b"mvhd"), 12)[0]

    def edited(trak: bytes) -> bytes:
        edits = {b"vide": video, b"soun": audio}.get(_find(trak, b"mdia", b"hdlr")[8:12])
        if edits is None:
            return trak
        media_scale = struct.unpack_from(">I", _find(trak, b"mdia", b"mdhd"), 12)[0]
        # Where the file's own list begins: behind the delay of B-frames, or the codec's run-in.
        old = _find(trak, b"edts", b"elst")
        base = struct.unpack_from(">i", old, 8 + 12 * (len(old) // 12 - 1) + 4)[0]
        entries = b"".join(
            struct.pack(
                ">IiI",
                round(edit.duration_s * movie_scale),
                -1 if edit.from_s is None else base + round(edit.from_s * media_scale),
                1 << 16,
            )
            for edit in edits
        )
        elst = _box(b"elst", struct.pack(">II", 0, len(edits)) + entries)
        duration = struct.pack(">I", round(sum(e.duration_s for e in edits) * movie_scale))
        trak = _replaced(trak, b"edts", lambda _: elst)
        return _replaced(trak, b"tkhd", lambda body: body[:20] + duration + body[24:])

    longest_s = max(sum(edit.duration_s for edit in edits) for edits in (video, audio))
    duration = struct.pack(">I", round(longest_s * movie_scale))
    moov = _replaced(moov, b"mvhd", lambda body: body[:16] + duration + body[20:])
    moov = _replaced(moov, b"trak", edited)
    path.write_bytes(head + _box(b"moov", moov))
    return path


def write_sound(
    path: Path, source: Path, samples: Sequence[bytes], durations: Sequence[int]
) -> Path:
    """Copy an MP4 whose `moov` comes last, with other samples for its sound, all in one chunk.

    A sample of an MP4 is what its reader gets as one packet. `durations` count media ticks. The
    sound's edit list is left out: it would skip samples of a packet that is another now.
    """
    head, moov = _split_moov(source.read_bytes())
    tables = {
        b"stts": _table([1, ticks] for ticks in durations),
        b"stsz": bytes(4) + _table([len(sample)] for sample in samples),
        b"stsc": _table([[1, len(samples), 1]]),
        b"stco": _table([[len(head) + 8]]),
    }

    def resampled(trak: bytes) -> bytes:
        if _find(trak, b"mdia", b"hdlr")[8:12] != b"soun":
            return trak
        trak = _without(trak, b"edts")
        for kind, table in tables.items():
            trak = _changed(trak, (b"mdia", b"minf", b"stbl", kind), table)
        return trak

    moov = _replaced(moov, b"trak", resampled)
    path.write_bytes(head + _box(b"mdat", b"".join(samples)) + _box(b"moov", moov))
    return path


def _table(rows: Iterable[Sequence[int]]) -> bytes:
    """A full box's body: version and flags, the number of rows, the rows."""
    packed = [struct.pack(f">{len(row)}I", *row) for row in rows]
    return struct.pack(">II", 0, len(packed)) + b"".join(packed)


def _changed(data: bytes, kinds: tuple[bytes, ...], body: bytes) -> bytes:
    """`data` with another body for the box at the end of a path of nested boxes."""
    if len(kinds) == 1:
        return _replaced(data, kinds[0], lambda _: body)
    return _replaced(data, kinds[0], lambda inner: _changed(inner, kinds[1:], body))


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and body of each box."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8:
            raise AssertionError(f"expected small boxes, found one of size {size}")
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def _split_moov(data: bytes) -> tuple[bytes, bytes]:
    at = 0
    while True:
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"moov":
            if at + size != len(data):
                raise AssertionError("expected moov at the end, found more behind it")
            return data[:at], data[at + 8 :]
        at += size


def _find(data: bytes, *kinds: bytes) -> bytes:
    for kind in kinds:
        data = next(body for found, body in _boxes(data) if found == kind)
    return data


def _replaced(data: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return b"".join(
        _box(found, change(body) if found == kind else body) for found, body in _boxes(data)
    )


def _without(data: bytes, kind: bytes) -> bytes:
    return b"".join(_box(found, body) for found, body in _boxes(data) if found != kind)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body
