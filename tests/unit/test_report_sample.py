"""Which clips the report shows."""

import random

from avipipe.manifests.records import SourceLine, Span
from avipipe.pipeline.graph import Row
from avipipe.pipeline.report.gallery import StratifiedSample


def clips(stratum: str, num: int) -> list[tuple[str, str, Row]]:
    source = SourceLine(0, f"/{stratum}.mp4", None, "list:1")
    return [
        (stratum, f"{stratum or 'kept'}-{n:04d}", Row(source, Span(n, n + 1.0))) for n in range(num)
    ]


def shown(offered: list[tuple[str, str, Row]], *, max_clips: int = 24) -> list[tuple[str, float]]:
    sample = StratifiedSample(max_clips)
    for clip in offered:
        sample.offer(*clip)
    return [(row.source.uri, row.span.start_s) for row in sample.rows() if row.span]


def count(drawn: list[tuple[str, float]], stratum: str) -> int:
    return sum(uri == f"/{stratum}.mp4" for uri, _ in drawn)


def test_every_reason_is_shown_beside_kept_clips() -> None:
    drawn = shown(clips("", 900) + clips("silent", 500) + clips("too_short", 2))
    assert len(drawn) == len(set(drawn)) == 24
    assert count(drawn, "") == 12
    assert count(drawn, "too_short") == 2
    assert count(drawn, "silent") == 10
    assert [uri for uri, _ in drawn[:12]] == ["/.mp4"] * 12


def test_what_one_side_lacks_the_other_gets() -> None:
    assert count(shown(clips("", 900) + clips("silent", 3)), "") == 21
    assert len(shown(clips("silent", 900))) == 24
    assert len(shown(clips("", 5) + clips("silent", 4))) == 9
    assert shown([]) == []


def test_the_sample_does_not_depend_on_the_order_of_the_clips() -> None:
    offered = clips("", 300) + clips("silent", 300) + clips("static_picture", 300)
    drawn = shown(offered)
    random.Random(1).shuffle(offered)
    assert shown(offered) == drawn


def test_more_reasons_than_places_still_fit() -> None:
    offered = [clip for n in range(30) for clip in clips(f"reason_{n}", 3)]
    assert len(shown(offered, max_clips=8)) == 8
