"""Every form of a source list, and every way in which one can be wrong."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avipipe.errors import AvipipeError, ConfigError, ManifestError
from avipipe.manifests.records import SourceLine, Span
from avipipe.manifests.sources import read_sources
from avipipe.manifests.uris import is_url, local_path

ODD = Path(__file__).parents[3] / "shared" / "odd"
URL = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def only(path: Path) -> SourceLine:
    (line,) = read_sources(path).lines
    return line


@pytest.mark.parametrize(
    ("text", "uri", "span"),
    [
        (URL, URL, None),
        (f"{URL} 1 2.5", URL, Span(1, 2.5)),
        (f"{URL}\t1:30 1:02:03.25", URL, Span(90, 3723.25)),
        (f"{URL}#t=3 0 2  # the good part", f"{URL}#t=3", Span(0, 2)),
        ("/a/b.mp4", "/a/b.mp4", None),
        ("/a/my clip 2.mp4", "/a/my clip 2.mp4", None),
        ("/a/my clip #1.mp4 3 4", "/a/my clip #1.mp4", Span(3, 4)),
        ('"/a/take 1 2" 3 4', "/a/take 1 2", Span(3, 4)),
        ("'/a/take 1 2'", "/a/take 1 2", None),
        ("'/a/b # c.mp4' 0 1 # note", "/a/b # c.mp4", Span(0, 1)),
        ("/a/it's.mp4", "/a/it's.mp4", None),
        ("file:///a/my%20clip.mp4 0 1", "/a/my clip.mp4", Span(0, 1)),
        ("/a/b.mp4 0.0004 1.0006", "/a/b.mp4", Span(0, 1.001)),
    ],
)
def test_text_line(tmp_path: Path, text: str, uri: str, span: Span | None) -> None:
    line = only(write(tmp_path, "list.txt", text))
    assert (line.uri, line.span) == (uri, span)


def test_text_list_skips_comments_and_numbers_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "list.txt", "\ufeff# head\r\n\r\na.mp4\r\n  # more\r\nsub/b.mp4 1 2\r\n")
    first, second = read_sources(path).lines
    assert (first.index, first.uri, first.location) == (0, str(tmp_path / "a.mp4"), f"{path}:3")
    assert (second.index, second.uri) == (1, str(tmp_path / "sub/b.mp4"))
    assert second.location == f"{path}:5"


def test_relative_paths_follow_the_list_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    write(tmp_path / "lists", "list.txt", "a.mp4")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a.mp4", "elsewhere")
    assert only(Path("lists/list.txt")).uri == str(tmp_path / "lists" / "a.mp4")


def test_a_wish_is_kept_once(tmp_path: Path) -> None:
    path = write(tmp_path, "list.txt", "a.mp4\nb.mp4\na.mp4 0 1\n'a.mp4'\na.mp4 0.0 0:01\n")
    sources = read_sources(path)
    assert [line.index for line in sources.lines] == [0, 1, 2]
    assert [(d.location, d.first_location) for d in sources.duplicates] == [
        (f"{path}:4", f"{path}:1"),
        (f"{path}:5", f"{path}:3"),
    ]
    assert len({line.line_id for line in sources.lines}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4 5", "looks like a time"),
        (f"{URL} 5", "`source start end`"),
        (f"{URL} from 1 2", "`source start end`"),
        ('"a.mp4" 1', "`source start end`"),
        ('"a.mp4', 'closing "'),
        ("a.mp4 5 5", "0 <= start < end, found 5 to 5 s"),
        ("a.mp4 5 4", "0 <= start < end"),
        ("a.mp4 1 1.0001", "0 <= start < end"),
        ("a.mp4 -1 4", "0 <= start < end"),
        ("a.mp4 0 1:75", "seconds or h:m:s, found '1:75'"),
    ],
)
def test_bad_text_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "list.txt", f"good.mp4\n{text}\n")
    with pytest.raises(ManifestError) as caught:
        read_sources(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}:2: ")


@pytest.mark.parametrize(("suffix", "tab"), [("csv", ","), ("tsv", "\t")])
def test_table_with_header(tmp_path: Path, suffix: str, tab: str) -> None:
    rows = ["Label,URL,start,END,licence", f'"dog, big",{URL},0:05,9,', f",{URL},,,CC-BY"]
    if suffix == "tsv":
        rows = [
            "Label\tURL\tstart\tEND\tlicence",
            f"dog, big\t{URL}\t0:05\t9\t",
            f"\t{URL}\t\t\tCC-BY",
        ]
    path = write(tmp_path, f"list.{suffix}", "\ufeff" + "\r\n".join(rows) + "\r\n")
    first, second = read_sources(path).lines
    assert (first.uri, first.span, first.metadata) == (URL, Span(5, 9), {"label": "dog, big"})
    assert (second.span, second.metadata) == (None, {"licence": "CC-BY"})
    assert second.location == f"{path}:3"


def test_parquet_times_that_python_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    table = {
        "uri": [URL, URL + "x"],
        "far": pa.array([2**62, None], pa.timestamp("us")),
        "fine": pa.array([1, 2], pa.timestamp("ns")),
    }
    pq.write_table(pa.table(table), path)
    first, second = read_sources(path).lines
    assert first.metadata["fine"] == "1970-01-01 00:00:00.000000001"
    assert "out of range" in first.metadata["far"]
    assert second.metadata == {"fine": "1970-01-01 00:00:00.000000002"}


def test_a_parquet_value_that_cannot_be_read_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    table = {"uri": [URL, URL], "long": pa.array([1, 2**62], pa.duration("s"))}
    pq.write_table(pa.table(table), path)
    with pytest.raises(ManifestError, match=r"row 2: `long` of type duration\[s\] cannot be read"):
        read_sources(path)


def test_uri_wins_over_other_source_columns(tmp_path: Path) -> None:
    line = only(write(tmp_path, "list.csv", f"file,url\nx.mp4,{URL}\n"))
    assert (line.uri, line.metadata) == (URL, {"file": "x.mp4"})


def test_youtube_id_column(tmp_path: Path) -> None:
    line = only(write(tmp_path, "list.csv", "youtube_id,start_s,end_s\ndQw4w9WgXcQ,1,2\n"))
    assert (line.uri, line.span) == (URL, Span(1, 2))


def test_vggsound_list_without_header(tmp_path: Path) -> None:
    rows = '---g-f_I2yQ,1,people marching,test\ndQw4w9WgXcQ,20,"dog, barking",train\n'
    first, second = read_sources(write(tmp_path, "vggsound.csv", rows)).lines
    assert first.uri == "https://www.youtube.com/watch?v=---g-f_I2yQ"
    assert first.span == Span(1, 11)
    assert second.metadata == {"label": "dog, barking", "split": "train"}


def test_audioset_list_as_it_is_published(tmp_path: Path) -> None:
    text = (
        "# Segments csv created Sun Mar  5 10:54:31 2017\n"
        "# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=3\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n'
        'dQw4w9WgXcQ, 0.000, 10.000, "/m/0bt9lr"\n'
    )
    path = write(tmp_path, "eval_segments.csv", text)
    first, second = read_sources(path).lines
    assert first.uri == "https://www.youtube.com/watch?v=--PJHxphWEs"
    assert (first.span, first.location) == (Span(30, 40), f"{path}:4")
    assert first.metadata == {"positive_labels": "/m/09x0r,/t/dd00088"}
    assert (second.uri, second.span) == (URL, Span(0, 10))


def test_comments_before_a_header_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "list.csv", "# from the archive\n\nurl, label\nx.mp4, dog\n")
    line = only(path)
    assert (line.uri, line.metadata) == (str(tmp_path / "x.mp4"), {"label": "dog"})
    assert line.location == f"{path}:4"


def test_a_bad_row_after_comments_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "list.csv", "# YTID, start_seconds, end_seconds\nshort, 1, 2\n")
    with pytest.raises(ManifestError, match=":2: expected a YouTube id"):
        read_sources(path)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("list.txt", ["# head", "a.mp4 1 2", "b.mp4"]),
        ("list.csv", ["url,start,end,label", "a.mp4,1,2,x", "b.mp4,,,"]),
        ("list.tsv", ["url\tstart\tend", "a.mp4\t1\t2", "b.mp4\t\t"]),
        ("list.jsonl", ["", '{"url": "a.mp4", "start": 1, "end": 2}', '{"url": "b.mp4"}']),
    ],
)
def test_any_line_ends(tmp_path: Path, end: str, name: str, rows: list[str]) -> None:
    path = write(tmp_path, name, end.join(rows) + end)
    first, second = read_sources(path).lines
    assert (first.uri, first.span) == (str(tmp_path / "a.mp4"), Span(1, 2))
    assert (second.uri, second.span) == (str(tmp_path / "b.mp4"), None)
    assert (first.location, second.location) == (f"{path}:2", f"{path}:3")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("list.txt", ["a.mp4", "b.mp4"]),
        ("list.csv", ["url", "a.mp4", "b.mp4"]),
        ("list.jsonl", ['{"url": "a.mp4"}', '{"url": "b.mp4"}']),
    ],
)
def test_byte_order_marks_of_lists_that_were_put_together(
    tmp_path: Path, name: str, rows: list[str]
) -> None:
    path = write(tmp_path, name, "\n".join(f"\ufeff{row}" for row in rows))
    assert [line.uri for line in read_sources(path).lines] == [
        str(tmp_path / "a.mp4"),
        str(tmp_path / "b.mp4"),
    ]


def test_a_list_of_another_encoding_names_the_line(tmp_path: Path) -> None:
    for content, message in (
        (b"a.mp4\rb.mp4\r\nc\xe9.mp4", ":3: expected UTF-8 text, found byte 0xe9"),
        (b"a.mp4\nb\0.mp4", ":2: expected UTF-8 text, found a zero byte"),
        ("a.mp4".encode("utf-16"), ":1: expected UTF-8 text, found byte 0xff at position 0"),
    ):
        with pytest.raises(ManifestError, match=message):
            read_sources(write(tmp_path, "list.txt", content))


@pytest.mark.parametrize(
    ("uri", "stored"),
    [
        ("a\ud800.mp4", "file://{folder}/a%ED%A0%80.mp4"),
        ("caf\udce9 1.mp4", "file://{folder}/caf%E9%201.mp4"),
        ("a\0b.mp4", "file://{folder}/a%00b.mp4"),
        ("a\x1b[31m.mp4", "file://{folder}/a%1B%5B31m.mp4"),
        ("https://h/a\ud800\x1b.mp4", "https://h/a%ED%A0%80%1B.mp4"),
    ],
)
def test_names_that_are_no_text_stay_alone_and_safe(tmp_path: Path, uri: str, stored: str) -> None:
    rows = [{"path": uri, "label": "\ud800\x1b", "n\0": "a\nb"}, {"path": "good.mp4"}]
    path = write(tmp_path, "list.jsonl", "\n".join(map(json.dumps, rows)))
    first, second = read_sources(path).lines
    assert first.uri == stored.format(folder=tmp_path)
    assert first.metadata == {"label": r"\ud800\x1b", r"n\x00": "a b"}
    assert second.uri == str(tmp_path / "good.mp4")


def test_a_file_name_of_any_bytes_is_found_again(tmp_path: Path) -> None:
    name = b"caf\xe9\n\x1b[31m%41.mp4"
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
    line = only(tmp_path)
    assert line.uri == f"file://{tmp_path}/caf%E9%0A%1B%5B31m%2541.mp4"
    assert os.fsencode(local_path(line.uri)) == os.fsencode(tmp_path) + b"/" + name
    assert only(local_path(line.uri)).uri == line.uri
    assert read_sources(line.uri).lines[0].uri == line.uri


@pytest.mark.parametrize(
    ("uri", "host"),
    [("file://host/x.mp4", "host"), ("file://a.mp4", "a.mp4"), ("FILE://user@host/x", "user@host")],
)
def test_a_file_of_another_machine_is_refused(tmp_path: Path, uri: str, host: str) -> None:
    path = write(tmp_path, "list.txt", f"good.mp4\n{uri}\n")
    with pytest.raises(ManifestError, match=f":2: expected file:///path.*'{host}'"):
        read_sources(path)


@pytest.mark.parametrize("uri", ["file:///a/b.mp4", "file://localhost/a/b.mp4", "FILE:///a/b.mp4"])
def test_a_file_of_this_machine(tmp_path: Path, uri: str) -> None:
    assert only(write(tmp_path, "list.txt", uri)).uri == "/a/b.mp4"


def test_urls_are_read_with_their_secrets_and_nothing_else_shows_them(tmp_path: Path) -> None:
    url = "https://me:hush@h.org/x.mp4?token=0123456789"
    row = {"url": url, "thumbnail": f"see {url}", "file": url}
    line = only(write(tmp_path, "list.jsonl", json.dumps(row)))
    assert line.uri == url
    assert line.metadata == {"thumbnail": "see https://h.org/x.mp4", "file": "https://h.org/x.mp4"}
    assert read_sources(url).lines[0].location == "https://h.org/x.mp4"
    with pytest.raises(ManifestError) as caught:
        read_sources(write(tmp_path, "list.txt", f"{url} 3"))
    assert "hush" not in str(caught.value)
    assert "0123456789" not in str(caught.value)


def test_jsonl(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"path": "a.mp4", "start_s": 1, "end_s": "0:02", "tags": ["x", "é"], "note": None},
        {"url": URL, "views": 3},
    ]
    path = write(tmp_path, "list.jsonl", "\n\n".join(map(json.dumps, rows)))
    first, second = read_sources(path).lines
    assert (first.uri, first.span) == (str(tmp_path / "a.mp4"), Span(1, 2))
    assert first.metadata == {"tags": '["x", "é"]'}
    assert (second.uri, second.location, second.metadata) == (URL, f"{path}:3", {"views": "3"})


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    table = {"uri": [URL, "a.mp4"], "start_s": [0.5, None], "end_s": [1.5, None], "n": [1, None]}
    pq.write_table(pa.table(table), path)
    first, second = read_sources(path).lines
    assert (first.uri, first.span, first.metadata) == (URL, Span(0.5, 1.5), {"n": "1"})
    assert (second.uri, second.span, second.metadata) == (str(tmp_path / "a.mp4"), None, {})
    assert second.location == f"{path}: row 2"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "ulr,label\nx,y\n", "did you mean `url` by `ulr`?"),
        ("a.csv", "x.mp4,1,dog,test\n", ":1: expected a column uri, url"),
        ("a.csv", "url,url\nx,y\n", "found `url` twice"),
        ("a.csv", "url,label\nx\n", ":2: expected 2 columns, found 1"),
        ("a.csv", "url,label\n ,y\n", ":2: expected a path or URL in `url`"),
        ("a.csv", 'url,label\n"x"y,z\n', ":2: "),
        ("a.csv", "url,start,end\nx,1,\n", ":2: expected both start and end"),
        ("a.csv", "url,start\nx,1\n", ":2: expected both start and end"),
        ("a.csv", "url,start,end\nx,soon,2\n", ":2: expected seconds or h:m:s, found 'soon'"),
        ("a.csv", "url,start,end\nx,nan,2\n", "found 'nan'"),
        ("a.csv", "youtube_id\nshort\n", ":2: expected a YouTube id of 11"),
        ("a.csv", "dQw4w9WgXcQ,1,dog,test\nshort,1,dog,test\n", ":2: expected id,start,label"),
        ("a.jsonl", '{"uri": "x"}\n{"uri": \n', ":2: this is not JSON"),
        ("a.jsonl", '["x"]\n', ':1: expected {"uri": …}'),
        ("a.jsonl", '{"uir": "x"}\n', ":1: expected a column"),
        ("a.jsonl", '{"uri": 5}\n', ":1: expected a path or URL in `uri`, found 5"),
        ("a.jsonl", '{"uri": "x", "start": true, "end": 2}\n', "found True"),
        ("a.jsonl", '{"uri": "x", "start": 1, "end": 1' + "0" * 400 + "}", ":1: expected less"),
        ("a.jsonl", '{"uri": "x", "start": 1, "end": 1' + "0" * 5000 + "}", ":1: this is not JSON"),
        ("a.jsonl", '{"uri": "x", "start": 1, "end": 1e999}', ":1: expected less than 1e+09 s"),
        ("a.jsonl", '{"uri": "x", "start": -1e12, "end": 1}', ":1: expected less than 1e+09 s"),
        ("a.jsonl", '{"uri": "x"}\n' + "[" * 100_000, ":2: expected values of a few levels"),
        ("a.jsonl", '{"uri": "x", "a": ' + "[" * 990 + "]" * 990 + "}", ":1: expected values of a"),
        ("a.jsonl", '\ufeff\n{"uri": "x\x00"}', ":2: expected UTF-8 text, found a zero byte"),
        ("a.csv", "url,start,end\nx,0,99999999:00:00\n", ":2: expected less than 1e+09 s"),
        ("a.csv", "# url\n# url,url\nx,y\n", ":2: expected each column once"),
        ("a.csv", "url,label\nx," + "y" * 200_000 + "\n", ":2: field larger than field limit"),
        ("a.parquet", "nonsense", "not a Parquet file"),
        (
            "a.txt",
            b"good.mp4\ncaf\xe9.mp4\n",
            ":2: expected UTF-8 text, found byte 0xe9 at position 12",
        ),
        ("a.txt", b"\xef\xbb\xbfcaf\xe9.mp4\n", "found byte 0xe9 at position 6"),
        ("a.txt", "a.mp4".encode("utf-16-le"), "found a zero byte at position 1"),
        ("a.txt", "", "expected at least one source, found none"),
        ("a.txt", "# nothing\n\n", "expected at least one source, found none"),
        ("a.csv", "", "expected at least one source, found none"),
        ("a.csv", "url\n", "expected at least one source, found none"),
    ],
)
def test_bad_list_is_a_manifest_error(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(ManifestError) as caught:
        read_sources(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.skipif(not ODD.is_dir(), reason="needs ../shared/odd")
def test_lists_that_went_wrong() -> None:
    first, second = read_sources(ODD / "cr_only.txt").lines
    assert (first.uri, first.span) == (str(ODD / "a.mp4"), Span(1, 2))
    assert (second.uri, second.span) == (str(ODD / "b.mp4"), None)
    with pytest.raises(ManifestError, match=r"bigint\.jsonl:1: expected less than 1e\+09 s"):
        read_sources(ODD / "bigint.jsonl")
    assert only(ODD / "surr.jsonl").uri == f"file://{ODD}/a%ED%A0%80.mp4"


def test_folder_is_searched_in_order(tmp_path: Path) -> None:
    for name in ("b/x.MP4", "b/a.webm", "a.mov", "notes.txt", ".hidden/c.mp4", "b/.d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, "x")
    (tmp_path / "folder.mp4").mkdir()
    uris = [line.uri for line in read_sources(tmp_path).lines]
    assert uris == [str(tmp_path / name) for name in ("a.mov", "b/a.webm", "b/x.MP4")]


def test_single_file_and_url(tmp_path: Path) -> None:
    path = write(tmp_path, "my clip.mp4", "x")
    assert only(path).uri == str(path)
    assert read_sources(URL).lines[0].uri == URL
    assert read_sources(path.as_uri()).lines[0].uri == str(path)


@pytest.mark.parametrize(
    ("name", "message"), [("a.xlsx", "found `.xlsx`"), ("gone", "found nothing")]
)
def test_unreadable_source_is_a_config_error(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path, "a.xlsx", "x")
    with pytest.raises(ConfigError, match=message):
        read_sources(tmp_path / name)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(AvipipeError, match="expected at least one source"):
        read_sources(tmp_path)


def test_is_url() -> None:
    assert all(map(is_url, ["HTTP://host/x", "s3://bucket/x"]))
    assert not any(map(is_url, ["file:///x", "/a/b", "c:/x", "www.host.org/x"]))
