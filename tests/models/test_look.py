"""What `look` sees by name with official weights in real clips; skipped without either."""

from pathlib import Path
from typing import Any

import pytest

from avipipe.annotators.registry import create
from avipipe.errors import WeightsError
from avipipe.manifests.evidence import LookEvidence
from avipipe.manifests.records import Keep, SourceLine, Span
from avipipe.media.probe import probe
from avipipe.stages.base import Item
from avipipe.stages.eyes import Eyes
from avipipe.stages.listen import Listen, ListenConfig
from avipipe.stages.look import Look, LookConfig

CLIPS = Path(__file__).parents[3] / "shared" / "clips"


def stages() -> tuple[Listen, Look]:
    def backend(role: str, name: str) -> Any:
        return create(role, name)

    listen = Listen(
        ListenConfig(),
        vad=backend("vad", "silero"),
        diarizer=backend("diarize", "pyannet"),
        separator=backend("separate", "hpss"),
        tagger=backend("tag", "yamnet"),
    )
    look = Look(
        LookConfig(),
        localizer=backend("localize", "motion"),
        active_speaker=backend("active_speaker", "none"),
        eyes=Eyes(
            detector=backend("detect", "yolox"),
            classifier=backend("classify", "mobilenet"),
            text_finder=backend("text", "ppocr"),
            matcher=backend("match", "classes"),
        ),
    )
    return listen, look


@pytest.fixture(scope="module")
def ready() -> tuple[Listen, Look]:
    listen, look = stages()
    try:
        listen.setup()
        look.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(str(error))
    return listen, look


def looked(ready: tuple[Listen, Look], name: str, span: Span, folder: Path) -> LookEvidence:
    path = CLIPS / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    known: dict[str, Any] = {"fetch": {"path": name}, "probe": probe(path).to_json()}
    item = Item("a", SourceLine(0, str(path), None, "list.txt:1"), span, known, {"fetch": CLIPS})
    for stage in ready:
        outcome = stage.run(item, folder)
        assert isinstance(outcome, Keep)
        known[stage.name] = outcome.evidence
    return LookEvidence.model_validate(known["look"])


@pytest.mark.parametrize(
    ("name", "span", "thing", "source"),
    [
        ("clip_026.mp4", Span(0.0, 4.0), "dog", "dog"),
        ("clip_022.mp4", Span(0.0, 4.0), "car", "car"),
        ("clip_027.mp4", Span(0.0, 4.0), "drum", "drum"),
    ],
)
def test_what_sounds_is_seen_and_explains_the_sound(
    ready: tuple[Listen, Look], tmp_path: Path, name: str, span: Span, thing: str, source: str
) -> None:
    seen = looked(ready, name, span, tmp_path)
    named = {each.label: each.explains for each in seen.classes or []}
    named |= {each.label: each.explains for each in seen.things or []}
    assert named[thing] == 1.0
    match = {each.source: each for each in seen.match or []}
    assert match[source].thing == thing
    assert match[source].match == pytest.approx(min(1.0, match[source].heard / 0.6), abs=0.01)
    assert {"detect", "classify", "text", "match"} < set(seen.backends)


def test_a_voice_over_a_title_is_explained_by_nothing(
    ready: tuple[Listen, Look], tmp_path: Path
) -> None:
    seen = looked(ready, "clip_040.mp4", Span(10.0, 14.0), tmp_path)
    (voice,) = (each for each in seen.match or [] if each.source == "voice")
    assert voice.heard > 0.8
    assert voice.thing is None
    assert seen.text_area is not None
    assert seen.text_area > 0.05
    assert len(seen.text_boxes or []) >= 4
