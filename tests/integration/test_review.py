"""The review page of a real build: what is on it, where it comes from, what is refused."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from avipipe.errors import ConfigError
from avipipe.manifests.rle import read_masks
from avipipe.pipeline.review.write import write_review
from avipipe.pipeline.workspace import Workspace
from tests.edit_pairs import edit_pair, member_of, put_edits
from tests.integration.builds import Ended, avipipe
from tests.integration.reviewing import ReviewPage, read_page
from tests.s3 import Bucket


def review(dataset: Path, page: Path, *options: str) -> Ended:
    return avipipe("review", dataset, "--out", page, *options)


@pytest.fixture(scope="module")
def page_path(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("review") / "review.html"
    done = review(built, path)
    assert done.code == 0, done.err
    assert done.out.strip() == str(path)
    assert "drawing 5 of 2 kept and 3 dropped clips; the page will have at most 60 MB" in done.err
    assert re.search(r"clip 5 of 5; the page will have about \d\.\d MB", done.err)
    return path


@pytest.fixture(scope="module")
def page(page_path: Path) -> ReviewPage:
    return read_page(page_path)


@contextmanager
def gone(source: Path) -> Iterator[None]:
    """While a source is not where it was."""
    aside = source.with_suffix(".aside")
    source.rename(aside)
    try:
        yield
    finally:
        aside.rename(source)


def test_the_file_needs_nothing_else(page: ReviewPage) -> None:
    assert not re.search(r"https?://|file://|@import|url\(", page.html)
    assert re.findall(r'\b(?:src|href|srcset|action)="', page.html) == []
    assert "default-src 'none'" in page.html
    names = re.findall(r'\bid="([^"]+)"', page.html)
    assert len(names) == len(set(names)), "an id stands twice"


def test_kept_and_dropped_clips_with_their_words(page: ReviewPage) -> None:
    reasons = [clip["reason"] for clip in page.clips.values()]
    assert sum(not reason for reason in reasons) == 2
    assert len(set(reasons)) == 4
    for clip in page.clips.values():
        signs = {point["sign"] for point in clip["points"]}
        if clip["decision"] == "keep":
            assert clip["label"]
            assert clip["caption"]
            assert (signs, clip["no_mask"], clip["because"]) == ({1}, "", "")
        else:
            assert -1 in signs
            assert clip["because"].endswith(".")
            assert clip["no_mask"].startswith("No mask: ")


def test_every_clip_plays_with_sound(page: ReviewPage, tmp_path: Path) -> None:
    for clip, video in zip(page.data["clips"], page.videos, strict=True):
        path = tmp_path / "clip.mp4"
        path.write_bytes(video)
        with av.open(str(path)) as container:
            picture, sound = container.streams.video[0], container.streams.audio[0]
            assert (picture.codec_context.name, sound.codec_context.name) == ("h264", "aac")
            assert min(picture.width, picture.height) == 360
            assert (picture.width, picture.height) == (clip["width"], clip["height"])
            assert picture.average_rate == 24
            frames = list(container.decode(picture))
            assert len(frames) == clip["num_frames"]
            assert clip["num_frames"] == round(24 * (clip["end_s"] - clip["start_s"]))
        # The index comes first, so that playing begins before all of it is read.
        assert video.index(b"moov") < video.index(b"mdat")
        assert len(video) < 300_000


def test_the_masks_are_those_of_the_dataset(built: Path, page: ReviewPage) -> None:
    stored = [read_masks(path) for path in (built / "work/store").rglob("masks.json")]
    shown = [masks for masks in page.masks if masks is not None]
    assert len(shown) == 2
    for clip, masks in zip(page.data["clips"], page.masks, strict=True):
        assert (masks is None) is bool(clip["no_mask"])
        if masks is not None:
            assert len(masks.frames) == clip["num_frames"]
            assert masks in stored


def test_the_same_seed_gives_the_same_page(built: Path, page_path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.html"
    assert review(built, again).code == 0
    assert again.read_bytes() == page_path.read_bytes()


def test_fewer_clips_still_stand_for_both_sides(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "few.html"
    done = review(built, path, "--count", "3", "--seed", "1")
    assert done.code == 0, done.err
    page = read_page(path)
    assert sorted(clip["decision"] for clip in page.clips.values()) == ["drop", "keep", "keep"]
    assert (page.data["seed"], page.data["num_clips"]) == (1, 5)


def test_the_publication_alone_gives_the_same_page(
    built: Path, page_path: Path, tmp_path: Path
) -> None:
    bare = tmp_path / built.name
    shutil.copytree(built, bare, ignore=shutil.ignore_patterns("work"))
    path = tmp_path / "bare.html"
    done = review(bare, path)
    assert done.code == 0, done.err
    assert path.read_bytes() == page_path.read_bytes()


def test_a_dataset_in_a_bucket(
    built: Path, bucket: Bucket, page_path: Path, tmp_path: Path
) -> None:
    for path in built.rglob("*"):
        name = path.relative_to(built)
        if path.is_file() and name.parts[0] != "work":
            bucket.write(f"{built.name}/{name}", path.read_bytes())
    out, path = f"{bucket.url}/{built.name}", tmp_path / "r.html"
    done = avipipe("review", out, "--out", path, "--work", tmp_path / "none")
    assert done.code == 0, done.err
    assert path.read_bytes() == page_path.read_bytes()


def test_without_sources_kept_clips_come_from_shards_and_dropped_ones_are_counted(
    built: Path, page: ReviewPage, tmp_path: Path
) -> None:
    kept, dropped = (
        next(clip for clip in page.clips.values() if clip["decision"] == decision)
        for decision in ("keep", "drop")
    )
    with gone(Path(kept["source"])), gone(Path(dropped["source"])):
        done = review(built, tmp_path / "r.html")
    assert done.code == 0, done.err
    assert "drawing 4 of 2 kept and 3 dropped clips" in done.err
    assert "1 dropped clips have no video any more" in done.err
    found = read_page(tmp_path / "r.html")
    assert set(page.clips) - set(found.clips) == {dropped["clip_id"]}
    assert found.clips[kept["clip_id"]] == kept
    before, after = (list(each.clips).index(kept["clip_id"]) for each in (page, found))
    assert found.videos[after] == page.videos[before]
    assert found.masks[after] == page.masks[before]


def test_another_file_in_the_place_of_a_source_is_not_shown(
    built: Path, page: ReviewPage, tmp_path: Path
) -> None:
    clip = next(clip for clip in page.clips.values() if clip["decision"] == "drop")
    other = next(found for found in page.clips.values() if found["source"] != clip["source"])
    source = Path(clip["source"])
    with gone(source):
        shutil.copy(other["source"], source)
        done = review(built, tmp_path / "r.html")
        source.unlink()
    assert done.code == 0, done.err
    assert clip["clip_id"] not in read_page(tmp_path / "r.html").clips
    assert "another file stands there now" in done.err


def test_a_smaller_page_has_coarser_videos(built: Path, page: ReviewPage, tmp_path: Path) -> None:
    path = tmp_path / "small.html"
    done = review(built, path, "--max-mb", "0.5")
    assert done.code == 0, done.err
    assert path.stat().st_size <= 500_000 < len(page.html)
    assert set(read_page(path).clips) == set(page.clips)


class Silent:
    def drew(self, num_clips: int, counts: Counter[str]) -> None: ...

    def filmed(self, num_clips: int, num_bytes: int) -> None: ...


def test_clips_that_do_not_fit_are_refused(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    with pytest.raises(ConfigError, match="--count"):
        write_review(
            Workspace.at(str(built)), path, count=5, seed=0, max_bytes=120_000, listener=Silent()
        )
    assert not path.exists()


def test_edit_pairs_stand_beside_their_clip(built: Path, page: ReviewPage, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(built, dataset, ignore=shutil.ignore_patterns("work"))
    kept = [name for name, clip in page.clips.items() if clip["decision"] == "keep"]
    cat, gone = edit_pair(), edit_pair("delete")
    put_edits(dataset, {kept[0]: member_of(cat, gone)})
    done = review(dataset, tmp_path / "all.html")
    assert done.code == 0, done.err
    found = read_page(tmp_path / "all.html").clips
    assert found.keys() == page.clips.keys()
    assert {name: len(clip["edits"]) for name, clip in found.items() if clip["edits"]} == {
        kept[0]: 2
    }
    assert found[kept[0]]["edits"] == [cat.model_dump(), gone.model_dump()]
    assert found[kept[0]]["max_precision"] == 4
    done = review(dataset, tmp_path / "pairs.html", "--pairs")
    assert "drawing 1 of 1 kept and 0 dropped clips" in done.err
    assert list(read_page(tmp_path / "pairs.html").clips) == kept[:1]
    put_edits(dataset, {})
    done = review(dataset, tmp_path / "none.html", "--pairs")
    assert done.code == 2
    assert "has no clip with edit pairs" in done.err


def test_asking_for_more_clips_than_there_are_costs_nothing(
    built: Path, page: ReviewPage, tmp_path: Path
) -> None:
    path = tmp_path / "more.html"
    done = review(built, path, "--count", "500")
    assert done.code == 0, done.err
    assert len(path.read_text()) == len(page.html)


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    done = review(tmp_path, tmp_path / "r.html")
    assert done.code == 2
    assert "avipipe build" in done.err
    assert not (tmp_path / "r.html").exists()


def test_a_dataset_without_clips_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("/nowhere/gone.mp4\n")
    avipipe(
        "build", "--source", tmp_path / "list.txt", "--out", tmp_path / "set", "--executor=inline"
    )
    done = review(tmp_path / "set", tmp_path / "r.html")
    assert done.code == 2, done.err
    assert "has no clip that was kept or dropped" in done.err
    assert not (tmp_path / "r.html").exists()


def test_a_page_in_no_folder_is_refused(built: Path, tmp_path: Path) -> None:
    done = review(built, tmp_path / "none" / "r.html")
    assert done.code == 2
    assert "make it first" in done.err
