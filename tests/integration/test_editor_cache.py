"""Cached features are those that would be made on the fly, whoever made them and however often."""

import itertools
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from avipipe.editor.avi_edit.data import cache  # noqa: E402
from avipipe.editor.avi_edit.data.batch import Batch  # noqa: E402
from avipipe.editor.avi_edit.data.cache import FeatureCache, cache_dataset  # noqa: E402
from avipipe.editor.avi_edit.data.config import DataConfig  # noqa: E402
from avipipe.editor.avi_edit.data.encoders import Encoders, tiny_encoders  # noqa: E402
from avipipe.editor.avi_edit.data.store import TensorStore  # noqa: E402
from avipipe.editor.avi_edit.data.stream import ClipStream  # noqa: E402
from avipipe.editor.avi_edit.sizes import Bucket  # noqa: E402
from avipipe.errors import ConfigError, ManifestError  # noqa: E402
from tests.damage import SPOILT, flipped  # noqa: E402
from tests.integration.editor_shards import (  # noqa: E402
    SMALL,
    Scene,
    publish_scenes,
    small_config,
)


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    torch.set_num_threads(1)
    return tiny_encoders()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cached")
    scenes = [Scene(), Scene("strike"), Scene(duration_s=0.25 + 1)]
    return publish_scenes(folder / "dataset", scenes, folder=folder)


@pytest.fixture
def config(dataset: Path, tmp_path: Path) -> DataConfig:
    buckets = (SMALL, Bucket(29, 64, 96))
    return small_config(dataset, tmp_path, takes=2, deletion=0.3, buckets=buckets)


def assert_cache_is_right(config: DataConfig, encoders: Encoders, folder: Path) -> None:
    """For more turns than takes."""
    fly = ClipStream(config, encoders, batch_size=1)
    kept = ClipStream(config, FeatureCache(folder, config), batch_size=1)
    tasks = set[str]()
    for _ in range(9):
        one, other = next(fly), next(kept)
        for field in fields(Batch):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name
        tasks.update(one.tasks)
    assert len(tasks) > 1


