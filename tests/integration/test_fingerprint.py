from fractions import Fraction

import numpy as np
import pytest

from avipipe.manifests.records import Keep, SourceLine, Span
from avipipe.media.fingerprint import has_chromaprint, same_audio, same_video
from avipipe.media.normalize import NormalizeConfig, normalize
from avipipe.media.probe import probe
from avipipe.stages.base import Item
from avipipe.stages.fingerprint import Fingerprint
from avipipe.synth.encode import write_clip
from avipipe.synth.render import render


@pytest.fixture(scope="module")
def prints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[int]]]:
    """Fingerprints of one clip, of a worse and smaller copy that begins later, of another clip."""
    root = tmp_path_factory.mktemp("fingerprint")
    found = {}
    for name, seed, short_side_px, crf, start_s in (
        ("clip", 3, 180, 18, 0.0),
        ("copy", 3, 120, 32, 0.3),
        ("other", 4, 180, 18, 0.0),
    ):
        source = root / f"{name}.mp4"
        clip = render("speaker", seed, duration_s=6.0, height_px=180, fps=Fraction(25))
        write_clip(clip, source, crf=crf)
        folder, scratch = root / name, root / f"{name}-out"
        folder.mkdir()
        scratch.mkdir()
        config = NormalizeConfig(short_side_px=short_side_px)
        normalize(source, probe(source), start_s=start_s, end_s=6.0, folder=folder, config=config)
        line = SourceLine(0, str(source), None, "list.txt:1")
        item = Item("a", line, Span(start_s, 6.0), {"cut": {}}, {"cut": folder})
        outcome = Fingerprint().run(item, scratch)
        assert isinstance(outcome, Keep)
        found[name] = outcome.evidence
    return found


def test_copies_look_alike_and_others_do_not(prints: dict[str, dict[str, list[str]]]) -> None:
    clip, copy, other = (prints[name]["video_phash"] for name in ("clip", "copy", "other"))
    assert len(clip) == 3
    assert same_video(clip, copy)
    assert not same_video(clip, other)


@pytest.mark.skipif(not has_chromaprint(), reason="this ffmpeg was built without chromaprint")
def test_copies_sound_alike_and_others_do_not(prints: dict[str, dict[str, list[int]]]) -> None:
    clip, copy, other = (
        np.array(prints[name]["audio_chromaprint"], np.uint32) for name in ("clip", "copy", "other")
    )
    offsets = range(-8, 9)
    # 0.3 s are 2.4 words.
    assert any(same_audio(clip, copy, offset=offset) for offset in (2, 3))
    assert not any(same_audio(clip, other, offset=offset) for offset in offsets)
