"""`avipipe weights` and what a build says about missing ones, against a loopback server."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from avipipe import weights
from avipipe.annotators.embedded.vad import EnergyVad
from avipipe.annotators.weighted import Weighted
from avipipe.cli import main
from avipipe.errors import WeightsError
from avipipe.media.user_cache import CACHE_ENV
from avipipe.weights.lock import LOCK_ENV
from tests.integration.builds import ROOT, build, command, published, unpublish
from tests.integration.weight_server import COMMIT, TOKEN, WeightServer, running, sha256

DATA = bytes(range(256)) * 2000


@pytest.fixture
def server() -> Iterator[WeightServer]:
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any weights."""
    for name in ("AVIPIPE_WEIGHTS_DIR", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return tmp_path / "cache" / "weights"


def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, **fields: Any) -> None:
    """A lock file with one entry, `mine`."""
    base = {"url": url, "licence": "MIT", "purpose": "testing"}
    path = tmp_path / f"lock-{len(list(tmp_path.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump({"mine": base | fields}))
    monkeypatch.setenv(LOCK_ENV, str(path))


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of a command that must end with exit code 4."""
    with pytest.raises(SystemExit) as caught:
        main(["weights", *words])
    assert caught.value.code == 4
    return capsys.readouterr().err


def hub(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own: the hub's library reads its settings at import."""
    return subprocess.run(
        command("weights", *words),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_DISABLE_XET": "1", **environment},
    )


def pulled(home: Path) -> Any:
    return yaml.safe_load((home / "pulled.yaml").read_text())["mine"]


