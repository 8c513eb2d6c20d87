"""Tables of papers on tiny components: edits, metrics, our numbers beside the published ones."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from scipy.io import wavfile

from avipipe.cli import cli
from avipipe.errors import ConfigError, RunError
from avipipe.evaluate.paper_tables import TABLES, load_table
from avipipe.evaluate.paper_tables.coarse import level_of, write_coarse
from avipipe.manifests.rle import read_masks
from tests.aved_models import tiny_pictures, tiny_sounds
from tests.edit_models import fresh_run
from tests.integration import lavfi
from tests.scenic_models import tiny_scenic
from tests.sounds import RATE_HZ, noise
from tests.wan_models import tiny_wan

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("one", "two")
SIZE = (96, 64)
DURATION_S = 0.75


def invoke(*words: object) -> Result:
    arguments = ["eval", "run", *map(str, words)]
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def ended(*words: object) -> dict[str, Any]:
    done = invoke(*words, "--workers=1", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips with sound and a mask, in the form of Anchor-Bench and as a manifest."""
    root = tmp_path_factory.mktemp("bench")
    items, cases = [], []
    for number, name in enumerate(NAMES):
        film = root / "videos" / f"{name}.mp4"
        film.parent.mkdir(exist_ok=True)
        graph = f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r=24:d={DURATION_S},hue=h={90 * number}"
        lavfi.write(film, video=graph, audio=lavfi.sound(duration_s=DURATION_S))
        masks = root / "bmasks" / name
        masks.mkdir(parents=True)
        mask_HW = np.zeros(SIZE[::-1], np.uint8)
        mask_HW[16:48, 24:64] = 255 * np.tri(32, 40, 20, dtype=np.uint8)
        for frame in range(18):
            Image.fromarray(mask_HW).save(masks / f"{frame:05d}.png")
        prompts = {"source_prompt": "a red cube", "target_prompt": "a green cube"}
        items.append({"video_name": name, "editing_type_id": "1", **prompts})
        mask = f"bmasks/{name}/00000.png"
        told = {"instruction": "replace the music with a car horn", **prompts}
        cases.append({"name": name, "source": f"videos/{name}.mp4", "mask": mask, **told})
    (root / "edit_prompt").mkdir()
    (root / "edit_prompt" / "edit1_Anchor.json").write_text(json.dumps(items))
    (root / "cases.jsonl").write_text("".join(f"{json.dumps(case)}\n" for case in cases))
    wavfile.write(root / "rain.wav", RATE_HZ, noise(0.1, duration_s=3))
    return root


def avi_edit(folder: Path) -> dict[str, Any]:
    solver = {"num_steps": 1, "shift": 1, "guidance": 1}
    return {"models": {"network": str(fresh_run(folder / "run"))}, "solver": solver}


def flow_anchor(folder: Path) -> dict[str, Any]:
    models = {"wan": str(tiny_wan(folder / "wan")), "precision": "fp32"}
    steps = {"num_steps": 2, "skipped_steps": 0}
    return {"models": models, "flow_anchor": steps, "output": {"size": list(SIZE)}}


def aved(folder: Path) -> dict[str, Any]:
    models = {
        "picture": str(tiny_pictures(folder / "sd")),
        "sound": str(tiny_sounds(folder / "sound")),
        "precision": "fp32",
    }
    return {
        "models": models,
        "aved": {"num_steps": 1, "picture_block": 1},
        "output": {"size": [64, 48]},
    }


def audio_scenic(folder: Path) -> dict[str, Any]:
    models = {name: str(path) for name, path in tiny_scenic(folder).items()}
    return {
        "models": {**models, "precision": "fp32"},
        "audio_scenic": {"num_steps": 1, "tuning_steps": 1},
        "output": {"size": list(SIZE)},
    }


METHODS = {each.__name__: each for each in (avi_edit, flow_anchor, aved, audio_scenic)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """From a method to the `--config` with which tiny components of it edit."""

    @cache
    def config_of(method: str) -> str:
        folder = tmp_path_factory.mktemp(method)
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump({"method": method, **METHODS[method](folder)}))
        return f"--config={method}={path}"

    return config_of


