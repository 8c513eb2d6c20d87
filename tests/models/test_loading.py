"""Every model that a backend loads is whole, or refused by name: none is filled with chance."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("diffusers")
pytest.importorskip("pyannote.audio")

from safetensors.torch import load_file, save_file  # noqa: E402

from avipipe import weights  # noqa: E402
from avipipe.annotators.loading import OPTIONAL, is_optional, read_model  # noqa: E402
from avipipe.annotators.registry import create  # noqa: E402
from avipipe.errors import WeightsError  # noqa: E402
from tests.models.locked import trust  # noqa: E402
from tests.models.tiny_checkpoints import CHECKPOINTS  # noqa: E402
from tests.models.tiny_matchers import write_clap  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*torch_dtype.* is deprecated:FutureWarning"),
]

SHARED = {"sam2_video": "sam2"}
"""Backend -> the weight of another that it loads."""
TENSOR_FILES = (".safetensors", ".bin", ".pth", ".model")


@pytest.fixture(scope="module", autouse=True)
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A checkpoint as it is written, made once; it is for copying."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("whole")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            CHECKPOINTS[name].write(root / name)
        return root / name

    return folder


@pytest.fixture
def copied(written: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Makes a copy that may be spoilt."""

    def copy(name: str) -> Path:
        folder = tmp_path / SHARED.get(name, name)
        shutil.copytree(written(name), folder)
        return folder

    return copy


def load(name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """What production does with files of which nobody knows a hash."""
    trust(patch, folder.parent, folder.name)
    CHECKPOINTS[name].load()


def files_of(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in TENSOR_FILES)
    assert files
    return files


def edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write a file's tensors anew."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        save_file(change(load_file(path)), path, metadata=metadata)
        return
    content = torch.load(path, weights_only=False)
    if "state_dict" in content:
        content["state_dict"] = change(content["state_dict"])
    else:
        content = change(content)
    torch.save(content, path)


def counted(tensors: Mapping[str, Any], name: str) -> list[str]:
    """Those that a backend must have; one in the middle first."""
    spare = CHECKPOINTS[name].spare
    names = sorted(key for key in tensors if not is_optional(key) and not spare.match(key))
    return names[len(names) // 2 :] + names[: len(names) // 2]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_whole_checkpoint_loads(
    name: str, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(name, copied(name), monkeypatch)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_lacks_a_tensor_is_refused_by_name(
    name: str, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(name)
    for path in files_of(folder):
        whole = path.read_bytes()
        taken: list[str] = []

        def without(tensors: dict[str, Any], taken: list[str] = taken) -> dict[str, Any]:
            taken.append(counted(tensors, name)[0])
            return {key: tensor for key, tensor in tensors.items() if key != taken[0]}

        edit(path, without)
        with pytest.raises(WeightsError, match=r"lacks 1 of its tensors") as refused:
            load(name, folder, monkeypatch)
        message = str(refused.value)
        assert taken[0].rpartition(".")[2] in message
        assert str(folder) in message
        assert message.endswith(f"avipipe weights pull {folder.name}")
        path.write_bytes(whole)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_tensor_must_be_there(
    name: str, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(name)
    for path in files_of(folder):
        whole = path.read_bytes()
        taken: list[str] = []

        def one(tensors: dict[str, Any], taken: list[str] = taken) -> dict[str, Any]:
            names = counted(tensors, name)
            taken += names[1:]
            return {names[0]: tensors[names[0]]}

        edit(path, one)
        with pytest.raises(WeightsError) as refused:
            load(name, folder, monkeypatch)
        found = re.search(r"it lacks (\d+) of its tensors, .+ and (\d+) more\.", str(refused.value))
        assert found is not None, str(refused.value)
        assert len(taken) <= int(found[1]) == int(found[2]) + 3  # tied ones are not all in files
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", None], ids=["empty", "foreign", "truncated"]
)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_what_is_no_checkpoint_is_one_error(
    name: str, content: bytes | None, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(name)
    for path in files_of(folder):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
        with pytest.raises(WeightsError) as refused:
            load(name, folder, monkeypatch)
        message = str(refused.value)
        assert str(folder) in message
        assert "cannot be loaded as" in message
        assert message.endswith(f"avipipe weights pull {folder.name}")
        path.write_bytes(whole)


@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if name not in ("xmem", "lr_asd")])
def test_settings_that_are_broken_are_one_error(
    name: str, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(name)
    for path in sorted(folder.rglob("*config.*")):
        if path.name == "generation_config.json":
            continue  # without it the library has settings of its own; ours are in the code
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WeightsError, match=f"avipipe weights pull {folder.name}$"):
            load(name, folder, monkeypatch)
        path.write_bytes(whole)


def test_what_a_checkpoint_may_lack_changes_nothing(tmp_path: Path) -> None:
    lacking = set[str]()

    def changed(kind: Any, folder: Path, run: Callable[[Any], Any]) -> None:
        before = run(read_model(kind, folder, remedy="none"))
        (path,) = files_of(folder)
        names = [name for name in load_file(path) if is_optional(name)]
        assert names
        lacking.update(names)
        edit(path, lambda tensors: {k: v for k, v in tensors.items() if not is_optional(k)})
        torch.manual_seed(7)
        assert torch.equal(run(read_model(kind, folder, remedy="none")), before)

    write_clap(tmp_path / "clap")
    draw = torch.Generator().manual_seed(0)
    mel = torch.randn(1, 1, 1001, 64, generator=draw)
    words = torch.arange(5, 20)[None]

    def clap(model: Any) -> Any:
        with torch.inference_mode():
            heard = model.eval().get_audio_features(mel).pooler_output
            return torch.cat([heard, model.get_text_features(words).pooler_output])

    changed(transformers.ClapModel, tmp_path / "clap", clap)
    small = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "conv_dim": (8,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
    }
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**small))
    model.save_pretrained(tmp_path / "wav2vec2")
    wave = torch.randn(1, 4000, generator=draw)

    def wav2vec2(model: Any) -> Any:
        with torch.inference_mode():
            return model.eval()(wave).last_hidden_state

    changed(transformers.Wav2Vec2Model, tmp_path / "wav2vec2", wav2vec2)
    unused = [pattern for pattern in OPTIONAL if not any(re.search(pattern, n) for n in lacking)]
    assert not unused


