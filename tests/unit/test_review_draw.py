"""Which clips a review page shows."""

from collections import Counter
from itertools import islice

import pytest

from avipipe.manifests.records import SourceLine, Span
from avipipe.pipeline.graph import Row
from avipipe.pipeline.review.draw import Candidate, SeededDraw, Stratum, band_of


def clips(stratum: Stratum, num: int) -> list[Candidate]:
    name = "-".join(str(part) for part in stratum)
    source = SourceLine(0, f"/{name}.mp4", None, "list:1")
    return [
        Candidate(f"{name}-{n:04d}", stratum, Row(source, Span(n, n + 1.0))) for n in range(num)
    ]


def drawn(offered: list[Candidate], *, count: int = 24, seed: int = 0) -> list[Candidate]:
    draw = SeededDraw(count, seed)
    for clip in offered:
        draw.offer(clip)
    return list(islice(draw, count))


def kept(band: int | None = None) -> Stratum:
    return Stratum("keep", band, "")


def dropped(reason: str, band: int | None = None) -> Stratum:
    return Stratum("drop", band, reason)


def test_without_probabilities_half_are_kept_and_each_reason_has_its_share() -> None:
    offered = clips(kept(), 900) + clips(dropped("silent"), 500) + clips(dropped("crowd"), 40)
    found = drawn(offered + clips(dropped("too_short"), 1))
    by_reason = Counter(clip.stratum.reason for clip in found)
    assert by_reason[""] == 12
    assert by_reason["too_short"] == 1
    assert {by_reason["silent"], by_reason["crowd"]} == {5, 6}
    assert len({clip.clip_id for clip in found}) == 24


def test_probabilities_are_spread_evenly() -> None:
    offered = [clip for band in range(5, 10) for clip in clips(kept(band), 10 ** (band - 4))]
    for band, reason in ((0, "silent"), (0, "crowd"), (2, "crowd"), (4, "crowd"), (None, "silent")):
        offered += clips(dropped(reason, band), 300)
    found = drawn(offered, count=80)
    sides = Counter((clip.stratum.decision, clip.stratum.band) for clip in found)
    assert {sides["keep", band] for band in range(5, 10)} == {8}
    assert {sides["drop", band] for band in (0, 2, 4, None)} == {10}
    lowest = Counter(clip.stratum.reason for clip in found if clip.stratum.band == 0)
    assert lowest == {"silent": 5, "crowd": 5}


def test_what_one_side_lacks_the_other_gets() -> None:
    found = drawn(clips(kept(), 900) + clips(dropped("silent"), 3))
    assert Counter(clip.stratum.decision for clip in found) == {"keep": 21, "drop": 3}
    assert len(drawn(clips(kept(), 5) + clips(dropped("silent"), 4))) == 9
    assert drawn([]) == []


def test_the_seed_alone_decides() -> None:
    offered = clips(kept(), 200) + clips(dropped("silent"), 200)
    first = drawn(offered)
    assert drawn(offered[::-1]) == first
    others = {clip.clip_id for clip in drawn(offered, seed=1)}
    assert len(others & {clip.clip_id for clip in first}) < 12


def test_memory_does_not_grow_with_the_dataset() -> None:
    draw = SeededDraw(3, 0)
    for clip in clips(kept(), 1000):
        draw.offer(clip)
    assert len(list(draw)) == 3


@pytest.mark.parametrize(
    ("probability", "band"), [(None, None), (0.0, 0), (0.09, 0), (0.1, 1), (0.95, 9), (1.0, 9)]
)
def test_bands(probability: float | None, band: int | None) -> None:
    assert band_of(probability) == band
