"""Files of numbers to decide by: what is refused, and what is kept of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from avipipe.config_file import validated
from avipipe.decision.model import MAX_BYTES, Figure, parse_model, read_model, shipped
from avipipe.errors import ConfigError
from avipipe.pipeline.calibration import notes, reliability, uncalibrated
from avipipe.pipeline.config import BuildConfig, load_config
from avipipe.pipeline.graph import Graph
from tests.decisions import model

PLAIN: Mapping[str, Any] = {
    "version": 1,
    "name": "mine",
    "intercept": -0.5,
    "min_probability": 0.7,
    "backends": {"tag": "yamnet@1"},
    "terms": {
        "level": {"knots": [[-45.0, -1.0], [-15.0, 1.0]], "prior": [[-45.0, -0.5], [-15.0, 0.5]]}
    },
    "data": "twelve clips",
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "decision.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **changes}), encoding="utf-8")
    return path


def term(knots: list[list[float]]) -> dict[str, Any]:
    return {"level": {"knots": knots, "prior": knots}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": 2}, r"expected version 1 .* found 2; .*avipipe calibrate"),
        ({"version": "1"}, r"expected version 1 .* found '1'"),
        ({"terms": {"charm": PLAIN["terms"]["level"]}}, r"measures .* lacks: charm"),
        ({"terms": term([[0.0, float("nan")], [1.0, 0.0]])}, r"terms\.level\.knots.*finite"),
        ({"terms": term([[0.0, float("inf")], [1.0, 0.0]])}, r"terms\.level\.knots.*finite"),
        ({"terms": term([[1.0, 0.0], [0.0, 1.0]])}, r"terms\.level\.knots.*rising order"),
        ({"terms": term([[0.0, 0.0], [0.0, 1.0]])}, r"terms\.level\.knots.*rising order"),
        ({"terms": term([[0.0, 0.0]])}, r"terms\.level\.knots.*at least 2"),
        ({"terms": {"level": {"knots": [[0, 0], [1, 1]]}}}, r"terms\.level\.prior"),
        ({"intercept": float("nan")}, "intercept"),
        ({"min_probability": 1.5}, "min_probability"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_no_model_is_one_clear_error(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(ConfigError, match=f"(?s)decision.yaml.*{expected}"):
        read_model(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version: [1", "expected YAML"),
        (b"- 1\n- 2\n", "expected a decision model"),
        (b"", "expected a decision model"),
        (b"\xff\xfe\x00", "cannot read"),
        (b"#" * (MAX_BYTES + 1), f"found {MAX_BYTES + 1} B"),
        (yaml.safe_dump(dict(PLAIN), sort_keys=False).encode()[:180], "restore the file"),
    ],
    ids=["no yaml", "a list", "empty", "no text", "over-long", "cut in half"],
)
def test_files_of_other_kinds_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "decision.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        read_model(path)


def test_a_missing_file_names_the_key_and_the_path(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(ConfigError, match=f"stages.decide.model: cannot read {path}"):
            load_config(None, [f"stages.decide.model={path}"])


def test_its_numbers_travel_in_the_configuration(tmp_path: Path) -> None:
    path = written(tmp_path)
    config = load_config(None, [f"stages.decide.model={path}"])
    stored = yaml.safe_dump(config.model_dump(mode="json"))
    path.unlink()
    again = validated(BuildConfig, yaml.safe_load(stored))
    assert again == config
    assert again.identity_hash() == config.identity_hash()
    judge = Graph(again).judge
    assert judge.model == parse_model(yaml.safe_dump(dict(PLAIN)), "text")
    assert judge.min_probability == 0.7
    assert Graph(load_config(None, [])).judge.model == shipped("embedded")


def test_the_configuration_asks_more_or_less_than_the_file(tmp_path: Path) -> None:
    path = written(tmp_path)
    words = [f"stages.decide.model={path}", "stages.decide.min_probability=0.2"]
    assert Graph(load_config(None, words)).judge.min_probability == 0.2


def test_other_words_about_the_same_numbers_change_no_key(tmp_path: Path) -> None:
    def keys(**changes: Any) -> list[str]:
        config = load_config(None, [f"stages.decide.model={written(tmp_path, **changes)}"])
        stages = [s for s in Graph(config).clip_stages if s.name.startswith("decide")]
        return [stage.key("clip", dict.fromkeys(stage.needs, "0")) for stage in stages]

    figure = {"auc": {"value": 0.9, "low": 0.8, "high": 0.95}}
    assert keys() == keys(name="other", data="others", figures=figure)
    for changed in (keys(intercept=-0.4), keys(terms={}), keys(backends={})):
        assert all(a != b for a, b in zip(changed, keys(), strict=True))


@pytest.mark.parametrize("profile", ["embedded", "light", "full"])
def test_every_profile_has_numbers(profile: str) -> None:
    numbers = shipped(profile)
    assert numbers.terms
    assert numbers.name == ("embedded" if profile == "embedded" else "light")


def test_annotators_that_were_not_fitted_on_are_named() -> None:
    numbers = model({"music": (0.0, -1.0), "motion": (0.0, 1.0)}, backends={"tag": "yamnet@1"})
    found = {"tag": "yamnet@2", "localize": "motion@2", "caption": "template@1", "vad": "none@1"}
    assert uncalibrated(numbers, found) == ("localize (motion@2)", "tag (yamnet@2)")
    assert uncalibrated(numbers, {"tag": "yamnet@1"}) == ()


@pytest.mark.parametrize("name", ["embedded", "light"])
def test_who_cuts_masks_is_not_named_where_only_set_numbers_ask_for_it(name: str) -> None:
    """They are the same whoever cuts them."""
    numbers = shipped(name)
    masks = {"segment": "another@1", "propagate": "another@1"}
    assert uncalibrated(numbers, {**numbers.backends, **masks}) == ()


def test_how_far_a_profile_holds_is_told_once_it_is_known() -> None:
    figures = {
        "auc": Figure(value=0.8, low=0.7, high=0.9),
        "balanced_accuracy": Figure(value=0.71, low=0.66, high=0.755),
        "keep_precision": Figure(value=0.9, low=0.85, high=0.94),
    }
    assert reliability(model(), "test") == ""
    told = "cross-validated on labelled clips: balanced accuracy 0.71 (0.66 to 0.76), "
    told += "keep-precision 0.90 (0.85 to 0.94)"
    assert reliability(model(figures=figures, name="light"), "light") == told
    assert reliability(model(figures=figures, name="light"), "full") == ""
    embedded = reliability(model(figures=figures, name="embedded"), "embedded")
    assert embedded == f"{told}; for real material use `light`"


def test_a_build_is_told_what_its_decision_is_worth(tmp_path: Path) -> None:
    figures = {"keep_precision": {"value": 0.9, "low": 0.85, "high": 0.94}}
    path = written(tmp_path, name="embedded", figures=figures)
    words = [*notes(Graph(load_config(None, [f"stages.decide.model={path}"])))]
    assert words == [
        "Profile embedded, cross-validated on labelled clips: keep-precision 0.90 (0.85 to 0.94); "
        "for real material use `light`",
    ]
    terms = {"genre": PLAIN["terms"]["level"]}
    path = written(tmp_path, terms=terms)
    (note,) = notes(Graph(load_config(None, [f"stages.decide.model={path}"])))
    assert note.startswith("The decision is not calibrated for tag (rules@")
    assert "`avipipe review`, then `avipipe calibrate`" in note
