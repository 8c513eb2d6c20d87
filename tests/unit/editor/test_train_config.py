"""Configurations of training runs."""

from pathlib import Path

import pytest

from avipipe.editor.avi_edit.train.config import PRESETS, load_config
from avipipe.errors import ConfigError


@pytest.mark.parametrize("name", PRESETS)
def test_what_comes_with_avipipe_is_valid(name: str) -> None:
    config = load_config(name, dataset="somewhere")
    assert config.data.dataset == "somewhere"
    assert set(config.checkpointed) in (set(), set(range(config.network.sizes.num_layers)))


def test_a_file_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("network: {preset: tiny, begin: fresh}\noptimiser: {lr: 0.1}\n")
    config = load_config(str(path), ["optimiser.warmup_steps=3"], dataset="d")
    assert (config.optimiser.lr, config.optimiser.warmup_steps) == (0.1, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=1", "did you mean `optimiser`"),
        ("optimiser.lr=-1", "greater than 0"),
        ("checkpoint_layers=[7]", "numbers from 0 to 2"),
        ("data.max_precision=3", "expected the network's 4"),
        ("network.begin=editor", "needs `weights`"),
    ],
)
def test_what_is_wrong_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("tiny", [override], dataset="d")


def test_an_unknown_name_lists_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="tiny, lora-24g"):
        load_config("huge", dataset="d")


def test_weights_do_not_depend_on_where_things_lie_or_how_often_is_saved() -> None:
    here = load_config("tiny", ["checkpoint.keep=9", "data.cache=c", "steps=5"], dataset="here")
    assert here.identity() == load_config("tiny", dataset="there").identity()
    other = load_config("tiny", ["data.seed=1"], dataset="here")
    assert other.identity() != here.identity()
