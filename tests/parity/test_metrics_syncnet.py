"""SyncNet, its cepstra and whole runs against numbers of its references, with recipe weights."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from avipipe.annotators.faces.mfcc import mfcc
from avipipe.evaluate.extractors.networks.syncnet import SyncNet
from avipipe.evaluate.extractors.syncnet import SyncNetV2
from avipipe.evaluate.metrics.sync import distances_at_offsets, lip_sync
from tests.parity.metric_fixtures import Arrays, arrays, close
from tests.parity.metric_recipes import recipe_state

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def fixture() -> Arrays:
    return arrays("syncnet")


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.save(recipe_state("syncnet"), folder / "syncnet_v2.model")
    return folder


@pytest.fixture
def syncnet(weights_folder: Path, monkeypatch: pytest.MonkeyPatch) -> SyncNetV2:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(weights_folder))
    extractor = SyncNetV2()
    extractor.setup()
    return extractor


def shown(fixture: Arrays) -> npt.NDArray[np.uint8]:
    """The BGR frames, each pixel repeated up to 224."""
    small = fixture["frames_small"]
    factor = 224 // small.shape[1]
    return np.asarray(small.repeat(factor, axis=1).repeat(factor, axis=2), np.uint8)


def test_cepstra(fixture: Arrays) -> None:
    close(mfcc(fixture["mfcc_audio_int16"]), fixture["mfcc"], 1e-8)


@torch.inference_mode()
def test_features_of_single_windows(fixture: Arrays) -> None:
    net = SyncNet()
    net.load_state_dict(recipe_state("syncnet"), strict=False)
    net.eval()
    frames = shown(fixture)
    video = torch.from_numpy(frames.astype(np.float32)).permute(3, 0, 1, 2)
    lips = zip((0, 2), fixture["forward_lip"], fixture["forward_lipfeat"], strict=True)
    for start, lip, lipfeat in lips:
        window = video[:, start : start + 5]
        close(net.see(window)[0].numpy(), lip, 1e-4)
        close(net.lips(window)[0].numpy(), lipfeat, 1e-4)
    cepstra = torch.from_numpy(mfcc(fixture["mfcc_audio_int16"]).astype(np.float32)).T
    windows = torch.stack([cepstra[None, :, 4 * i : 4 * i + 20] for i in (0, 1, 5)])
    close(net.hear(windows).numpy(), fixture["forward_aud"], 1e-4)


def test_whole_run(syncnet: SyncNetV2, fixture: Arrays) -> None:
    rgb = shown(fixture)[..., ::-1]
    samples = fixture["mfcc_audio_int16"][: fixture["e2e_audio_samples"]]
    seen, heard = syncnet.features(rgb, samples)
    assert len(seen) == len(heard) == fixture["e2e_lastframe"]
    distances = distances_at_offsets(seen, heard)
    np.testing.assert_allclose(distances, fixture["e2e_dists"], rtol=2e-4)
    found = lip_sync(distances)
    offset, confidence, least = fixture["e2e_wav2lip"].tolist()
    assert found.offset_frames == offset
    np.testing.assert_allclose([found.confidence, found.distance], [confidence, least], rtol=2e-4)
    np.testing.assert_allclose(fixture["e2e_latentsync"], [offset, least, confidence], rtol=2e-4)
    np.testing.assert_allclose(fixture["e2e_joonson_offset_conf"], [offset, confidence], rtol=2e-4)
