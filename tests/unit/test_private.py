"""How listed URLs are stored without their secrets, and found again."""

import json
import os
from pathlib import Path

import pytest

from avipipe.errors import FailKind, ManifestError, MediaError, RunError
from avipipe.manifests.records import SourceLine
from avipipe.pipeline.private import NAME, Private
from avipipe.pipeline.workspace import Workspace

PLAIN = "https://h.org/x.mp4"
SIGNED = "https://b.s3/x.mp4?X-Amz-Credential=c&X-Amz-Signature="


def line(uri: str) -> SourceLine:
    return SourceLine(0, uri, None, "list.txt:1")


@pytest.fixture
def private(tmp_path: Path) -> Private:
    return Private(tmp_path)


@pytest.mark.parametrize("uri", [PLAIN, "/a/b?token=c.mp4", "file:///a%E9.mp4", "https://[broken"])
def test_what_has_no_secrets_is_stored_as_it_is(private: Private, uri: str, tmp_path: Path) -> None:
    assert private.stored(line(uri)) == line(uri)
    assert private.address(uri) == uri
    assert private.secrets(uri) == ()
    private.write()
    assert not (tmp_path / NAME).exists()


def test_what_may_say_which_file_is_meant_is_hashed(private: Private) -> None:
    urls = [
        "https://h.org/get?token=aaa",
        "https://h.org/get?token=bbb",
        "https://h.org/get?id=7&token=aaa",
        "https://ann@h.org/get",
        "https://bob@h.org/get",
        "https://h.org/get#t=3&key=aaa",
    ]
    stored = [private.stored_uri(url) for url in urls]
    assert len(set(stored)) == len(urls)
    assert stored[0].startswith("https://h.org/get#hidden=")
    assert stored[2].startswith("https://h.org/get?id=7#hidden=")
    assert stored[5].startswith("https://h.org/get#t=3&hidden=")
    assert all(private.stored_uri(uri) == uri for uri in stored)
    assert stored[0][-16:] != stored[2][-16:], "equal tokens are not told to be equal"


def test_a_new_password_or_signature_is_no_new_source(private: Private) -> None:
    assert private.stored_uri(f"{SIGNED}one") == private.stored_uri(f"{SIGNED}two")
    assert private.stored_uri(f"{SIGNED}one") == "https://b.s3/x.mp4"
    ann = "https://ann:{}@h.org/x.mp4"
    assert private.stored_uri(ann.format("one")) == private.stored_uri(ann.format("two"))


def test_the_hash_has_a_key_of_its_own(tmp_path: Path) -> None:
    url = "https://h.org/get?token=aaa"
    one, other = Private(tmp_path / "one"), Private(tmp_path / "other")
    assert one.stored_uri(url) != other.stored_uri(url)


def test_it_is_written_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    url = "https://ann:hush@h.org/get?token=aaaa"
    private = Private(tmp_path)
    uri = private.stored(line(url)).uri
    private.write()
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    again = Private(tmp_path)
    assert (again.stored_uri(url), again.address(uri)) == (uri, url)
    assert {"ann", "hush", "aaaa"} <= set(again.secrets(uri))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_what_a_killed_build_left_of_it_goes_with_the_next_one(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path), tmp_path)
    left = tmp_path / f".{NAME}.0123456789ab.partial"
    left.write_text("hush")
    with workspace.locked():
        assert not left.exists()
        with pytest.raises(RunError, match=rf"another build \(process {os.getpid()}\) is at work"):
            workspace.locked().__enter__()


def test_the_latest_address_counts(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path), tmp_path)
    for end in ("one", "two"):
        private = Private(tmp_path)
        lines = workspace.merged_lines([line(PLAIN), line(f"{SIGNED}{end}")], private)
        private.write()
        workspace.write_lines(lines)
    assert [line.uri for line in workspace.lines()] == [PLAIN, "https://b.s3/x.mp4"]
    assert Private(tmp_path).address("https://b.s3/x.mp4") == f"{SIGNED}two"


def test_lines_of_an_earlier_version_lose_their_secrets(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path), tmp_path)
    url = "https://ann:hush@h.org/x.mp4"
    workspace.write_lines([line(url)])
    private = Private(tmp_path)
    (stored,) = workspace.merged_lines([line(url)], private)
    private.write()
    workspace.write_lines([stored])
    assert "hush" not in (tmp_path / "sources.jsonl").read_text()
    assert Private(tmp_path).address(stored.uri) == url


def test_lost_secrets_fail_their_source_alone(tmp_path: Path, private: Private) -> None:
    uri = private.stored_uri("https://h.org/get?token=aaa")
    with pytest.raises(MediaError, match="build with the list that holds it") as caught:
        Private(tmp_path / "elsewhere").address(uri)
    assert caught.value.kind is FailKind.PRIVATE


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "zz", "addresses": {}}', "{}"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    private = Private(tmp_path)
    assert private.stored_uri("/a/b.mp4") == "/a/b.mp4", "who only looks needs no secrets"
    for ask in (lambda: private.stored_uri("https://h.org/x?token=a"), private.write):
        with pytest.raises(ManifestError, match=NAME):
            ask()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_who_may_not_read_it_may_look(tmp_path: Path) -> None:
    (tmp_path / NAME).touch(0o000)
    private = Private(tmp_path)
    assert private.address("/a/b.mp4") == "/a/b.mp4"
    assert private.stored_uri(PLAIN) == PLAIN
    with pytest.raises(ManifestError, match="may not read"):
        private.address(PLAIN)


def test_nothing_of_it_is_in_the_stored_lines(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path), tmp_path)
    private = Private(tmp_path)
    url = "https://ann:hush-hush@h.org/get?token=0123456789#frag-secret"
    workspace.write_lines(workspace.merged_lines([line(url)], private))
    text = (tmp_path / "sources.jsonl").read_text()
    assert json.loads(text)["source"]["uri"].startswith("https://h.org/get#hidden=")
    assert not any(secret in text for secret in ("ann", "hush", "0123456789", "frag"))
