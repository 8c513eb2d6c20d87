"""Metrics of sets from the command line, on tiny checkpoints in the layouts of the public ones."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from avipipe.cli import cli  # noqa: E402
from avipipe.evaluate.cases import Case, completed  # noqa: E402
from avipipe.evaluate.controls import controls_of  # noqa: E402
from avipipe.evaluate.extractors.networks.i3d import I3d  # noqa: E402
from avipipe.evaluate.extractors.networks.inception import FidInception  # noqa: E402
from avipipe.evaluate.extractors.networks.vggish import Vggish  # noqa: E402
from avipipe.evaluate.measuring import measure  # noqa: E402
from avipipe.evaluate.tables import read_run  # noqa: E402
from tests.integration import lavfi  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.models.tiny_cnn14 import FILE as CNN14_FILE  # noqa: E402
from tests.models.tiny_cnn14 import NUM_HIDDEN, checkpoint  # noqa: E402
from tests.models.tiny_matchers import write_clap  # noqa: E402

NUM_SOURCES = 8
METRICS = ("fvd.styleganv16", "fvd.cdfvd_i3d", "fvd.centrecrop", "kvd.i3d", "fad.vggish")
CONTROLS = ("copy", "shifted")
TABLES = ("clips.parquet", "sets.parquet", "features.parquet")


class _Scripted(nn.Module):
    """What StyleGAN-V calls: the colours of four quarters of a video, at its begin and its end."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        if rescale:
            x = x / 127.5 - 1
        found: Tensor = nn.functional.adaptive_avg_pool3d(x, (2, 2, 2)).flatten(1)
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sources, and edits of two methods; one of an edit is silent."""
    root = tmp_path_factory.mktemp("sets")
    for name in ("source", "good", "bad"):
        (root / name).mkdir()
    for number in range(NUM_SOURCES):
        graph = f"testsrc2=s=48x32:r=24:d=1.1:alpha=255,hue=h={40 * number}"
        sound = lavfi.sound(duration_s=1.1)
        for name, extra in (("source", ""), ("good", ",eq=brightness=0.02"), ("bad", ",negate")):
            heard = None if (name, number) == ("bad", 7) else sound
            lavfi.write(root / name / f"{number}.mp4", video=graph + extra, audio=heard)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(Vggish(num_hidden=16).state_dict(), root / "vggish-10086976.pth")
    with torch.inference_mode():
        torch.jit.script(_Scripted()).save(root / "i3d_torchscript.pt")
    return root


def run(folder: Path, out: Path, *words: str) -> str:
    edits = [f"--edit={name}={folder / name}" for name in ("good", "bad")]
    metrics = [f"--metric={name}" for name in METRICS]
    asked = ["run", f"--source={folder / 'source'}", *edits, *metrics, "--workers=1"]
    told = CliRunner().invoke(cli, ["eval", *asked, "--out", str(out), *words])
    assert told.exit_code == 0, told.output
    return told.output


def sets(out: Path) -> dict[tuple[str, str], dict[str, object]]:
    table = pq.read_table(out / "sets.parquet").to_pylist()
    return {(row["metric"], row["method"]): row for row in table}


@pytest.mark.slow  # four runs whose processes load torch: 20 s
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_sets_from_end_to_end(
    folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(weights))
    out = tmp_path / "out"
    told = json.loads(run(folder, out, "--allow-small-n", "--json").splitlines()[-1])
    values = {(row["metric"], row["method"]): row for row in told["values"]}
    assert len(values) == len(METRICS) * 6
    for name in ("fvd.styleganv16", "fvd.centrecrop", "kvd.i3d"):
        good, bad = values[name, "good"], values[name, "bad"]
        assert good["status"] == bad["status"] == "ok"
        assert good["value"] < bad["value"]
        assert bad["null"] is not None
        assert values[name, "control: copy"]["value"] == pytest.approx(0.0, abs=1e-6)
        assert abs(values[name, "control: frozen"]["value"]) > 1e-6
        assert values[name, "control: shifted"]["value"] == pytest.approx(0.0, abs=1e-6)
    copy, shifted = (values["fad.vggish", f"control: {name}"]["value"] for name in CONTROLS)
    assert shifted > 1e-8 > copy  # of a network that knows nothing
    assert (values["fad.vggish", "good"]["num_ok"], values["kvd.i3d", "good"]["num_ok"]) == (7, 8)
    missing = values["fvd.cdfvd_i3d", "good"]
    assert (missing["status"], missing["value"]) == ("skipped", None)
    assert "avipipe weights pull i3d_videogpt" in missing["reason"]
    stored = sets(out)
    assert stored["kvd.i3d", "bad"]["value"] == values["kvd.i3d", "bad"]["value"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Sets as a whole" in page
    assert "by chance" in page
    assert "8 of 8 clips, rank" in page
    tests = {test["metric"]: test for test in read_run(out).facts["set_tests"]}
    assert tests["kvd.i3d"]["p_holm"] < 0.05
    assert "the edit has no sound" in page

    parts = [tmp_path / f"part-{index}" for index in (1, 2)]
    for index, part in enumerate(parts, start=1):
        run(folder, part, "--allow-small-n", f"--shard={index}/2")
    merged = tmp_path / "merged"
    words = ["eval", "merge", *map(str, parts), "--out", str(merged)]
    assert CliRunner().invoke(cli, words).exit_code == 0
    for name in TABLES:
        assert (merged / name).read_bytes() == (out / name).read_bytes(), name

    kept = {path: path.stat().st_mtime_ns for path in (out / "work").rglob("*.np*")}
    run(folder, out)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    refused = sets(out)
    assert refused["fvd.styleganv16", "good"]["value"] is None
    assert "8 clips are too few" in str(refused["fvd.styleganv16", "good"]["reason"])
    assert refused["kvd.i3d", "bad"]["value"] == values["kvd.i3d", "bad"]["value"]
    features = read_run(out).features
    rows = [row for row in features if row.kind == "i3d.styleganv" and row.method == "good"]
    assert np.stack([row.side(row.edit)[0] for row in rows]).shape == (NUM_SOURCES, 24)


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other networks, drawn by a seed: those of fixed sizes whole."""
    root = tmp_path_factory.mktemp("rest")
    torch.manual_seed(0)
    torch.save(I3d(epsilon=1e-5).state_dict(), root / "i3d_pretrained_400.pt")
    path = root / "weights-inception-2015-12-05-6726825d.pth"
    torch.save(FidInception().state_dict(), path)
    return root