def stored(folder: Path) -> dict[str, int]:
    """Name -> time of change of each file."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize(("latents", "workers"), [("mode", 0), ("sample", 2)])
def test_cached_is_as_on_the_fly(
    config: DataConfig, encoders: Encoders, tmp_path: Path, latents: str, workers: int
) -> None:
    config = config.model_copy(update={"latents": latents, "workers": workers})
    told = list[tuple[int, int]]()
    report = cache_dataset(
        config, encoders, tmp_path / "cache", progress=lambda *of: told.append(of)
    )
    assert (report.num_parts, report.num_new) == (6, 6)
    assert report.num_bytes > 0
    assert told == [(done, 6) for done in range(7)]
    assert_cache_is_right(config, encoders, tmp_path / "cache")


def test_bfloat16_comes_back_as_it_was(config: DataConfig, tmp_path: Path) -> None:
    made = tiny_encoders()
    made.video.model.bfloat16()
    made.text.model.bfloat16()
    encoders = replace(made, audio=replace(made.audio, dtype=torch.bfloat16))
    cache_dataset(config, encoders, tmp_path / "cache")
    assert_cache_is_right(config, encoders, tmp_path / "cache")
    batch = next(ClipStream(config, FeatureCache(tmp_path / "cache", config), batch_size=1))
    assert batch.latents.dtype == batch.text.dtype == batch.audio.dtype == torch.bfloat16


def test_processes_share_the_work(config: DataConfig, encoders: Encoders, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    parts = [
        cache_dataset(config, encoders, folder, rank=rank, world_size=4).num_new
        for rank in range(4)
    ]
    assert parts == [2, 2, 1, 1]
    assert_cache_is_right(config, encoders, folder)
    assert cache_dataset(config, encoders, folder).num_new == 0


def test_a_stopped_run_goes_on(
    config: DataConfig, encoders: Encoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FILE_BYTES", 1)
    folder = tmp_path / "cache"

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_dataset(config, encoders, folder, progress=stop)
    before = stored(folder)
    report = cache_dataset(config, encoders, folder)
    assert (report.num_parts, report.num_new) == (6, 2)
    assert before.items() <= stored(folder).items(), "nothing was made twice"
    assert_cache_is_right(config, encoders, folder)


@pytest.mark.parametrize("how", [how for how in SPOILT if how != "deleted"])
def test_a_damaged_file_is_named_and_can_be_made_anew(
    config: DataConfig, encoders: Encoders, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "cache"
    cache_dataset(config, encoders, folder)
    (path,) = folder.glob("*.safetensors")
    content = SPOILT[how](path.read_bytes())
    assert content is not None
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=rf"{path.name}: .*; delete this file"):
        assert_cache_is_right(config, encoders, folder)
    path.unlink()
    with pytest.raises(ConfigError, match=r"lacks .*; run `avipipe train cache`"):
        assert_cache_is_right(config, encoders, folder)
    assert cache_dataset(config, encoders, folder).num_new == 6
    assert_cache_is_right(config, encoders, folder)


def test_every_bit_of_a_head_counts(config: DataConfig, encoders: Encoders, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache_dataset(config, encoders, folder)
    (path,) = folder.glob("*.safetensors")
    whole, store = path.read_bytes(), TensorStore(folder)
    read = {name: store.read(name) for name in store.names}
    head_bytes = 8 + int.from_bytes(whole[:8], "little")
    for place in range(0, head_bytes, 11):
        path.write_bytes(flipped(whole, place))
        try:
            spoilt = TensorStore(folder)
            found = {name: spoilt.read(name) for name in spoilt.names}
        except ManifestError:
            continue
        # White space, or what a feature is of, which is compared with the clip.
        assert found.keys() == read.keys()
        assert all(torch.equal(found[name][0], read[name][0]) for name in read)


@pytest.mark.parametrize("how", SPOILT)
def test_damage_of_what_the_features_are_of_is_told(
    config: DataConfig, encoders: Encoders, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "cache"
    cache_dataset(config, encoders, folder)
    path = folder / "cache.json"
    content = SPOILT[how](path.read_bytes())
    if content is None:
        path.unlink()
        with pytest.raises(ConfigError, match=r"found no cache\.json"):
            FeatureCache(folder, config)
        return
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=r"cache\.json: .*; delete the folder"):
        FeatureCache(folder, config)
    with pytest.raises(ManifestError, match=r"cache\.json: .*; delete the folder"):
        cache_dataset(config, encoders, folder)


def test_a_cache_of_before_it_was_sealed_is_read(
    config: DataConfig, encoders: Encoders, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    cache_dataset(config, encoders, folder)
    about = json.loads((folder / "cache.json").read_bytes())
    del about["sha256"]
    (folder / "cache.json").write_text(json.dumps({**about, "version": 1}))
    assert cache_dataset(config, encoders, folder).num_new == 0
    assert_cache_is_right(config, encoders, folder)


def test_what_is_not_cached_is_named(
    config: DataConfig, encoders: Encoders, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(ConfigError, match=r"found no cache\.json; run `avipipe train cache`"):
        FeatureCache(folder, config)
    cache_dataset(config, encoders, folder)
    for change in ({"seed": 5}, {"takes": 3}, {"buckets": (Bucket(5, 64, 96),)}):
        other = config.model_copy(update=change)
        stream = ClipStream(other, FeatureCache(folder, other), batch_size=3)
        with pytest.raises(ConfigError, match=r"lacks .*; run `avipipe train cache` with"):
            list(itertools.islice(stream, 4))
    with pytest.raises(ConfigError, match="takes"):
        cache_dataset(config.model_copy(update={"takes": None}), encoders, folder)


def test_features_of_other_encoders_do_not_mix(
    config: DataConfig, encoders: Encoders, tmp_path: Path
) -> None:
    cache_dataset(config, encoders, tmp_path / "cache")
    other = replace(encoders, text=replace(encoders.text, identity="another"))
    with pytest.raises(ConfigError, match=r"other encoders .* choose another folder"):
        cache_dataset(config, other, tmp_path / "cache")
