"""The report as a browser sees it."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from avipipe.manifests.evidence import FaceSeen
from avipipe.manifests.records import DropReason
from avipipe.pipeline.report import faces
from avipipe.pipeline.report.measures import WhatIf, measure
from avipipe.pipeline.report.model import (
    Argument,
    ClipCard,
    ClipVerdict,
    DegradedMask,
    FailureGroup,
    FailureRow,
    Loss,
    OutcomeTally,
    Report,
    SoundSummary,
    SourceRow,
    SplitRow,
    StageRow,
    Stripe,
)
from avipipe.pipeline.report.pictures import outline, picture
from avipipe.pipeline.report.render import render
from avipipe.pipeline.words import REASONS
from avipipe.stages.decide import DecideConfig
from tests.browser import browse, in_browser, text_of
from tests.decisions import model

HOSTILE = """<script>document.title="owned"</script><img src=x onerror="alert(1)">'"&--></style>"""

FACES = [
    FaceSeen(
        start_s=0.0,
        end_s=2.0,
        box=(0.1, 0.1, 0.3, 0.5),
        score=0.4,
        speech_score=1.25,
        boxes=[(0.1, 0.1, 0.3, 0.5)] * 4,
        scores=[1.5, -0.5, -0.7, 2.0],
        box_step_frames=12,
        sync_p_value=0.03,
    )
]
JUDGE = DecideConfig(max_speakers=1, max_music=0.5).judge(model({"level": (-1.0, 1.0)}))
VALUES = {"length": 4.0, "level": -20.0, "speakers": 2.0, "music": None}


