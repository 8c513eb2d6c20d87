"""Measures published clips again, against the sources that they were cut from."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avipipe.errors import MediaError
from avipipe.files import sha256_of
from avipipe.manifests.uris import is_url, local_path
from avipipe.media.container import DEFAULT_LIMITS, MediaLimits
from avipipe.media.crop import WHOLE
from avipipe.media.probe import MediaInfo, probe
from avipipe.media.reference import Reference
from avipipe.media.sync import certify

# What surrounds a clip, so that a shift shows as one: what `certify` searches, on both sides.
_AROUND_S = 0.5


@dataclass(slots=True)
class Remeasure:
    """Compares clips with their sources, where these are still the same files.

    Attributes:
        max_offset_ms: how far sound and picture may be apart.
        limits: of the build, which may have been raised.
        num_measured: clips that were compared.
        num_without_source: clips whose source is no local file, or is another file now.
    """

    max_offset_ms: float
    limits: MediaLimits = DEFAULT_LIMITS
    num_measured: int = 0
    num_without_source: int = 0
    _digests: dict[Path, str] = field(default_factory=dict)
    _infos: dict[Path, MediaInfo] = field(default_factory=dict)

    def check(self, facts: Mapping[str, Any], members: Mapping[str, bytes]) -> Iterator[str]:
        """Yield what of a sample is not what its source holds.

        Args:
            facts: the sample's `json`.
            members: its `mp4` and `flac`.
        """
        source, span = facts["source"], facts["span"]
        path = None if is_url(source["uri"]) else local_path(source["uri"])
        if path is None or not path.is_file() or self._digest(path) != source["sha256"]:
            self.num_without_source += 1
            return
        self.num_measured += 1
        try:
            yield from self._faults(path, span, facts.get("crop", WHOLE), members)
        except MediaError as error:
            yield f"cannot be measured again: {error}"

    def _faults(
        self,
        path: Path,
        span: Mapping[str, float],
        crop: Sequence[float],
        members: Mapping[str, bytes],
    ) -> Iterator[str]:
        start_s, end_s = span["start_s"], span["end_s"]
        x0, y0, x1, y1 = crop
        if path not in self._infos:
            self._infos[path] = probe(path, self.limits)
        info = self._infos[path]
        around = (max(start_s - _AROUND_S, 0.0), end_s + _AROUND_S)
        reference = Reference.read(path, info, start_s=around[0], end_s=around[1])
        with tempfile.TemporaryDirectory() as name:
            video, audio = Path(name, "clip.mp4"), Path(name, "clip.flac")
            video.write_bytes(members["mp4"])
            audio.write_bytes(members["flac"])
            found = certify(
                reference,
                info,
                start_s=start_s,
                video=video,
                audio=audio,
                crop=(x0, y0, x1, y1),
            )
        if found.wrong_picture_s > 0:
            yield f"shows other pictures than its source for {found.wrong_picture_s:.2f} s"
        if found.wrong_sound_s > 0:
            yield f"has other sound than its source for {found.wrong_sound_s:.2f} s"
        if abs(found.av_offset_ms) > self.max_offset_ms:
            yield f"sound and picture are {found.av_offset_ms:+g} ms apart, measured again"

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = sha256_of(path)
        return self._digests[path]