def test_a_table_is_made_beside_the_papers_numbers(
    media: Path, tiny: Callable[[str], str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--table=flowanchor-masks", f"--source={media}", f"--out={out}", "--row=box"]
    words += ["--row=hand-drawn", tiny("flow_anchor")]
    planned = json.loads(invoke(*words, "--dry-run", "--json").output)
    assert not out.exists()
    box = next(row for row in planned["rows"] if row["name"] == "box")
    assert (box["num_edits"], box["num_done"], box["missing"]) == (2, 0, "")
    assert any(line.startswith("at most") for line in box["memory"])
    found = ended(*words)
    hand, box, copy = found["rows"]
    psnr = [column["label"] for column in found["columns"]].index("M.PSNR")
    assert (hand["state"], hand["cells"][psnr]["ours"]) == ("missing", None)
    assert "avipipe mask" in hand["reason"]
    cell = box["cells"][psnr]
    assert (box["state"], cell["num_ok"], cell["num_total"]) == ("run", 2, 2)
    assert cell["published"] == 29.01
    assert cell["low"] is None or cell["low"] <= cell["ours"] <= cell["high"]
    assert copy["cells"][psnr]["ours"] == 100
    assert "weights clip_vitl14 are missing" in box["cells"][0]["reason"]
    page = (out / "table.md").read_text(encoding="utf-8")
    assert f"{cell['ours']:.2f}<br>" in page
    assert "paper 29.01" in page
    assert "another protocol" in page
    # The box was given, and the case's own mask is what is measured by.
    trace = json.loads((out / "box" / "edit1_Anchor-one" / "trace.json").read_bytes())
    assert trace["edits"][0]["mask"]["given_share"] == pytest.approx(32 * 40 / 96 / 64, rel=0.1)
    times = {path: path.stat().st_mtime_ns for path in out.glob("box/*/edited.mp4")}
    assert len(times) == 2
    again = ended(*words)
    assert again["rows"] == found["rows"]
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    planned = json.loads(invoke(*words, "--dry-run", "--json").output)
    box = next(row for row in planned["rows"] if row["name"] == "box")
    assert (box["num_done"], box["left_s"]) == (2, 0)


@pytest.mark.slow  # each some edits by tiny networks, half a minute and more
@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_made_on_tiny_components(
    name: str, media: Path, tiny: Callable[[str], str], tmp_path: Path
) -> None:
    table = load_table(name)
    out = tmp_path / "out"
    words = [f"--table={name}", f"--cases={media / 'cases.jsonl'}", f"--out={out}"]
    words += [tiny(method) for method in sorted({row.method for row in table.rows if row.method})]
    if table.takes_sounds:
        words.append(f"--sounds={media / 'rain.wav'}")
    planned = json.loads(invoke(*words, "--dry-run", "--json").output)
    for row in planned["rows"]:
        assert any("at most" in line for line in row["memory"]) == (row["method"] is not None)
    found = ended(*words)
    states = {row["name"]: row["state"] for row in found["rows"]}
    states.pop("control: copy", None)
    assert states == {
        row.name: "run" if row.is_run else "missing" if row.missing else "published only"
        for row in table.rows
    }
    for row in table.rows:
        if row.is_run:
            assert len(list(out.glob(f"{row.name}/*/edited.mp4"))) == len(NAMES)
    numbers = [cell["ours"] for row in found["rows"] for cell in row["cells"]]
    assert any(number is not None for number in numbers) or not _without_weights(found)
    for row in found["rows"]:
        for cell in row["cells"]:
            assert (
                row["state"] == "control"
                or cell["ours"] is not None
                or cell["reason"]
                or (row["state"] == "published only")
            )
    assert (out / "table.md").is_file()


def _without_weights(found: dict[str, Any]) -> bool:
    """Whether a metric of a table needs none."""
    own = {"psnr.outside", "warp.dis", "ssim.zerofill", "avalign.v2"}
    return any(column["metric"] in own or column["cost"] for column in found["columns"])


def test_what_is_missing_is_told_and_costs_the_rest_nothing(media: Path, tmp_path: Path) -> None:
    lines = (media / "cases.jsonl").read_text().splitlines()
    gone = {**json.loads(lines[0]), "name": "gone", "source": "gone.mp4"}
    unasked = {"name": "unasked", "source": str(media / "videos/one.mp4")}
    cases = tmp_path / "cases.jsonl"
    cases.write_text("".join(f"{json.dumps(each)}\n" for each in (gone, unasked)))
    words = [f"--cases={cases}", f"--out={tmp_path / 'out'}"]
    found = ended("--table=avi-edit-main", *words)
    told = found["missing"]["Cases that cannot be edited"]
    assert [line.partition(":")[0] for line in told] == ["gone", "unasked"]
    assert {row["state"] for row in found["rows"]} == {"missing", "published only"}
    assert found["rows"][-1]["cells"][0]["published"] == 312.89
    planned = invoke("--table=audioscenic-main", *words, "--dry-run").output
    assert "--sounds FOLDER" in planned
    assert "stable_diffusion_15" in planned


def test_each_case_needs_a_sound_of_its_own(media: Path, tmp_path: Path) -> None:
    (tmp_path / "two.wav").write_bytes((media / "rain.wav").read_bytes())
    words = ["--table=audioscenic-main", f"--cases={media / 'cases.jsonl'}", "--out=unused"]
    told = invoke(*words, f"--sounds={tmp_path}", "--dry-run", "--json").output
    planned = json.loads(told)
    assert planned["missing"]["Cases that cannot be edited"] == [
        "one: --sounds has no sound of its name"
    ]
    assert {row["num_edits"] for row in planned["rows"] if row["method"]} == {1}


def test_coarser_masks_hold_the_given_one(media: Path, tmp_path: Path) -> None:
    film, mask = media / "videos/one.mp4", media / "bmasks/one/00000.png"
    given_HW = np.asarray(Image.open(mask)) > 0
    x0, y0, width, height = cv2.boundingRect(given_HW.view(np.uint8))
    levels = {name: level_of(name, "degraded") for name in "abcdefghij"}
    assert set(levels.values()) == {1, 2, 3, 4}
    shares = {}
    for name, level in {**levels, "box": 4}.items():
        path = tmp_path / f"{name}.json"
        write_coarse(film, mask, name, "box" if name == "box" else "degraded", path)
        track = read_masks(path)
        assert len(track.frames) == round(24 * DURATION_S)
        assert (track.mask(3) >= given_HW).all()
        shares[name] = int(track.mask(3).sum())
        if level == 4:
            assert shares[name] == width * height
            assert track.mask(3)[y0 : y0 + height, x0 : x0 + width].all()
    order = sorted(levels, key=lambda name: levels[name])
    assert sorted(shares[name] for name in order) == [shares[name] for name in order]


def test_an_edit_that_fails_is_counted_and_ends_the_command(
    media: Path, tiny: Callable[[str], str], tmp_path: Path
) -> None:
    case = json.loads((media / "cases.jsonl").read_text().splitlines()[0])
    told = {**case, "source": str(media / case["source"]), "mask": str(media / case["mask"])}
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    cases = tmp_path / "cases.jsonl"
    lines = (told, {**told, "name": "broken", "source": "broken.mp4"})
    cases.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    out = tmp_path / "out"
    words = ["--table=flowanchor-cost", "--row=flowanchor", f"--cases={cases}", f"--out={out}"]
    with pytest.raises(RunError, match="1 of the edits failed"):
        invoke(*words, tiny("flow_anchor"), "--workers=1", "--no-controls")
    page = (out / "table.md").read_text(encoding="utf-8")
    assert "1 of 2" in page
    assert "no GPU was at work" in page
    # On a machine without the models, what was made is measured, of what is still asked.
    assert (out / "flowanchor" / "broken.partial").is_dir()
    cases.write_text(json.dumps(told))
    again = ended(*words, "--no-controls")
    (row,) = again["rows"]
    cell = row["cells"][0]
    assert (row["state"], cell["num_ok"], cell["num_total"]) == ("run", 1, 1)
    assert "avipipe weights pull wan21_t2v_1_3b" in row["reason"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--table=flowanchor"], "flowanchor-ablation"),
        (["--table=flowanchor-main"], "--source FOLDER where five-bench lies"),
        (["--table=flowanchor-main", "--edit=a=b"], "--edit does not go with --table"),
        (["--table=flowanchor-main", "--shard=1/2"], "--shard does not go with --table"),
        (["--model=x", "--edit=a=b"], "--model goes with --table alone"),
        (["--table=aved-main", "--cases=c", "--model=a", "--model=aved=b"], "got two"),
        (["--table=aved-main", "--benchmark=davis17"], "aved-bench, oave"),
        (["--table=aved-main", "--row=ours"], "tokenflow"),
    ],
)
def test_what_is_asked_wrongly_is_told(words: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        invoke(*words, f"--out={tmp_path / 'out'}")


def test_settings_of_another_method_are_refused_before_any_edit(
    media: Path, tmp_path: Path
) -> None:
    words = ["--table=aved-main", f"--cases={media / 'cases.jsonl'}", f"--out={tmp_path / 'out'}"]
    with pytest.raises(ConfigError, match="flow_anchor"):
        invoke(*words, "--set=flow_anchor.gamma=1")
    assert not (tmp_path / "out" / "aved").exists()