def test_features_of_networks_at_their_sizes(
    folder: Path, rest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(rest))
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})
    files = {"source": folder / "source/0.mp4", "edit": folder / "bad/0.mp4"}
    cases = completed([Case(name="0", method="bad", **files)], "test")
    copy = controls_of(cases, seed=0)[0]
    found = measure([*cases, copy], ["fvd.cdfvd_i3d", "is.set", "is.clip"], tmp_path)
    for kind, num_dims in (("i3d.cdfvd", 400), ("inception.middle", 1008)):
        own, copied = (each.features[kind].pair for each in found)
        assert own is not None, found[0].features[kind]
        assert copied is not None
        assert own.source_ND.shape == own.edit_MD.shape == (1, num_dims)
        np.testing.assert_array_equal(copied.edit_MD, own.source_ND)
        assert np.abs(own.edit_MD - own.source_ND).max() > 0
    assert (found[0].scores["is.clip"].value or 0) >= 1


def test_features_of_sounds_by_clap_and_cnn14(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clap(tmp_path / "clap")
    torch.save(checkpoint(), tmp_path / CNN14_FILE)
    lock(monkeypatch, tmp_path, "clap")
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})
    files = {"source": folder / "source/0.mp4", "edit": folder / "bad/0.mp4"}
    (case,) = completed([Case(name="0", method="bad", **files)], "test")
    controls = {each.control: each for each in controls_of([case], seed=0)}
    names = ["fad.clap", "fad.cnn14"]
    found = measure([case, controls["copy"], controls["shifted"]], names, tmp_path / "work")
    for kind, shape in (("clap", (2, None)), ("cnn14", (1, NUM_HIDDEN))):
        own, copy, shifted = (each.features[kind].pair for each in found)
        assert own is not None, found[0].features[kind]
        assert own.edit_MD.shape[0] == shape[0]  # of 1.1 s
        assert shape[1] in (None, own.edit_MD.shape[1])
        assert copy is not None
        assert shifted is not None
        np.testing.assert_array_equal(copy.edit_MD, own.source_ND)
        assert np.abs(shifted.edit_MD - own.source_ND).max() > 0
    silent = case.model_copy(update={"edit": folder / "bad/7.mp4"})
    (none,) = measure([silent], names, tmp_path / "work")
    assert {each.score.reason for each in none.features.values()} == {"the edit has no sound"}
