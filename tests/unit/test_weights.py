"""The lock file, where weights are found, and what their hashes are held to."""

import hashlib
import json
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import yaml

from avipipe import weights
from avipipe.annotators.uses import weight_users
from avipipe.annotators.weighted import Weighted
from avipipe.errors import WeightsError
from avipipe.media.user_cache import CACHE_ENV
from avipipe.pipeline.config import BuildConfig
from avipipe.pipeline.graph import Graph
from avipipe.pipeline.needs import require_weights, used_weights
from avipipe.pipeline.publication import facts_of
from avipipe.stages.annotated import AnnotatedStage
from avipipe.weights import digests
from avipipe.weights.digests import cache_folder, digest
from avipipe.weights.lock import LOCK_ENV
from avipipe.weights.record import Pulled, PulledFile, read_record, write_record
from tests.damage import flipped

DATA = b"the weights"
HUB = {"url": "hf://someone/tiny", "files": [{"name": "config.json"}, {"name": "*.safetensors"}]}

Lock = Callable[..., weights.Weight]


@pytest.fixture(autouse=True)
def _empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVIPIPE_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lock:
    """Writes a lock file with one entry, `mine`: a file without a hash, unless told otherwise."""

    def write(**fields: Any) -> weights.Weight:
        base = {"url": "https://example.org", "files": [{"name": "a.bin"}]}
        entry = base | {"licence": "MIT", "purpose": "testing"} | fields
        path = tmp_path / f"lock-{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump({"mine": entry}))
        monkeypatch.setenv(LOCK_ENV, str(path))
        return weights.entry("mine")

    return write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that AVIPIPE_WEIGHTS_DIR names."""
    path = tmp_path / "own"
    path.mkdir()
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(path))
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_lock_file_that_comes_along_is_sound() -> None:
    for name, weight in weights.known().items():
        assert weight.name == name
        assert weight.page.startswith("https://")
        assert weight.url.startswith(("https://", "hf://"))
        assert weight.revision is None or len(weight.revision) == 40
        for file in weight.files:
            upstream = (file.tensors_of.sha256,) if file.tensors_of else ()
            for value in (file.sha256, *file.other_sha256, *upstream):
                assert value is None or len(value) == 64
        if not weight.is_folder:
            assert not {"main", "master"} & set(weight.url.split("/")), "a branch is not a version"


def test_every_backend_needs_weights_that_are_known() -> None:
    assert set(weight_users()) <= set(weights.known())
    assert [use.backend for use in weight_users()["silero_vad"]] == ["silero"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"files": []}, "at least one file"),
        ({"files": [{"name": "a"}, {"name": "b"}]}, "expected one file"),
        ({"licence": None}, "licence"),
        ({"files": [{"name": "a", "tensors_of": {"name": "b"}}]}, "sha256"),
        (
            HUB | {"files": [{"name": "a", "tensors_of": {"name": "b", "sha256": "c"}}]},
            "no `tensors_of` in a hub repository",
        ),
        ({"extra_key": 1}, "extra_key"),
    ],
)
def test_a_lock_file_that_is_wrong_says_so(
    lock: Lock, fields: dict[str, Any], expected: str
) -> None:
    with pytest.raises(WeightsError, match=r"not a lock file of weights(.|\n)*" + expected):
        lock(**fields)


def test_a_lock_file_of_ones_own_wins(lock: Lock) -> None:
    lock()
    assert "silero_vad" in weights.known()
    assert weights.known()["mine"].purpose == "testing"


def test_what_is_missing_is_named_with_purpose_licence_and_command(lock: Lock) -> None:
    lock(gated=True, **HUB)
    with pytest.raises(WeightsError) as caught:
        weights.locate("mine")
    message = str(caught.value)
    for part in (
        "`mine` is missing",
        "needed for testing (licence: MIT)",
        "avipipe weights pull mine",
        "https://huggingface.co/someone/tiny",
        "HF_TOKEN",
    ):
        assert part in message
    with pytest.raises(WeightsError, match="there is no weight `yours`"):
        weights.locate("yours")


def test_ones_own_folder_comes_before_the_cache(lock: Lock, folder: Path) -> None:
    lock()
    cache = cache_folder()
    cache.mkdir(parents=True)
    (cache / "a.bin").write_bytes(b"cached")
    assert weights.locate("mine") == cache / "a.bin"
    (folder / "a.bin").write_bytes(DATA)
    assert weights.locate("mine") == folder / "a.bin"
    assert weights.sha256("mine") == sha256(DATA)


def test_a_pinned_hash_is_known_without_the_file_and_checked_with_it(
    lock: Lock, folder: Path
) -> None:
    lock(files=[{"name": "a.bin", "sha256": sha256(DATA)}])
    assert weights.sha256("mine") == sha256(DATA)
    (folder / "a.bin").write_bytes(DATA)
    assert weights.locate("mine") == folder / "a.bin"
    (folder / "a.bin").write_bytes(b"others")
    with pytest.raises(WeightsError, match=r"corrupted: .*a\.bin"):
        weights.locate("mine")


def test_another_build_of_a_model_serves_and_is_told_apart(lock: Lock, folder: Path) -> None:
    file = {"name": "a.bin", "sha256": sha256(b"upstream"), "other_sha256": [sha256(DATA)]}
    lock(files=[file])
    assert weights.sha256("mine") == sha256(b"upstream")
    (folder / "a.bin").write_bytes(DATA)
    assert weights.locate("mine") == folder / "a.bin"
    assert weights.sha256("mine") == sha256(DATA)


def test_a_hub_model_is_a_folder_of_its_name(lock: Lock, folder: Path) -> None:
    lock(extras=["*.txt"], **HUB)
    path = folder / "mine"
    path.mkdir()
    (path / "config.json").write_text("{}")
    assert weights.find(weights.entry("mine")) is None, "its tensors are not there"
    (path / "model.safetensors").write_bytes(DATA)
    assert weights.locate("mine") == path
    identity = weights.sha256("mine")
    (path / "README.md").write_text("changes nothing")
    assert weights.sha256("mine") == identity
    (path / "vocab.txt").write_text("changes what it says")
    assert weights.sha256("mine") != identity


def test_an_unpinned_weight_is_held_to_the_record_beside_it(lock: Lock, folder: Path) -> None:
    weight = lock()
    with pytest.raises(WeightsError, match="nothing here says which version of it was used"):
        weights.sha256("mine")
    files = {"a.bin": PulledFile(sha256=sha256(DATA), size_bytes=len(DATA))}
    write_record(folder, weight, Pulled(url=weight.url, files=files))
    assert weights.sha256("mine") == sha256(DATA), "known without the file"
    (folder / "a.bin").write_bytes(b"others")
    with pytest.raises(WeightsError, match="corrupted"):
        weights.locate("mine")


def test_a_record_of_another_repository_says_nothing(lock: Lock, folder: Path) -> None:
    weight = lock(revision="a" * 40, **HUB)
    pulled = Pulled(url=weight.url, revision="b" * 40, files={})
    write_record(folder, weight, pulled)
    assert read_record(folder, weight) is None
    write_record(folder, weight, pulled.model_copy(update={"revision": "a" * 40}))
    assert read_record(folder, weight) is not None
    assert read_record(folder, lock(url="hf://someone/else", files=HUB["files"])) is None


def test_a_hash_is_computed_once_and_again_when_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    assert digest(path) == sha256(DATA)
    digests._digest.cache_clear()  # as another process would begin
    monkeypatch.setattr(digests, "_read", lambda path: pytest.fail("it was read again"))
    assert digest(path) == sha256(DATA)
    monkeypatch.undo()
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    path.write_bytes(b"changed")
    assert digest(path) == sha256(b"changed")


def test_hashes_are_remembered_by_many_writers_and_despite_a_torn_line(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.bin" for index in range(24)]
    for path in paths:
        path.write_bytes(path.name.encode())
    with get_context("spawn").Pool(3) as pool:
        assert pool.map(digest, paths) == [sha256(path.name.encode()) for path in paths]
    notes = cache_folder() / "hashes.jsonl"
    lines = notes.read_text().splitlines()
    assert {json.loads(line)[0] for line in lines} == {str(path) for path in paths}
    with notes.open("a") as file:
        file.write('5\n[]\n{"a": 1}\n' + "[" * 100_000 + "\n" + '["/torn", 1')
    assert all(digests.is_remembered(path) for path in paths)


def test_a_hash_that_is_remembered_wrong_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    assert digest(path) == sha256(DATA)
    notes = cache_folder() / "hashes.jsonl"
    whole = notes.read_bytes()
    for place in range(len(whole)):
        notes.write_bytes(flipped(whole, place))
        digests._digest.cache_clear()
        assert digest(path) == sha256(DATA)


def test_hashes_need_no_place_to_be_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("where a folder would have to be")
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "file"))
    (tmp_path / "a.bin").write_bytes(DATA)
    assert digest(tmp_path / "a.bin") == sha256(DATA)


def graph(**annotators: str) -> Graph:
    return Graph(BuildConfig(annotators=annotators))


def test_a_graph_is_made_and_keyed_without_pinned_weights() -> None:
    listen = next(stage for stage in graph(vad="silero").stages if stage.name == "listen")
    assert isinstance(listen, AnnotatedStage)
    assert listen.weight_names == ("silero_vad",)
    pinned = weights.known()["silero_vad"].files[0].sha256
    assert listen.settings()["backends"]["vad"]["weights"] == {"silero_vad": pinned}


def test_a_key_that_cannot_be_known_is_an_error_not_a_guess(lock: Lock) -> None:
    lock(**HUB)
    made = Graph(BuildConfig(annotators={"vad": f"{__name__}:Unpinned"}))
    listen = next(stage for stage in made.stages if stage.name == "listen")
    with pytest.raises(WeightsError, match="nothing here says which version"):
        listen.settings()


class Unpinned(Weighted):
    """A backend outside avipipe, with a weight that no lock file pins."""

    name = "unpinned"
    version = 1
    needs = ("mine",)


def test_a_build_wants_all_its_weights_at_once() -> None:
    require_weights(graph().annotated)
    with pytest.raises(WeightsError) as caught:
        require_weights(graph(vad="silero", separate="htdemucs").annotated)
    message = str(caught.value)
    assert "2 weights are missing" in message
    assert "`htdemucs`, for taking sound apart (MIT)" in message
    assert "avipipe weights pull htdemucs silero_vad" in message


def test_the_card_tells_the_licence_of_every_model() -> None:
    assert facts_of(graph()).weights == ()
    made = graph(vad="silero", separate="htdemucs")
    assert used_weights(made) == {"silero_vad", "htdemucs"}
    assert facts_of(made).weights == (
        ("htdemucs (https://huggingface.co/adefossez/HTDemucs)", "MIT"),
        ("silero_vad (https://github.com/snakers4/silero-vad)", "MIT"),
    )
