"""Writes the review page of a dataset."""

import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from avipipe.errors import ConfigError, MediaError
from avipipe.files import write_whole
from avipipe.manifests.edits import EditPair
from avipipe.media.normalize import NormalizeConfig
from avipipe.pages.film import Film, film, mask_bytes
from avipipe.pipeline.graph import Row
from avipipe.pipeline.review.clips import ClipMedia, PublishedClips, ReviewClip, WorkClips
from avipipe.pipeline.review.draw import Candidate, SeededDraw
from avipipe.pipeline.review.page import Page, PageClip, page_clip, render
from avipipe.pipeline.workspace import Workspace
from avipipe.text import title_of

logger = logging.getLogger(__name__)

_WAYS = tuple(
    NormalizeConfig(short_side_px=360, max_long_side_px=960, crf=crf, audio_kbps=audio_kbps)
    for crf, audio_kbps in ((28, 96), (34, 96), (40, 64), (46, 48))
)
"""360 pixels are enough to see lips move and a mask's edge, and take a tenth of the bytes of 720;
one way after the other until a clip is small enough: first what shows and sounds well, last what
one can just judge by."""

_PAGE_BYTES = 120_000
"""Of a page without clips: styles, script and what frames them."""

_WORDS_BYTES = 10_000
"""Of what is said of a clip: caption, evidence, ids; about a third of it as a rule."""


class ReviewListener(Protocol):
    """Listener to the progress of writing a review page."""

    def drew(self, num_clips: int, counts: Counter[str]) -> None:
        """Clips were drawn, at most `num_clips`; `counts` is what became of all."""

    def filmed(self, num_clips: int, num_bytes: int) -> None:
        """Another film is ready: `num_clips` of them take `num_bytes` of the page."""


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """Result of writing a page. `unreadable`: clips that were drawn and have no video any more."""

    num_clips: int
    num_bytes: int
    unreadable: int


def write_review(
    workspace: Workspace,
    path: Path,
    *,
    count: int,
    seed: int,
    max_bytes: int,
    listener: ReviewListener,
    only_pairs: bool = False,
) -> ReviewSummary:
    """Write a page with `count` clips, or as many as there are.

    Args:
        max_bytes: of the page; videos get coarser until it holds.
        only_pairs: show only clips with edit pairs.
    Raises:
        ConfigError: the dataset has no clip to show, or they do not fit.
        RunError: the page cannot be written.
    """
    config = workspace.require_config()
    with _open(workspace) as clips:
        draw, counts, paired = SeededDraw(count, seed), Counter[str](), Counter[str]()
        for candidate in clips.candidates(counts):
            has_pairs = candidate.clip_id in clips.edits
            paired[candidate.stratum.decision] += has_pairs
            if has_pairs or not only_pairs:
                draw.offer(candidate)
        counts = paired if only_pairs else counts
        wanted = min(count, counts["keep"] + counts["drop"] - counts["without_video"])
        listener.drew(wanted, counts)
        max_film_bytes = max_bytes - _PAGE_BYTES - wanted * _WORDS_BYTES
        shown, unreadable = _filmed(clips, draw, wanted, max_film_bytes, listener)
    if only_pairs and not paired.total():
        raise ConfigError(
            f"{workspace.out} has no clip with edit pairs; publish them with the dataset, into a "
            "new folder (`avipipe build --set stages.publish.edit_splits=[test]`), or leave out "
            "--pairs"
        )
    if not shown:
        raise ConfigError(_nothing_to_show(workspace.out, counts))
    # Not in the order of the draw, in which kept and dropped ones take turns.
    shown.sort(key=lambda pair: draw.rank(f"place of {pair[0].clip_id}"))
    title = title_of(workspace.out)
    page = Page(
        title=title,
        dataset=f"{title}-{config.identity_hash()[:12]}",
        seed=seed,
        num_clips=counts["keep"] + counts["drop"],
        clips=tuple(clip for clip, _ in shown),
    )
    data = render(page, [film for _, film in shown]).encode()
    write_whole(path, data)
    return ReviewSummary(len(shown), len(data), unreadable)


@dataclass(frozen=True, slots=True)
class _Clips:
    """Those of the work folder, and beside them what only the publication has."""

    work: WorkClips | None
    published: PublishedClips
    scratch: Path
    edits: Mapping[str, tuple[EditPair, ...]]

    def candidates(self, counts: Counter[str]) -> Iterator[Candidate]:
        if self.work is not None:
            yield from self.work.candidates(counts)
        yield from self.published.candidates(self.work.ids if self.work else (), counts)

    def clip(self, candidate: Candidate) -> ReviewClip:
        if isinstance(candidate.row, Row):
            assert self.work is not None
            found = self.work.clip(candidate.row)
        else:
            found = self.published.clip(candidate.row)
        return replace(found, edits=self.edits.get(candidate.clip_id, ()))


@contextmanager
def _open(workspace: Workspace) -> Iterator[_Clips]:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="avipipe-")))
        work = None
        if workspace.has_work():
            work = WorkClips(*stack.enter_context(workspace.survey()))
        (scratch / "taken").mkdir()
        (scratch / "film").mkdir()
        published = PublishedClips(workspace.out, scratch / "taken")
        yield _Clips(work, published, scratch / "film", published.edits())


def _filmed(
    clips: _Clips, draw: Iterable[Candidate], wanted: int, max_bytes: int, listener: ReviewListener
) -> tuple[list[tuple[PageClip, Film]], int]:
    """The first clips of the draw that can be shown; and how many before them cannot."""
    shown: list[tuple[PageClip, Film]] = []
    used_bytes = unreadable = 0
    for candidate in draw:
        try:
            clip = clips.clip(candidate)
            # All that are left pay for its masks; what it does not need, those after it may use.
            left_bytes = max_bytes - used_bytes - mask_bytes(clip.footage.masks)
            share_bytes = left_bytes // (wanted - len(shown))
            taken = _film(clip.footage, clips.scratch, share_bytes)
        except MediaError as error:
            logger.warning("%s is left out: %s", candidate.clip_id, error)
            unreadable += 1
            continue
        shown.append((page_clip(clip, taken), taken))
        used_bytes += taken.num_bytes
        listener.filmed(len(shown), used_bytes)
        if len(shown) == wanted:
            break
    return shown, unreadable


def _film(footage: ClipMedia, folder: Path, max_bytes: int) -> Film:
    return film(
        footage.path,
        footage.info,
        start_s=footage.start_s,
        end_s=footage.end_s,
        masks=footage.masks,
        ways=_WAYS,
        folder=folder,
        max_bytes=max_bytes,
        advice="ask for fewer clips (--count) or a larger page (--max-mb)",
    )


def _nothing_to_show(out: str, counts: Counter[str]) -> str:
    decided = counts["keep"] + counts["drop"]
    if decided:
        return (
            f"{out}: none of {decided} clips has a video any more; bring their sources back to "
            "where they were"
        )
    return (
        f"{out} has no clip that was kept or dropped ({counts['pending']} pending, "
        f"{counts['fail']} failed); run `avipipe build` first, or see `avipipe status`"
    )
