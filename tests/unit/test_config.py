"""Configuration: what is wrong is named, with what would be right."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from avipipe.config_file import difference
from avipipe.errors import ConfigError
from avipipe.pipeline.config import BuildConfig, load_config, with_overrides
from avipipe.stages.publish import PublishConfig


def test_defaults_file_and_overrides_in_that_order(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("stages:\n  decide:\n    min_clip_s: 3\n    max_speakers: 2\n")
    config = load_config(path, ["stages.decide.min_clip_s=4"])
    assert config.stages.decide.min_clip_s == 4
    assert config.stages.decide.max_speakers == 2
    assert config.profile == "embedded"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.decide.min_clip=4", "did you mean `stages.decide.min_clip_s`"),
        ("stage.decide.min_clip_s=4", "did you mean `stages`"),
        ("stages.decide.min_clip_s=soon", "stages.decide.min_clip_s.*found 'soon'"),
        ("stages.decide.min_clip_s=-1", "greater than or equal to 0"),
        ("stages.decide.min_clip_s", "expected key=value"),
        ("stages.decide=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_says_what_is_right(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "expected sections"),
        ("a: [", "not valid YAML"),
        ("profil: light\n", r"c\.yaml: unknown key `profil`; did you mean `profile`"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read"):
        load_config(tmp_path / "none.yaml")


def test_how_a_build_runs_is_no_part_of_what_it_makes() -> None:
    inline = load_config(None, ["executor.kind=inline", "executor.num_cpus=1"])
    assert inline.identity_hash() == BuildConfig().identity_hash()
    other = load_config(None, ["stages.decide.max_speakers=2"])
    assert other.identity_hash() != BuildConfig().identity_hash()


def test_difference_names_keys_and_values() -> None:
    old = BuildConfig().identity()
    new = load_config(None, ["stages.decide.max_speakers=2"]).identity()
    assert difference(old, new) == ["stages.decide.max_speakers: None -> 2"]


def test_refilter_takes_keys_of_the_decision_only() -> None:
    config = with_overrides(BuildConfig(), ["stages.decide.max_speakers=3"], only="stages.decide.")
    assert config.stages.decide.max_speakers == 3
    with pytest.raises(ConfigError, match=r"starts with `stages\.decide\.`"):
        with_overrides(BuildConfig(), ["stages.shots.max_clip_s=3"], only="stages.decide.")


def test_a_profile_has_defaults_that_the_user_may_change() -> None:
    assert load_config(None, ["profile=full"]).stages.mask.height_px == 480
    assert load_config(None, ["profile=light"]).stages.mask.height_px == 360
    told = load_config(None, ["profile=full", "stages.mask.height_px=240"])
    assert told.stages.mask.height_px == 240


def test_a_long_value_is_told_by_its_beginning() -> None:
    (line,) = difference({"model": None}, {"model": {f"measure-{n}": n for n in range(99)}})
    assert line.startswith("model: None -> {'measure-0': 0,")
    assert line.endswith(" ...")
    assert len(line) < 160


def test_edits_go_to_splits_that_there_are() -> None:
    with pytest.raises(ValidationError, match="edit_splits of train, val, test, got tset"):
        PublishConfig(edit_splits=("tset",))
    assert PublishConfig(splits={"train": 1.0}).edit_splits == ("test",)
    assert PublishConfig(splits={"held": 1.0}, edit_splits=("held",)).edit_splits == ("held",)