def card(clip_id: str, reason: DropReason | None = None) -> ClipCard:
    """A clip of a ball that moves over a gradient."""
    frames = []
    rows_H1, columns_1W = np.mgrid[0:180, 0:320]
    gray_HW = (columns_1W * 255 // 320).astype(np.uint8)
    for number in range(4):
        mask_HW = (rows_H1 - 90) ** 2 + (columns_1W - 80 - 40 * number) ** 2 < 40**2
        frame_HWC = np.stack([gray_HW, np.where(mask_HW, 220, 90).astype(np.uint8), gray_HW], -1)
        drawn = picture(frame_HWC, mask_HW, height_px=180, time_s=0.5 + number)
        seen = faces.marks(FACES, 24 * number + 12, width=320, height=180)
        frames.append(replace(drawn, faces=seen))
    box_HW = np.zeros((180, 320), bool)
    box_HW[50:130, 40:120] = True
    return ClipCard(
        clip_id=clip_id,
        status="keep" if reason is None else "drop",
        reason="" if reason is None else reason.value,
        stage="pair" if reason is None else "decide_listen",
        because="" if reason is None else REASONS[reason],
        deciding="" if reason is None else "Not passed: few enough voices are heard: voices 2 > 1",
        source_uri=f"/media/{clip_id}.mp4",
        start_s=1.0,
        end_s=5.0,
        label="ball" if reason is None else "",
        caption="A ball rolls over a gradient." if reason is None else "",
        backend="template" if reason is None else "",
        av_offset_ms=0.25 if reason is None else None,
        frames=tuple(frames) if reason is None else (),
        pair_frame=0,
        levels=(DegradedMask(4, outline(box_HW, 320, 180), 0.78, True),) if reason is None else (),
        stills=(),
        sound=SoundSummary(
            peaks=tuple(abs(np.sin(np.arange(200) / 7)).tolist()),
            speech=(Stripe(0.5, 2.0, "speech"),),
            speakers=(Stripe(0.5, 2.0, "S0"),),
            onsets_s=(0.5, 2.5),
            classes=(("Speech", 0.91), ("Ball <b>", 0.3)),
        ),
        faces=faces.rows(FACES),
        num_faces=len(FACES),
        verdict=verdict(),
        backends=(("tag", "yamnet@1"), ("active_speaker", "lr_asd@1")),
        command=f"avipipe why {clip_id} --out ball",
    )


def verdict() -> ClipVerdict:
    """0.25 - 2 + 1.25 + 0.05 - 0.03 are log-odds of -0.48, a probability of 0.38."""
    return ClipVerdict(
        probability=0.38,
        best_probability=0.71,
        min_probability=0.6,
        start=0.25,
        strong=(
            Argument("no music is laid over it", "score 0.9", -2.0, by_prior=True),
            Argument("lips move as the voice does", "speaking score 1.8", 1.25, by_prior=False),
        ),
        weak=(
            Argument("something moves", "motion 0.4 px/frame", 0.05, by_prior=False),
            Argument("the camera stands", "motion 0.9 px/frame", -0.03, by_prior=False),
        ),
        limits=tuple(measure(finding) for finding in JUDGE.judge(VALUES, {}).findings),
        uncalibrated=("tag (yamnet@1)",),
    )


def stage(name: str, level: str, num_in: int, *losses: Loss, pending: int = 0) -> StageRow:
    dropped = sum(loss.items for loss in losses if loss.status == "drop")
    failed = sum(loss.items for loss in losses if loss.status == "fail")
    items = OutcomeTally(num_in - dropped - failed - pending, dropped, failed, pending)
    hours = OutcomeTally(*(0.01 * amount for amount in (items.kept, dropped, failed, pending)))
    assert level in ("source", "clip")
    return StageRow(
        name,
        "source" if level == "source" else "clip",
        num_in,
        items,
        hours,
        losses,
        wall_s=12.5,
        cpu_s=11.0,
        peak_rss_bytes=300_000_000,
    )


def report() -> Report:
    what_if = WhatIf(JUDGE)
    for level_dbfs in (-70.0, -60.0, -40.0, -20.0, -10.0):
        values = {**VALUES, "speakers": 1.0, "level": level_dbfs}
        what_if.take(JUDGE.judge(values, {}), 0.01, complete=level_dbfs != -10.0)
    silent = Loss("drop", "silent", 2, 0.02)
    timeout = Loss("fail", "timeout", 1, 0.01)
    failure = FailureRow("ball_00000000_00004000", "look", "took too long", 3, "frame 17\nframe 18")
    return Report(
        title="ball",
        out="ball",
        generation=2,
        profile="embedded",
        config_hash="0123456789abcdef",
        backends=(("vad", "silero", (("silero_vad", "MIT"),)), ("caption", "template", ())),
        stages=(
            stage("fetch", "source", 3, Loss("fail", "no_such_file", 1, 0.0)),
            stage("shots", "source", 2),
            stage("decide_listen", "clip", 5, silent),
            stage("look", "clip", 3, timeout, pending=1),
        ),
        clips=(card("ball_00001000_00005000"), card("ball_00005000_00009000", DropReason.SILENT)),
        uncalibrated=("tag (yamnet@1)",),
        held="cross-validated on labelled clips: keep-precision 0.90 (0.85 to 0.94)",
        outlook=what_if.outlook(),
        curves=what_if.curves(),
        failures=(
            FailureGroup("timeout", 7, "avipipe retry --out ball --kind timeout", (failure,)),
        ),
        sources=(
            SourceRow("/media/ball.mp4", "file-ba11", "keep", "", 12.0, 5, 1),
            SourceRow("/media/gone.mp4", "", "fail", "no_such_file", None, 0, 0),
        ),
        num_sources=3,
        splits=(SplitRow("train", 1, 4.0, 1, 1_234_000),),
        num_retracted=0,
        num_clips=5,
        num_upscaled=1,
        items=OutcomeTally(1, 2, 1, 1),
        hours=OutcomeTally(0.01, 0.02, 0.01, 0.01),
        fates=(silent, timeout),
    )


@in_browser
def test_the_page_renders_with_its_numbers_and_asks_for_nothing(tmp_path: Path) -> None:
    page = browse(render(report()), tmp_path)
    assert page.console == []
    assert page.requests == []
    assert "1 of 5 clips kept" in text_of(re.sub(r"</?strong>", "", page.dom))
    for expected in (
        "silent 2",
        "A ball rolls over a gradient.",
        "avipipe why ball_00001000_00005000 --out ball",
        "avipipe retry --out ball --kind timeout",
        "took too long",
        "and 6 more",
        "1.23 MB",
        "There is hardly any sound. Not passed: few enough voices are heard: voices 2 > 1",
        "Speech 0.91",
        "face 1 0.0–2.0 s, speaking score +1.2, lips p 0.03",
        "tag yamnet@1",
        "vad silero silero_vad MIT",
        "Profile embedded, cross-validated on labelled clips: keep-precision 0.90 (0.85 to 0.94).",
        "Not calibrated for tag (yamnet@1)",
        "in doubt: no music is laid over it score 0.9 prior −2.00",
        "lips move as the voice does speaking score 1.8 +1.25",
        "2 that hardly matter, together +0.02",
        "Every clip starts at +0.25; with these it stands at −0.48 , a probability of 0.38 .",
        "At 0.5, as configured: 1 0.60 min kept, at most 1 0.60 min more; expected precision 66 %",
    ):
        assert expected in page.text, expected
    # The script ran under the page's own policy: it alone adds copy buttons.
    assert page.dom.count(">copy</button>") == 3


@in_browser
def test_requests_and_errors_of_a_page_would_be_seen(tmp_path: Path) -> None:
    bad = '<img src="http://127.0.0.1:9/x.png"><script>nothing.there</script>'
    page = browse(bad, tmp_path)
    assert page.requests == ["http://127.0.0.1:9/x.png"]
    assert any("nothing is not defined" in line for line in page.console)


@in_browser
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    plain = report()
    failure = FailureRow(HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE)
    evil = replace(
        plain,
        title=HOSTILE,
        out=HOSTILE,
        clips=(replace(plain.clips[0], clip_id=HOSTILE, caption=HOSTILE, source_uri=HOSTILE),),
        failures=(FailureGroup(HOSTILE, 1, HOSTILE, (failure,)),),
        sources=(SourceRow(HOSTILE, HOSTILE, "fail", HOSTILE, None, 0, 0),),
        backends=((HOSTILE, HOSTILE, ((HOSTILE, HOSTILE),)),),
    )
    page = browse(render(evil), tmp_path)
    assert page.console == []
    assert page.dom.count("<script") == 1
    assert "<img" not in page.dom
    assert "<title>owned" not in page.dom
    assert '<script>document.title="owned"</script>' in page.text


def test_the_file_needs_nothing_else() -> None:
    html = render(report())
    for resource in re.findall(r'(?:src|href|srcset|action)="([^"]*)"', html):
        assert resource.startswith(("#", "data:image/jpeg;base64,")), resource[:80]
    assert "url(" not in html
    assert "@import" not in html
    jpeg = re.search(r"data:image/jpeg;base64,([^\"]+)", html)
    assert jpeg is not None
    assert base64.b64decode(jpeg.group(1)).startswith(b"\xff\xd8")


def test_faces_are_marked_by_whether_they_speak() -> None:
    html = render(report())
    article = html.partition("<article")[2].partition("</article>")[0]
    marks = re.findall(r'<g class="face (\w+)"><title>([^<]*)</title><rect x="([\d.]+)"', article)
    assert marks == [
        ("silent", "face 1: silent, score -0.5", "32.0"),
        ("speaks", "face 1: speaks, score +2.0", "32.0"),
    ]
    lane = re.findall(r'<i class="face (\w+)" style="left:([\d.]+)%;width:([\d.]+)%"', article)
    assert lane == [
        ("speaks", "0.0", "12.5"),
        ("silent", "12.5", "25.0"),
        ("speaks", "37.5", "12.5"),
    ]


def test_what_is_unknown_takes_one_line() -> None:
    html = render(report())
    assert "Not asked of this clip, or unknown: no music is laid over it." in html
    assert html.count('<tr class="missed">') == 2


def test_each_card_draws_what_speaks_for_it_and_what_against() -> None:
    html = render(report())
    article = html.partition("<article")[2].partition("</article>")[0]
    rows = re.findall(r'<tr class="(pro|con)">(.*?)</tr>', article, re.DOTALL)
    bars = [
        (side, *re.findall(r'<i style="(left|right):50%;width:([\d.]+)%"', row)[0])
        for side, row in rows
    ]
    assert bars == [
        ("con", "right", "50.0"),
        ("pro", "left", "31.25"),
        ("pro", "left", "1.25"),
        ("con", "right", "0.75"),
    ]
    folded = article.partition("<details>")[2].partition("</details>")[0]
    assert re.findall(r'<tr class="(pro|con)">', folded) == ["pro", "con"]
    assert '<div class="chance keep" role="img"' in article
    assert "Probability that it is good 0.38, at most 0.71; asked 0.60" in article
    assert 'class="fill" style="width:38.0%"' in article
    assert 'class="may" style="left:38.0%;width:33.0%"' in article
    assert 'class="asked" style="left:60.0%"' in article


def test_a_clip_that_nothing_is_known_of_has_no_verdict() -> None:
    plain = report()
    html = render(replace(plain, clips=(replace(plain.clips[0], verdict=None),)))
    article = html.partition("<article")[2].partition("</article>")[0]
    assert "A ball rolls over a gradient." in article
    assert 'class="chance' not in article
    assert "arguments" not in article


def test_the_outlook_comes_before_the_limits_that_are_set() -> None:
    html = render(report())
    section = html.partition('<section id="what-if">')[2].partition("</section>")[0]
    names = re.findall(
        r'aria-label="(?:Clips|Expected precision and recall)[^"]* ([\w]+)"', section
    )
    assert names == [
        "min_probability",
        "min_probability",
        "min_clip_s",
        "min_sound_dbfs",
        "max_music",
        "max_speakers",
    ]


def test_every_link_leads_somewhere() -> None:
    html = render(report())
    names = set(re.findall(r'\bid="([^"]+)"', html))
    links = re.findall(r'href="#([^"]+)"', html)
    assert len(names) == len(re.findall(r'\bid="', html)), "an id stands twice"
    assert set(links) <= names


def test_the_accounting_on_the_page_adds_up() -> None:
    html = render(report())
    rows = re.findall(r'<tr data-stage="(\w+)">(.*?)</tr>', html, re.DOTALL)
    assert [name for name, _ in rows] == ["fetch", "shots", "decide_listen", "look"]
    for _, row in rows:
        came, *went = map(int, re.findall(r'class="by-items">(\d+)<', row))
        assert came == sum(went)
        assert len(went) == 4
        assert "✓ yes" in row


def test_accounting_that_does_not_add_up_is_shown() -> None:
    plain = report()
    torn = replace(plain.stages[1], num_in=plain.stages[1].num_in + 1)
    html = render(replace(plain, stages=(plain.stages[0], torn)))
    assert "✕ -1 off" in html


@in_browser
def test_an_empty_dataset(tmp_path: Path) -> None:
    plain = report()
    empty = replace(
        plain,
        generation=0,
        stages=(stage("fetch", "source", 0), stage("listen", "clip", 0)),
        clips=(),
        outlook=None,
        curves=(),
        failures=(),
        sources=(),
        num_sources=0,
        splits=(),
        num_clips=0,
        items=OutcomeTally(),
        hours=OutcomeTally(),
        fates=(),
    )
    page = browse(render(empty), tmp_path)
    assert page.console == []
    assert "the dataset has no sources" in page.text
    assert "not published" in page.text


@in_browser
def test_a_dataset_whose_sources_all_failed(tmp_path: Path) -> None:
    plain = report()
    failed = replace(
        plain,
        stages=(stage("fetch", "source", 3, Loss("fail", "no_such_file", 3, 0.0)),),
        clips=(),
        outlook=None,
        curves=(),
        num_clips=0,
        items=OutcomeTally(),
        hours=OutcomeTally(),
        fates=(),
        splits=(),
    )
    page = browse(render(failed), tmp_path)
    assert page.console == []
    assert "none of 3 sources" in page.text
    assert "no such file 3" in page.text


def test_huge_counts_are_grouped() -> None:
    plain = report()
    huge = replace(
        plain,
        num_clips=12_345_678,
        items=OutcomeTally(10_000_000, 2_345_678, 0, 0),
        hours=OutcomeTally(28_000.4, 6_500.0, 0, 0),
        stages=(replace(plain.stages[2], hours=OutcomeTally(34_500.4)),),
        splits=(SplitRow("train", 10_000_000, 28_000 * 3600.0, 9_876, 55_000_000_000_000),),
    )
    text = text_of(render(huge))
    for expected in ("10,000,000", "12,345,678", "28,000 h", "9,876", "55 TB"):
        assert expected in text, expected