def test_the_norm_that_grounding_dino_does_not_use_says_nothing(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "grounding_dino"
    shutil.copytree(written("grounding_dino"), folder)
    kind = transformers.AutoModelForZeroShotObjectDetection
    model = read_model(kind, folder, remedy="none").eval()
    norms = [part for name, part in model.named_modules() if name.endswith("swin.layernorm")]
    inputs = {
        "pixel_values": torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)),
        "input_ids": torch.tensor([[2, 5, 6, 3]]),
    }
    with torch.inference_mode():
        before = model(**inputs).logits
        for norm in norms:
            norm.weight.fill_(5.0)
        assert torch.equal(model(**inputs).logits, before)


@pytest.mark.parametrize(
    ("role", "backend", "weight"),
    [
        ("vad", "silero", "silero_vad"),
        ("tag", "yamnet", "yamnet"),
        ("active_speaker", "lr_asd", "yunet"),
    ],
)
def test_half_a_small_network_is_one_error(
    role: str, backend: str, weight: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = weights.entry(weight)
    found = weights.find(entry)
    if found is None:
        pytest.skip(f"the weight {weight} is not here")
    name = entry.files[0].name
    content = found.path.read_bytes()
    (tmp_path / "lr_asd_pretrain_AVA.model").touch()
    (tmp_path / "lock.yaml").write_text(
        f"{weight}: {{url: 'https://mirror.example.org', licence: none, purpose: a test, "
        f"files: [{{name: {name}}}]}}\n"
        "lr_asd: {url: 'https://mirror.example.org', licence: none, purpose: a test, "
        "files: [{name: lr_asd_pretrain_AVA.model}]}\n"
    )
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("AVIPIPE_WEIGHTS_LOCK", str(tmp_path / "lock.yaml"))
    for spoilt in (b"", b"<html>not found</html>", content[: len(content) // 2]):
        (tmp_path / name).write_bytes(spoilt)
        with pytest.raises(WeightsError, match=f"{name}: cannot be loaded.* pull {weight}$"):
            create(role, backend).setup()
