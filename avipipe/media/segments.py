"""The segments of a rendition in DASH or HLS, and a rendition of some of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from avipipe.media.remote_file import NotInPartsError

_URI = re.compile(r'URI="([^"]+)"')
_NO_KEY = "#EXT-X-KEY:METHOD=NONE"
# What makes times jump, or leaves segments out: such a playlist has no one timeline.
_BROKEN_TIME = ("#EXT-X-DISCONTINUITY", "#ANVATO", "#UPLYNK")


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of a rendition, in which it is downloaded.

    Attributes:
        durations_s: of each segment, as the manifest says.
        form: the rendition, as yt-dlp describes it.
        head, pieces: what stands before all segments, and what stands for each.
    """

    durations_s: tuple[float, ...]
    form: Mapping[str, Any]
    head: Any
    pieces: tuple[Any, ...]

    def around(self, start_s: float, end_s: float) -> range:
        """The segments of a time, and one more on each side: what manifests say is rounded."""
        first, last, time_s = 0, len(self.durations_s) - 1, 0.0
        for number, duration_s in enumerate(self.durations_s):
            if time_s <= start_s:
                first = number
            if time_s <= end_s:
                last = number
            time_s += duration_s
        return range(max(first - 1, 0), min(last + 2, len(self.durations_s)))

    def some(self, numbers: range) -> dict[str, Any]:
        """Make a rendition of these segments alone."""
        name = f"{self.form['format_id']}-{numbers.start}-{numbers.stop}"
        pieces = [self.pieces[number] for number in numbers]
        if "fragments" in self.form:
            return {**self.form, "format_id": name, "fragments": [*self.head, *pieces]}
        lines, last_key = ["#EXTM3U", *self.head], _NO_KEY
        for key, *own in pieces:
            lines += own if key == last_key else [key, *own]
            last_key = key
        playlist = "\n".join([*lines, "#EXT-X-ENDLIST", ""])
        return {**self.form, "format_id": name, "hls_media_playlist_data": playlist}


def dash_segments(form: Mapping[str, Any]) -> Segments:
    """Read the segments of a rendition off a DASH manifest.

    Raises:
        NotInPartsError: it does not say how long each is, or has several periods, each of which
            begins with something that has no length.
    """
    fragments = form.get("fragments")
    if not isinstance(fragments, Sequence):
        raise NotInPartsError("its segments are not known beforehand")
    num_head = 0 if fragments and fragments[0].get("duration") else 1
    head, pieces = fragments[:num_head], fragments[num_head:]
    if not pieces or not all(piece.get("duration") for piece in pieces):
        raise NotInPartsError("its manifest does not say how long its segments are")
    durations_s = tuple(float(piece["duration"]) for piece in pieces)
    return Segments(durations_s, form, tuple(head), tuple(pieces))


def hls_segments(form: Mapping[str, Any], playlist: str, url: str) -> Segments:
    """Read the segments of a rendition off an HLS playlist.

    Args:
        playlist: of the rendition's segments, which came from `url`.
    Raises:
        NotInPartsError: its segments do not stand alone, or on one timeline.
    """
    if not playlist.startswith("#EXTM3U") or "#EXT-X-ENDLIST" not in playlist:
        raise NotInPartsError("its playlist is not finished")
    head: list[str] = []
    own: list[str] = []
    key = _NO_KEY
    sequence = 0
    pieces: list[tuple[str, ...]] = []
    durations_s: list[float] = []
    for line in filter(None, map(str.strip, playlist.splitlines())):
        tag, _, value = line.partition(":")
        if line.startswith(_BROKEN_TIME):
            raise NotInPartsError("its playlist joins what has no one timeline")
        if tag == "#EXT-X-MEDIA-SEQUENCE":
            sequence = _number(value)
        elif tag == "#EXT-X-MAP":
            if head or pieces or key != _NO_KEY:
                raise NotInPartsError("its segments have several beginnings, or an encrypted one")
            head = [_absolute(line, url)]
        elif tag == "#EXT-X-KEY":
            key = _absolute(line, url)
        elif tag == "#EXTINF":
            own.append(line)
            durations_s.append(_duration_s(value))
        elif tag == "#EXT-X-BYTERANGE":
            if "@" not in value:
                raise NotInPartsError("its segments say where they end, not where they begin")
            own.append(line)
        elif not line.startswith("#"):
            # The number of a segment is part of what it is encrypted with.
            number = f"#EXT-X-MEDIA-SEQUENCE:{sequence + len(pieces)}"
            pieces.append((key, number, *own, urljoin(url, line)))
            own = []
    if not pieces or len(pieces) != len(durations_s):
        raise NotInPartsError("its playlist does not say how long its segments are")
    return Segments(tuple(durations_s), form, tuple(head), tuple(pieces))


def _absolute(line: str, url: str) -> str:
    return _URI.sub(lambda match: f'URI="{urljoin(url, match[1])}"', line)


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text.strip()):
        raise NotInPartsError("its playlist is not numbered")
    return int(text)


def _duration_s(text: str) -> float:
    number = text.partition(",")[0].strip()
    if not re.fullmatch(r"\d{1,9}(\.\d*)?", number):
        raise NotInPartsError("its playlist does not say how long its segments are")
    return float(number)