def test_pull_brings_a_file_and_notes_what_came(
    server: WeightServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.files["/v1/there.bin"] = DATA
    lock(tmp_path, monkeypatch, server.url("/v1"), files=[{"name": "a.bin", "source": "there.bin"}])
    main(["weights", "pull", "mine"])
    assert weights.locate("mine") == home / "a.bin"
    assert weights.sha256("mine") == sha256(DATA)
    assert pulled(home)["files"]["a.bin"] == {"sha256": sha256(DATA), "size_bytes": len(DATA)}
    assert "0.5 MB, MIT" in capsys.readouterr().out
    main(["weights", "pull", "mine"])
    assert server.asked["/v1/there.bin"] == 1, "what is here is not pulled again"


def test_what_was_trusted_on_the_first_pull_is_kept_to(
    server: WeightServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.files["/a.bin"] = DATA
    lock(tmp_path, monkeypatch, server.url(), files=[{"name": "a.bin"}])
    main(["weights", "pull", "mine"])
    (home / "a.bin").write_bytes(b"something else")
    assert "1 weights are not right: mine" in failure(capsys, "verify", "mine")
    server.files["/a.bin"] = b"changed upstream"
    assert f"expected sha256 {sha256(DATA)}" in failure(capsys, "pull", "mine")
    server.files["/a.bin"] = DATA
    main(["weights", "pull", "mine"])
    main(["weights", "verify", "mine", "--missing"])


def checkpoint(tmp_path: Path) -> tuple[bytes, bytes]:
    """A pickle, and what its tensors are as safetensors."""
    torch.save({"state_dict": {"a": torch.arange(4.0)}, "epoch": 3}, tmp_path / "upstream.bin")
    save_file({"a": torch.arange(4.0)}, tmp_path / "expected.safetensors")
    names = ("upstream.bin", "expected.safetensors")
    upstream, expected = ((tmp_path / name).read_bytes() for name in names)
    return upstream, expected


def test_of_a_pickle_only_the_tensors_are_kept(
    server: WeightServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upstream, expected = checkpoint(tmp_path)
    server.files["/v1/model.bin"] = upstream
    file = {
        "name": "a.safetensors",
        "sha256": sha256(expected),
        "tensors_of": {"name": "model.bin", "sha256": sha256(upstream)},
    }
    lock(tmp_path, monkeypatch, server.url("/v1"), files=[file])
    main(["weights", "pull", "mine"])
    assert weights.locate("mine") == home / "a.safetensors"
    assert load_file(home / "a.safetensors")["a"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert list(home.rglob("model.bin")) == [], "the pickle itself is not kept"
    main(["weights", "pull", "mine"])
    assert server.asked["/v1/model.bin"] == 1
    main(["weights", "verify", "mine", "--missing"])
    assert "mine: right" in capsys.readouterr().out


def test_another_pickle_is_thrown_away_unread(
    server: WeightServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upstream, expected = checkpoint(tmp_path)
    server.files["/v1/model.bin"] = b"not even a pickle"
    tensors_of = {"name": "model.bin", "sha256": sha256(upstream)}
    file = {"name": "a.safetensors", "sha256": sha256(expected), "tensors_of": tensors_of}
    lock(tmp_path, monkeypatch, server.url("/v1"), files=[file])
    assert f"expected sha256 {sha256(upstream)}" in failure(capsys, "pull", "mine")
    server.files["/v1/model.bin"] = upstream
    lock(tmp_path, monkeypatch, server.url("/v1"), files=[file | {"sha256": "0" * 64}])
    message = failure(capsys, "pull", "mine")
    assert f"the conversion of {server.url('/v1/model.bin')}" in message
    assert f"got {sha256(expected)}" in message
    assert not (home / "a.safetensors").exists()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    server: WeightServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/broken/a.bin"] = DATA
    lock(tmp_path, monkeypatch, server.url("/broken"), files=[{"name": "a.bin"}])
    main(["weights", "pull", "mine"])
    assert server.ranges["/broken/a.bin"] == f"bytes={len(DATA) // 2}-"
    assert weights.sha256("mine") == sha256(DATA)


def test_a_later_pull_goes_on_where_an_earlier_one_stopped(
    server: WeightServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("avipipe.weights.pull.NUM_ATTEMPTS", 1)
    server.files["/broken/a.bin"] = DATA
    lock(tmp_path, monkeypatch, server.url("/broken"), files=[{"name": "a.bin"}])
    assert "run the same command: it goes on from here" in failure(capsys, "pull", "mine")
    assert weights.find(weights.entry("mine")) is None, "half a file is no file"
    main(["weights", "pull", "mine"])
    assert server.ranges["/broken/a.bin"] == f"bytes={len(DATA) // 2}-"
    assert (home / "a.bin").read_bytes() == DATA


def test_another_file_than_the_lock_file_says_is_thrown_away(
    server: WeightServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.files["/a.bin"] = DATA
    lock(tmp_path, monkeypatch, server.url(), files=[{"name": "a.bin", "sha256": sha256(b"other")}])
    message = failure(capsys, "pull", "mine")
    assert f"expected sha256 {sha256(b'other')}, got {sha256(DATA)}" in message
    assert not list(home.glob("**/*.bin"))


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("/refused", "a.bin", "HTTP 403"),
        ("/absent", "a.bin", "it is not there any more"),
        ("", "page.html", "is a web page, not a file"),
    ],
)
def test_a_refusal_says_what_to_do(
    server: WeightServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: str,
    name: str,
    expected: str,
) -> None:
    lock(tmp_path, monkeypatch, server.url(folder), files=[{"name": name}])
    message = failure(capsys, "pull", "mine")
    assert "cannot pull `mine`" in message
    assert expected in message


def test_secrets_of_a_lock_file_stay_in_it(
    server: WeightServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.files["/v1"] = DATA
    url = server.url("/v1?sig=hush-hush&for=a")
    lock(tmp_path, monkeypatch, url, files=[{"name": "a.bin"}])
    main(["weights", "pull", "mine"])
    assert pulled(home)["url"] == server.url("/v1")
    main(["weights", "pull", "mine"])
    assert server.asked["/v1"] == 1, "it is known again by what is stored of its URL"
    main(["weights", "list", "--json"])
    lock(tmp_path, monkeypatch, server.url("/refused?sig=hush-hush"), files=[{"name": "b.bin"}])
    message = failure(capsys, "pull", "mine")
    lock(tmp_path, monkeypatch, "http://ann:hush-hush@127.0.0.1:9", files=[{"name": "c.bin"}])
    message += failure(capsys, "pull", "mine")
    assert "cannot pull `mine`" in message
    said = message + "".join(capsys.readouterr())
    kept = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert "hush-hush" not in said
    assert b"hush-hush" not in b"".join(kept)


def test_offline_nothing_is_asked(
    server: WeightServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AVIPIPE_OFFLINE", "1")
    server.files["/a.bin"] = DATA
    lock(tmp_path, monkeypatch, server.url(), files=[{"name": "a.bin"}])
    assert "AVIPIPE_OFFLINE is set" in failure(capsys, "pull", "mine")
    assert not server.asked


def test_a_cache_that_cannot_be_written_is_one_message(
    server: WeightServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("where a folder would have to be")
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "file"))
    lock(tmp_path, monkeypatch, server.url(), files=[{"name": "a.bin"}])
    assert f"set {CACHE_ENV} to one that you may write to" in failure(capsys, "pull", "mine")


def test_a_mirror_may_be_a_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_OFFLINE", "1")
    mirror = tmp_path / "a mirror"
    mirror.mkdir()
    (mirror / "a.bin").write_bytes(DATA)
    lock(tmp_path, monkeypatch, mirror.as_uri(), files=[{"name": "a.bin", "sha256": sha256(DATA)}])
    main(["weights", "pull", "mine"])
    assert (home / "a.bin").read_bytes() == DATA


def test_one_refusal_does_not_hold_up_the_others(
    server: WeightServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.files["/b.bin"] = DATA
    terms = {"licence": "MIT", "purpose": "testing"}
    path = tmp_path / "lock.yaml"
    entries = {
        "first": {"url": server.url("/refused"), "files": [{"name": "a.bin"}], **terms},
        "second": {"url": server.url(), "files": [{"name": "b.bin"}], **terms},
    }
    path.write_text(yaml.safe_dump(entries))
    monkeypatch.setenv(LOCK_ENV, str(path))
    assert "`first`" in failure(capsys, "pull", "first", "second")
    assert weights.sha256("second") == sha256(DATA)


def tiny(server: WeightServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub repository with files that are wanted and one that is not."""
    server.models = {
        "config.json": b"{}",
        "model.safetensors": DATA,
        "sub/tokenizer.json": b"[]",
        "flax_model.msgpack": b"unwanted",
    }
    lock(
        tmp_path,
        monkeypatch,
        f"hf://{server.repository}",
        files=[{"name": "config.json"}, {"name": "*.safetensors"}],
        extras=["*.json"],
        gated=True,
    )


def test_a_hub_model_is_pulled_at_one_commit(
    server: WeightServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(server, tmp_path, monkeypatch)
    done = hub("pull", "mine", HF_ENDPOINT=server.url())
    assert done.returncode == 0, done.stderr
    record = pulled(home)
    assert record["revision"] == COMMIT
    assert set(record["files"]) == {"config.json", "model.safetensors", "sub/tokenizer.json"}
    assert record["files"]["model.safetensors"]["sha256"] == sha256(DATA)
    assert weights.locate("mine") == home / "mine"
    identity = weights.sha256("mine")
    (home / "mine" / "notes.json").write_text("{}")
    assert weights.sha256("mine") == identity, "what was not pulled does not count"
    (home / "mine" / "config.json").write_text('{"other": 1}')
    with pytest.raises(WeightsError, match="corrupted"):
        weights.locate("mine")
    done = hub("pull", "mine", HF_ENDPOINT=server.url())
    assert done.returncode == 0, done.stderr
    assert weights.locate("mine") == home / "mine"


def test_a_gated_model_names_the_page_and_the_token(
    server: WeightServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(server, tmp_path, monkeypatch)
    server.gated = True
    done = hub("pull", "mine", HF_ENDPOINT=server.url())
    assert done.returncode == 4
    assert "https://huggingface.co/someone/tiny" in done.stderr
    assert "HF_TOKEN is not set" in done.stderr
    assert "Traceback" not in done.stderr
    done = hub("pull", "mine", HF_ENDPOINT=server.url(), HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr


def test_a_hub_that_repeats_the_token(
    server: WeightServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(server, tmp_path, monkeypatch)
    server.repeats = True
    done = hub("pull", "mine", HF_ENDPOINT=server.url(), HF_TOKEN=TOKEN)
    assert done.returncode == 4
    assert "Bearer *** is no good" in done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_a_hub_file_that_is_not_what_the_hub_says_is_thrown_away(
    server: WeightServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(server, tmp_path, monkeypatch)
    server.wrong_sha256 = True
    done = hub("pull", "mine", HF_ENDPOINT=server.url())
    assert done.returncode == 4
    assert "the hub says sha256 0000" in done.stderr
    assert not (home / "mine" / "model.safetensors").exists()


def test_a_repository_without_what_is_needed_says_what_it_has(
    server: WeightServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(server, tmp_path, monkeypatch)
    del server.models["model.safetensors"]
    done = hub("pull", "mine", HF_ENDPOINT=server.url())
    assert done.returncode == 4
    assert "expected config.json, *.safetensors, found config.json" in done.stderr


def test_a_hub_that_is_away_is_one_message(
    server: WeightServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(server, tmp_path, monkeypatch)
    done = hub("pull", "mine", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 4
    assert "check the network" in done.stderr
    assert "Traceback" not in done.stderr
    assert "HF_HUB_OFFLINE is set" in hub("pull", "mine", HF_HUB_OFFLINE="1").stderr


def test_without_the_hub_library_the_extra_is_named(
    server: WeightServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny(server, tmp_path, monkeypatch)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'avipipe[full]'" in failure(capsys, "pull", "mine")


def test_what_lies_in_the_hub_cache_is_found(
    server: WeightServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(server, tmp_path, monkeypatch)
    cached = tmp_path / "hub" / "hub" / "models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    snapshot = cached / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    states = json.loads(hub("verify", "mine", "--json").stdout)
    assert states == {"mine": "missing"}, "a model without its tensors is not there"
    (snapshot / "model.safetensors").write_bytes(DATA)
    entries = json.loads(hub("list", "--json").stdout)
    mine = next(entry for entry in entries if entry["name"] == "mine")
    assert (mine["place"], mine["path"]) == ("hub cache", str(snapshot))


def test_list_tells_licence_terms_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    main(["weights", "list"])
    output = capsys.readouterr().out
    assert "CC-BY-4.0*" in output
    assert "vad: silero" in output
    assert {"pyannote_diarization", "mm_grounding_dino"} <= set(output.split()), "to be typed"
    main(["weights", "list", "--json"])
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["pyannote_diarization"]["gated"]
    assert entries["silero_vad"]["backends"] == ["vad: silero"]
    assert entries["silero_vad"]["place"] is None


def test_verify_can_insist(capsys: pytest.CaptureFixture[str]) -> None:
    main(["weights", "verify", "silero_vad"])
    assert "not here: silero_vad" in capsys.readouterr().out
    assert "avipipe weights pull silero_vad" in failure(capsys, "verify", "silero_vad", "--missing")


def test_pull_wants_to_know_what(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--profile", "ligth"], ["nobody"]):
        with pytest.raises(SystemExit) as caught:
            main(["weights", "pull", *words])
        assert caught.value.code in (2, 4)
    assert "there is no weight `nobody`" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["build", "plan"])
def test_a_build_names_all_missing_weights_before_any_work(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [verb, "--source", str(tmp_path / "no-such-list.txt"), "--out", str(out)]
    words += ["--set", "annotators.vad=silero", "--set", "annotators.separate=htdemucs"]
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 4
    message = capsys.readouterr().err
    assert "2 weights are missing" in message
    assert "avipipe weights pull htdemucs silero_vad" in message
    assert not out.exists()


def test_doctor_names_one_thing_to_do_for_each_backend(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    (home / "silero_vad.onnx").write_bytes(b"half a model")
    with (home / "XMem.pth").open("wb") as file:
        file.truncate(249026057)
    misfit = tmp_path / "site" / "torchvision" / "__init__.py"
    misfit.parent.mkdir(parents=True)
    misfit.write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    done = subprocess.run(
        command("doctor", "--json"),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    assert done.returncode == 0, done.stderr
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert findings["vad: energy"]["ok"]
    assert findings["profile embedded"]["ok"]
    assert not findings["profile light"]["ok"]
    assert findings["separate: htdemucs"]["remedy"] == "avipipe weights pull htdemucs"
    assert "corrupted" in findings["vad: silero"]["remedy"]
    assert findings["torchvision"]["found"] == "operator torchvision::nms does not exist"
    assert findings["propagate: xmem"]["found"] == "torchvision does not load"


def test_doctor_survives_a_model_that_its_library_cannot_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir(parents=True)
    (home / "silero_vad.onnx").write_bytes(b"half a model")
    own = tmp_path / "own.yaml"
    own.write_text(
        "silero_vad: {url: 'https://mirror.example.org', licence: MIT, purpose: finding speech, "
        "files: [{name: silero_vad.onnx}]}\n"
    )
    monkeypatch.setenv("AVIPIPE_WEIGHTS_LOCK", str(own))
    assert run("doctor", "--json") == 0
    findings = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["vad: silero"]["found"] == "not ready"
    assert "silero_vad.onnx" in findings["vad: silero"]["remedy"]


class WeighedVad(Weighted, EnergyVad):
    """The embedded method with a weight that it loads and does not use."""

    name = "weighed"
    needs = ("mine",)

    def setup(self) -> None:
        weights.locate("mine")
        super().setup()


def run(*words: str | Path) -> int:
    """The exit code of a command."""
    try:
        main([str(word) for word in words])
    except SystemExit as done:
        return int(done.code or 0)
    return 0


READING = (["status", "--json"], ["why", "clips", "--json"], ["refilter", "--json"], ["report"])


def told(out: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the commands that only look at a dataset say of it."""
    texts = []
    plan = ["plan", "--source", str(source), "--json", "--set", VAD]
    for verb in (*READING, plan, ["verify"]):
        assert run(*verb, "--out", out) == 0, capsys.readouterr().err
        texts.append(capsys.readouterr().out)
    return [*texts, (out / "report.html").read_text()]


VAD = f"annotators.vad={__name__}:WeighedVad"


@pytest.fixture(scope="module")
def weighed_once(small_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weighed") / "out"
    with pytest.MonkeyPatch.context() as patch:
        have_weight(out.parent, patch)
        build(sources(small_clips), out, "--executor", "inline", "--set", VAD)
    return out


@pytest.fixture
def weighed(weighed_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dataset of a backend whose weight no lock file pins; `own/a.bin` beside it is that."""
    have_weight(tmp_path, monkeypatch)
    return Path(shutil.copytree(weighed_once, tmp_path / "out"))


def have_weight(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own").mkdir()
    (folder / "own" / "a.bin").write_bytes(DATA)
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(folder / "own"))
    files = [{"name": "a.bin"}]
    lock(folder, monkeypatch, "https://example.org", files=files, homepage="https://mine.org")


def sources(small_clips: Path) -> Path:
    """A list of two clips, one of them to keep."""
    listing = small_clips / "two.txt"
    names = [next((small_clips / "clips").glob(f"{kind}*")) for kind in ("bounce", "silent")]
    listing.write_text("".join(f"{name}\n" for name in names))
    return listing


def test_a_dataset_is_read_the_same_where_its_weights_are_not(
    small_clips: Path,
    weighed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listing = sources(small_clips)
    assert "| mine (https://mine.org) | MIT |" in (weighed / "README.md").read_text()
    before = told(weighed, listing, capsys)
    assert sha256(DATA) in (weighed / "work" / "ledger" / "backends.json").read_text()
    (tmp_path / "own" / "a.bin").unlink()
    assert told(weighed, listing, capsys) == before
    monkeypatch.delenv(LOCK_ENV)
    assert run("status", "--json", "--out", weighed) == 0
    assert capsys.readouterr().out == before[0]


def test_weights_that_are_not_those_of_a_build_are_named(
    small_clips: Path, weighed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = sources(small_clips)
    before = told(weighed, listing, capsys)
    (tmp_path / "own" / "a.bin").write_bytes(b"other weights")
    for words, text in zip(READING, before[:3], strict=False):
        assert run(*words, "--out", weighed) == 0
        spoken = capsys.readouterr()
        assert spoken.out == text
        line = f"weights here are not those of the last build of {weighed}: mine of `listen`"
        assert (line in spoken.err) == (words[0] != "refilter")
        assert spoken.err.count("\n") <= 1
    assert run("plan", "--source", listing, "--out", weighed, "--json", "--set", VAD) == 0
    spoken = capsys.readouterr()
    assert line in spoken.err
    to_run = {stage["stage"]: stage["to_run"] for stage in json.loads(spoken.out)["stages"]}
    assert (to_run["shots"], to_run["listen"]) == (0, 2)


def test_only_what_would_run_again_needs_weights(
    small_clips: Path, weighed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own" / "a.bin").unlink()
    words: list[str | Path] = ["--out", weighed, "--set", VAD]
    listing = sources(small_clips)
    assert run("build", "--source", listing, *words, "--executor", "inline") == 0
    with listing.open("a") as file:
        file.write(f"{next((small_clips / 'clips').glob('strike*'))}\n")
    capsys.readouterr()
    assert run("plan", "--source", listing, *words, "--json") == 4
    spoken = capsys.readouterr()
    to_run = {stage["stage"]: stage["to_run"] for stage in json.loads(spoken.out)["stages"]}
    assert (to_run["fetch"], to_run["listen"]) == (1, 0)
    assert "the weight `mine` is missing" in spoken.err
    lines = (weighed / "work" / "sources.jsonl").read_bytes()
    assert run("build", "--source", listing, *words, "--executor", "inline") == 4
    assert "the weight `mine` is missing" in capsys.readouterr().err
    assert (weighed / "work" / "sources.jsonl").read_bytes() == lines


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_stages_behind_those_that_lack_weights_run_without_them(
    executor: str, small_clips: Path, weighed: Path, tmp_path: Path
) -> None:
    """Workers must find the keys of a machine that had the weights."""
    expected = published(weighed)
    (tmp_path / "own" / "a.bin").unlink()
    for path in weighed.glob("work/store/*/*/pairs.json"):
        path.unlink()
    unpublish(weighed)
    done = build(sources(small_clips), weighed, "--executor", executor, "--set", VAD)
    assert "`pair` ran again" in done.err
    assert published(weighed) == expected


def test_a_build_that_did_not_keep_its_weights_says_what_is_not_here(
    small_clips: Path, weighed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weighed / "work" / "ledger" / "backends.json").unlink()
    assert run("status", "--out", weighed, "--json") == 0
    capsys.readouterr()
    (tmp_path / "own" / "a.bin").unlink()
    assert run("status", "--out", weighed, "--json") == 4
    spoken = capsys.readouterr()
    assert "what depends on weights that are not here shows as pending (mine;" in spoken.err
    assert "nothing here says which version" in spoken.err
    words = ["build", "--source", str(sources(small_clips)), "--set", VAD]
    assert run(*words, "--out", weighed) == 4, "a build wants the weights themselves"


def test_a_build_stops_at_a_corrupted_weight_before_any_work(
    small_clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, out = tmp_path / "own", tmp_path / "out"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"others")
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(folder))
    file = {"name": "a.bin", "sha256": sha256(DATA)}
    lock(tmp_path, monkeypatch, "https://example.org", files=[file])
    words: list[str | Path] = ["build", "--source", small_clips / "sources.txt", "--out", out]
    assert run(*words, "--set", f"annotators.vad={__name__}:WeighedVad") == 4
    assert "`mine` is corrupted" in capsys.readouterr().err
    assert not out.exists()
