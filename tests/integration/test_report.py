"""The report as a browser sees it."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from avipipe.manifests.evidence import FaceTrack
from avipipe.manifests.records import DropReason
from avipipe.pipeline.report import faces
from avipipe.pipeline.report.measures import WhatIf, measure
from avipipe.pipeline.report.model import (
    ClipCard,
    FailureGroup,
    FailureRow,
    Level,
    Loss,
    Report,
    Sound,
    SourceRow,
    SplitRow,
    StageRow,
    Stripe,
    Tally,
)
from avipipe.pipeline.report.pictures import outline, picture
from avipipe.pipeline.report.render import render
from avipipe.pipeline.words import REASONS
from avipipe.stages.decide import DecideConfig, judge
from tests.browser import browse, in_browser, text_of

HOSTILE = """<script>document.title="owned"</script><img src=x onerror="alert(1)">'"&--></style>"""

FACES = [
    FaceTrack(
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
VALUES = {"min_clip_s": 4.0, "min_sound_dbfs": -20.0, "max_speakers": 2.0, "max_music": None}


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
    found = judge(VALUES, DecideConfig())
    return ClipCard(
        clip_id=clip_id,
        status="keep" if reason is None else "drop",
        reason="" if reason is None else reason.value,
        stage="pair" if reason is None else "decide_listen",
        because="" if reason is None else REASONS[reason],
        deciding="few enough voices are heard: voices 2 > 1",
        source_uri=f"/media/{clip_id}.mp4",
        start_s=1.0,
        end_s=5.0,
        label="ball" if reason is None else "",
        caption="A ball rolls over a gradient." if reason is None else "",
        backend="template" if reason is None else "",
        av_offset_ms=0.25 if reason is None else None,
        frames=tuple(frames) if reason is None else (),
        pair_frame=0,
        levels=(Level(4, outline(box_HW, 320, 180), 0.78, True),) if reason is None else (),
        stills=(),
        sound=Sound(
            peaks=tuple(abs(np.sin(np.arange(200) / 7)).tolist()),
            speech=(Stripe(0.5, 2.0, "speech"),),
            speakers=(Stripe(0.5, 2.0, "S0"),),
            onsets_s=(0.5, 2.5),
            classes=(("Speech", 0.91), ("Ball <b>", 0.3)),
        ),
        faces=faces.rows(FACES),
        num_faces=len(FACES),
        measures=tuple(measure(finding) for finding in found),
        backends=(("tag", "yamnet@1"), ("active_speaker", "lr_asd@1")),
        command=f"avipipe why {clip_id} --out ball",
    )


def stage(name: str, level: str, num_in: int, *losses: Loss, pending: int = 0) -> StageRow:
    dropped = sum(loss.items for loss in losses if loss.status == "drop")
    failed = sum(loss.items for loss in losses if loss.status == "fail")
    items = Tally(num_in - dropped - failed - pending, dropped, failed, pending)
    hours = Tally(*(0.01 * amount for amount in (items.kept, dropped, failed, pending)))
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
    what_if = WhatIf(DecideConfig())
    for level_dbfs in (-70.0, -60.0, -40.0, -20.0):
        what_if.add({**VALUES, "min_sound_dbfs": level_dbfs}, 0.01)
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
        items=Tally(1, 2, 1, 1),
        hours=Tally(0.01, 0.02, 0.01, 0.01),
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
        curves=(),
        failures=(),
        sources=(),
        num_sources=0,
        splits=(),
        num_clips=0,
        items=Tally(),
        hours=Tally(),
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
        curves=(),
        num_clips=0,
        items=Tally(),
        hours=Tally(),
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
        items=Tally(10_000_000, 2_345_678, 0, 0),
        hours=Tally(28_000.4, 6_500.0, 0, 0),
        stages=(replace(plain.stages[2], hours=Tally(34_500.4)),),
        splits=(SplitRow("train", 10_000_000, 28_000 * 3600.0, 9_876, 55_000_000_000_000),),
    )
    text = text_of(render(huge))
    for expected in ("10,000,000", "12,345,678", "28,000 h", "9,876", "55 TB"):
        assert expected in text, expected
