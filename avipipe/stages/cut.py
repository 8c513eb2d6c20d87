"""Cut: the one encode of a clip, and the proof that its picture and sound stayed together."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from avipipe.errors import FailKind, MediaError
from avipipe.manifests.evidence import LookEvidence
from avipipe.manifests.records import Keep, Outcome
from avipipe.media.crop import WHOLE, Shares
from avipipe.media.ffmpeg import versions
from avipipe.media.normalize import (
    AUDIO_NAME,
    VIDEO_NAME,
    NormalizeConfig,
    Normalized,
    normalize,
)
from avipipe.media.probe import MediaInfo
from avipipe.media.reference import Reference
from avipipe.media.sync import SyncCertificate, certify
from avipipe.stages.base import Item, Resources, Stage
from avipipe.stages.fetch import source_path


class CutConfig(NormalizeConfig):
    """How clips are encoded, and how far sound and picture may come apart."""

    max_offset_ms: float = Field(
        20.0, gt=0, description="Largest measured offset between sound and picture."
    )
    crop_bars: bool = Field(
        True, description="Whether bars, borders and blurred sides are cut off before scaling."
    )


class Cut(Stage):
    """Writes `video.mp4` and `audio.flac` of a clip.

    Evidence: `num_frames`, `num_samples`, `width`, `height`, `duration_s`; `crop`, what of the
    source's upright picture is left, as shares (x0, y0, x1, y1); and `sync`, the fields of
    `SyncCertificate`.
    """

    name = "cut"
    version: ClassVar[int] = 3
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs: tuple[str, ...] = ("fetch", "probe", "shots")
    timeout_s = 3600.0

    def __init__(self, config: CutConfig) -> None:
        self.config = config
        if config.crop_bars:
            self.needs = (*type(self).needs, "look")
        self.resources = Resources(num_cpus=config.threads)

    def settings(self) -> Mapping[str, Any]:
        tool = {name: versions()[name] for name in ("ffmpeg", "libavcodec", "libavfilter")}
        config = self.config.model_dump(mode="json", exclude={"timeout_factor"})
        return {**config, "versions": tool}

    def run(self, item: Item, folder: Path) -> Outcome:
        try:
            written, sync = self._written(item, folder, reference=False)
        except MediaError as error:
            if error.kind not in (FailKind.WRONG_CONTENT, FailKind.OUT_OF_SYNC):
                raise
            # The container's index may lie. In order it cannot.
            written, sync = self._written(item, folder, reference=True)
        evidence = {
            "num_frames": written.num_frames,
            "num_samples": written.num_samples,
            "width": written.width,
            "height": written.height,
            "duration_s": written.duration_s,
            "crop": list(written.crop),
            "sync": asdict(sync),
        }
        return Keep(evidence, files=(VIDEO_NAME, AUDIO_NAME))

    def _written(
        self, item: Item, folder: Path, *, reference: bool
    ) -> tuple[Normalized, SyncCertificate]:
        """Write the clip and certify it.

        Raises:
            MediaError: WRONG_CONTENT or OUT_OF_SYNC where it is not what the source holds.
        """
        span, info = item.clip_span, MediaInfo.from_json(item.evidence["probe"])
        written = normalize(
            source_path(item),
            info,
            start_s=span.start_s,
            end_s=span.end_s,
            folder=folder,
            config=self.config,
            content=self._content(item),
            reference=reference,
        )
        sync = certify(
            Reference.load(item.folders["shots"]),
            info,
            start_s=span.start_s,
            video=folder / VIDEO_NAME,
            audio=folder / AUDIO_NAME,
            crop=written.crop,
        )
        if sync.wrong_picture_s > 0 or sync.wrong_sound_s > 0:
            message = (
                f"expected what the source holds from {span.start_s:.3f} s on, found other "
                f"pictures for {sync.wrong_picture_s:.2f} s and other sound for "
                f"{sync.wrong_sound_s:.2f} s"
            )
            raise MediaError(FailKind.WRONG_CONTENT, message)
        if abs(sync.av_offset_ms) > self.config.max_offset_ms:
            message = (
                f"expected sound and picture within {self.config.max_offset_ms:g} ms, found the "
                f"sound {sync.av_offset_ms:+g} ms late after cutting ({sync.method})"
            )
            raise MediaError(FailKind.OUT_OF_SYNC, message)
        return written, sync

    def _content(self, item: Item) -> Shares:
        if not self.config.crop_bars:
            return WHOLE
        picture = LookEvidence.model_validate(item.evidence["look"]).picture
        return WHOLE if picture is None else picture.content_box
