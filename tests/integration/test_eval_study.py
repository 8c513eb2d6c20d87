"""A study from its cases to its report: the page is answered in headless Chromium."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from avipipe.cli import cli
from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.cases import write_cases
from avipipe.evaluate.controls import controls_of
from avipipe.evaluate.study.films import study_films
from avipipe.evaluate.study.key import StudyKey, read_key
from avipipe.evaluate.study.page import cases_of_runs
from avipipe.evaluate.study.plan import COPY, SOURCE, StudyFilm
from tests.browser import in_browser
from tests.integration import lavfi
from tests.tab import Tab

HOSTILE = """</script><script>window.owned = true</script><img src=x onerror="alert(1)">"""
METHODS = ("secretmethod", "othermethod")


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, ["eval", *map(str, words)], catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources with sound of their own, edits by two methods, one of them without sound."""
    root = tmp_path_factory.mktemp("study")
    lines = []
    for number in range(2):
        graph = f"testsrc2=s=96x64:r=24:d=0.5,hue=h={120 * number}"
        tone = f"sine=f={440 * (number + 1)}:d=0.5"
        source = lavfi.write(root / f"{number}.mp4", video=graph, audio=tone)
        for method in METHODS:
            sound = None if (method, number) == (METHODS[1], 1) else tone
            edit = root / f"{method}-{number}.mp4"
            lavfi.write(edit, video=f"{graph},negate", audio=sound)
            case = {"name": f"clip{number}", "method": method, "source": source.name}
            lines.append({**case, "edit": edit.name, "instruction": HOSTILE})
    broken = {**lines[0], "name": "broken", "edit": "cases.jsonl"}
    text = "".join(f"{json.dumps(line)}\n" for line in [*lines, broken])
    (root / "cases.jsonl").write_text(text)
    return root


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    done = invoke("study", folder / "cases.jsonl", "--out", folder / "study.html", "--checks", 1)
    assert done.exit_code == 0
    assert f"left out: {METHODS[0]}: broken: cases.jsonl" in done.output
    return folder / "study.html"


@pytest.fixture(scope="module")
def key(page: Path) -> StudyKey:
    return read_key(page.with_suffix(".key.json"))


@pytest.fixture
def tab(tmp_path: Path, page: Path) -> Iterator[Tab]:
    with Tab(tmp_path / "browser") as tab:
        tab.open(page)
        yield tab
        assert tab.console == []
        assert [url for url in tab.requests if not url.startswith(("file://", "blob:"))] == []


def test_a_page_names_nobody_and_its_key_everybody(page: Path, key: StudyKey) -> None:
    text = page.read_text()
    for name in (*METHODS, "control:", "shuffled", "clip0", "is_check", str(page.parent)):
        assert name not in text
    assert len(key.trials) == 2 + 1
    assert {*key.films.values()} >= {*METHODS, COPY, "control: shuffled"}
    videos = dict(re.findall(r'<script type="text/plain" id="(f\d+)">(.*?)</script>', text))
    assert videos.keys() == key.films.keys()
    assert len(text) - sum(map(len, videos.values())) < 60_000
    check = next(trial for trial in key.trials.values() if trial.is_check)
    (other,) = {check.left, check.right} - {film for film in key.films if key.films[film] == COPY}
    assert videos[other] != videos[check.source]


def test_one_seed_writes_one_page(folder: Path, page: Path, key: StudyKey) -> None:
    again = folder / "again.html"
    for seed in (0, 1):
        words = ("--out", again, "--checks", 1, "--seed", seed)
        assert invoke("study", folder / "cases.jsonl", *words).exit_code == 0
        assert (again.read_bytes() == page.read_bytes()) is (seed == 0)


def test_runs_are_taken_together_unless_a_name_has_two_sources(
    folder: Path, tmp_path: Path
) -> None:
    whole = cases_of_runs([folder / "cases.jsonl"])
    first, second = ([c for c in whole if c.method == m and c.edit] for m in METHODS)
    write_cases(tmp_path / "cases.jsonl", [*first, *controls_of(first, seed=0)])
    other = tmp_path / "other.jsonl"
    write_cases(other, second)
    assert cases_of_runs([tmp_path, other]) == whole
    write_cases(other, [second[0].model_copy(update={"source": folder / "1.mp4"})])
    with pytest.raises(ManifestError, match="two sources"):
        cases_of_runs([tmp_path, other])


