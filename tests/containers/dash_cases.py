"""Pictures and sound that come as two downloads, and are merged by what fetches them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from avipipe.manifests.records import Keep, SourceLine
from avipipe.stages.base import Item
from avipipe.stages.fetch import Fetch, FetchConfig
from tests.containers.cases import Maker, Source
from tests.containers.encode import AAC, H264, encode
from tests.containers.truth import Truth, steady

_LATE_S = 0.6
_MANIFEST = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT8S"
 minBufferTime="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="v" codecs="avc1.42c00d" width="176"
 height="144" bandwidth="300000"><BaseURL>v.mp4</BaseURL></Representation></AdaptationSet>
<AdaptationSet mimeType="audio/mp4"><Representation id="a" codecs="mp4a.40.2" bandwidth="70000"
 audioSamplingRate="48000"><BaseURL>a.m4a</BaseURL></Representation></AdaptationSet>
</Period></MPD>"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a server on this machine serves a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def fetched(url: str, folder: Path) -> Path:
    """The file that the build's fetch makes of a URL."""
    folder.mkdir()
    config = FetchConfig(state_dir=folder / "hosts", page_interval_s=0)
    line = SourceLine(0, url, None, "list.txt:1")
    media = folder / "media"
    media.mkdir()
    outcome = Fetch(config).run(Item("line", line, None, {}, {}), media)
    if not isinstance(outcome, Keep):
        raise AssertionError(f"expected a download, found {outcome}")
    return media / str(outcome.evidence["path"])


def merged(folder: Path) -> Source:
    """A DASH video that starts 0.6 s behind its sound."""
    web = folder / "web"
    web.mkdir()
    (web / "man.mpd").write_text(_MANIFEST)
    fragments = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")
    encode(web / "v.mp4", [*H264, "-bf", "0", *fragments, "-map", "-1:a"], video_late_s=_LATE_S)
    encode(web / "a.m4a", [*AAC, "-map", "-0:v"], rate_hz=48_000, sound_s=7 + _LATE_S)
    with served(web) as address:
        path = fetched(f"{address}/man.mpd", folder / "fetched")
    # Where the merged file begins, with the coder's run-in or after it, is the merger's choice.
    part = steady(25, 175, sound_s=(-_LATE_S, 7.0), content_s=_LATE_S, slack_s=0.1)
    return Source(path, Truth((part.later(_LATE_S),)))


DASH: dict[str, Maker] = {"DASH H.264, AAC, picture 0.6 s late, merged": merged}