def test_films_get_coarser_together_until_they_fit(folder: Path) -> None:
    wanted = [StudyFilm(f"clip{n}", SOURCE, folder / f"{n}.mp4") for n in range(2)]
    fine = study_films(wanted, 10**9, lambda *_: None)
    num_bytes = sum(film.num_bytes for film in fine)
    coarse = study_films(wanted, num_bytes - 1, lambda *_: None)
    assert {film.height for film in fine} == {480}
    assert {film.height for film in coarse} == {360}
    with pytest.raises(ConfigError, match="do not fit"):
        study_films(wanted, 1000, lambda *_: None)


def enter(tab: Tab, rater: str) -> None:
    tab.click("#name")
    tab.call("Input.insertText", {"text": rater})
    tab.click("#enter button")


def play_both(tab: Tab) -> None:
    for number, side in (("1", "a"), ("2", "b")):
        tab.press(number)
        tab.wait(f"heard.has('{side}')")


def films(tab: Tab) -> dict[str, str]:
    found: dict[str, str] = tab.run("sides_of(trials[own.at])")
    return found


def exported(tab: Tab) -> list[dict[str, Any]]:
    for earlier in tab.downloads.glob("*"):
        earlier.unlink()
    tab.press("e")
    path = tab.downloaded("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


@in_browser
def test_keys_answer_a_reload_loses_nothing_and_the_report_reads_it(
    tab: Tab, key: StudyKey, folder: Path
) -> None:
    enter(tab, "ada")
    tab.press("ArrowLeft")
    assert tab.run("part('hint').textContent") == "Play A and B to the end first."
    assert tab.run("Object.keys(answers_of(trials[0])).length") == 0
    assert tab.run("part('text').textContent") == HOSTILE
    play_both(tab)
    shown = films(tab)
    tab.press("Enter", "ArrowLeft", "ArrowRight", "Backspace", "ArrowDown")
    tab.reload()
    assert tab.run("part('count').textContent") == "0 of 3"
    play_both(tab)
    tab.press("ArrowRight", "Enter")
    assert tab.run("part('count').textContent") == "1 of 3"
    assert tab.run("own.at") == 1
    (first,) = exported(tab)
    assert (first["rater"], first["left"], first["right"]) == ("ada", shown["a"], shown["b"])
    assert first["answers"] == {"synchrony": shown["a"], "text": "same", "overall": shown["b"]}
    for _ in range(2):
        play_both(tab)
        side = "ArrowLeft" if key.films[films(tab)["a"]] in (COPY, METHODS[0]) else "ArrowRight"
        tab.press(side, side, side, "Enter")
    assert tab.run("part('done-count').textContent") == "3 of 3 comparisons"
    answers = folder / "ada.jsonl"
    answers.write_text("".join(f"{json.dumps(line)}\n" for line in exported(tab)) + "{\n")
    words = ("study-report", answers, "--key", folder / "study.key.json")
    report = json.loads(invoke(*words, "--json").output)
    (rater,) = report["raters"]
    assert (rater["rater"], rater["num_trials"]) == ("ada", 3)
    assert report["refused"] == {"not JSON, or cut short": 1}
    assert [question["question"] for question in report["questions"]] == list(key.questions)
    told = invoke(*words).output
    assert f"{METHODS[1]} over {METHODS[0]}" in told
    assert "ada.jsonl:4: does not count" in told


@in_browser
def test_raters_have_other_sides_and_answers_of_their_own(tab: Tab) -> None:
    seen = set()
    for number in range(6):
        tab.run(f"enter('rater {number}')")
        seen.add((tab.run("trials[0].name"), tab.run("mirrored")))
        assert tab.run("num_done()") == 0
    assert len({name for name, _ in seen}) > 1
    assert {mirrored for _, mirrored in seen} == {True, False}
    assert tab.run("window.owned === undefined && document.querySelectorAll('img').length === 0")


@in_browser
def test_the_mouse_does_what_the_keys_do_on_any_screen(tab: Tab) -> None:
    enter(tab, "bob")
    for width, height in ((360, 800), (1280, 720)):
        tab.resize(width, height, mobile=width < 500)
        assert tab.run("document.documentElement.scrollWidth") <= width
    for side in ("a", "b"):
        tab.click(f"[data-play={side}]")
        tab.wait(f"heard.has('{side}')")
    for row in (1, 2, 3):
        tab.click(f"#questions li:nth-child({row}) [data-choice=same]")
    tab.click("#next")
    assert tab.run("part('count').textContent") == "1 of 3"
    tab.click("#back")
    assert tab.run("own.at") == 0
    assert tab.run("is_done(trials[0])")
