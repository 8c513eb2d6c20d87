"""What may be stored and shown of texts and URLs from outside."""

import base64
import logging
import pickle

import pytest

from avipipe import log
from avipipe.errors import FailKind, MediaError, RunError
from avipipe.text import (
    hiding,
    safe_text,
    said,
    secrets_of,
    shown_url,
    split_url,
    storable,
    without_secrets,
)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Zwölf Hunde 🐕‍🦺 می‌خواهم", "Zwölf Hunde 🐕‍🦺 می‌خواهم"),
        ("a\nb\tc\u2028d", "a b c d"),
        ("a\x1b[2J\x00\x07\x9b\x7f", r"a\x1b[2J\x00\x07\x9b\x7f"),
        ("half \ud800 of one", r"half \ud800 of one"),
        ("caf\udce9", r"caf\xe9"),
        ("abc\u202egpj.exe", r"abc\u202egpj.exe"),
    ],
)
def test_safe_text(text: str, safe: str) -> None:
    assert safe_text(text) == safe
    assert safe_text(safe) == safe
    safe.encode()


def test_an_overlong_name_is_cut() -> None:
    assert safe_text("x" * 301, max_chars=300) == "x" * 299 + "…"
    assert safe_text("x" * 300, max_chars=300) == "x" * 300


def test_messages_keep_their_lines() -> None:
    assert said("a\r\n\tb\rc\x1b]0;d") == "a\n\tb\\x0dc\\x1b]0;d"


def test_every_text_of_a_value_is_made_safe() -> None:
    value = {"a\x00": ["\ud800", ("b\x1b", 1, None, True, 0.5)]}
    assert storable(value) == {r"a\x00": [r"\ud800", [r"b\x1b", 1, None, True, 0.5]]}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.org/x.mp4", "https://h.org/x.mp4"),
        ("https://h.org/x.mp4#t=3,5", "https://h.org/x.mp4#t=3,5"),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", None),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=42s&si=Zx81", "…watch?v=dQw4w9WgXcQ&t=42s"),
        ("https://h.org/get?id=7&token=abc", "https://h.org/get?id=7"),
        ("https://h.org/get?token=abc&id=7", "https://h.org/get?id=7"),
        ("https://h.org/get?id=" + "e" * 65, "https://h.org/get"),
        ("https://h.org/get?%74oken=abc", "https://h.org/get"),
        ("https://h.org/get?abcdef0123456789", "https://h.org/get"),
        ("https://h.org/x#access_token=abc", "https://h.org/x"),
        ("https://h.org/x?a=b#/c?token=d", "https://h.org/x"),
        ("https://u:p@h.org/x", "https://h.org/x"),
        ("https://token@h.org:8080/x", "https://h.org:8080/x"),
        ("https://u:p@[::1]:80/x", "https://[::1]:80/x"),
        ("https://[::1]:80/x", None),
        ("https://u:p/w@h.org/x", "https://h.org/x"),
        ("https://u:p?w@h.org/x", "https://h.org/x"),
        ("https://u:p@ss/w@h.org/x", "https://h.org/x"),
        ("https://h.org/@channel/video", None),
        ("https://h.org:8080/@channel", None),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("http://[broken/x", None),
        ("/a/b?c=d.mp4", None),
    ],
)
def test_shown_url(url: str, shown: str | None) -> None:
    expected = url if shown is None else shown.replace("…", "https://www.youtube.com/")
    assert shown_url(url) == expected
    assert shown_url(expected) == expected


def test_a_signature_is_told_from_what_names_a_file() -> None:
    parts = split_url("https://b.org/x?X-Amz-Signature=s&X-Amz-Expires=9&clip_key=7&Policy=p")
    assert parts.hidden == ("clip_key=7",)
    assert parts.signing == ("X-Amz-Signature=s", "X-Amz-Expires=9", "Policy=p")


def test_secrets_of_a_url() -> None:
    url = "https://an%40n:s3cr%2Ft@h.org/x?token=tiny&q=a&blob=0123456789abcdef&id=7&BARE-ONE-1"
    found = set(secrets_of(url))
    assert {"an@n", "an%40n", "s3cr/t", "s3cr%2Ft"} <= found
    assert {"tiny", "0123456789abcdef", "BARE-ONE-1"} <= found
    assert base64.b64encode(b"an@n:s3cr/t").decode() in found
    assert not {"a", "7", ""} & found


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://u:p@h.org/x?token=abc: HTTP 404", "https://h.org/x: HTTP 404"),
        ("(see https://h.org/x?z=1).", "(see https://h.org/x)."),
        ("'https://h.org/my clip.mp4?a=1&token=abc'", "'https://h.org/my clip.mp4?a=1&token=***'"),
        ("it redirects to /login?api_key=abc&x=1", "it redirects to /login?api_key=***&x=1"),
        ("expected dotted.key=value, max_tokens=320", None),
    ],
)
def test_urls_in_messages(text: str, clean: str | None) -> None:
    assert without_secrets(text) == (text if clean is None else clean)


def test_what_is_hidden_is_cut_out_in_every_form() -> None:
    secret = 'sk/a"b+c'
    forms = [secret, "sk%2Fa%22b%2Bc", 'sk/a\\"b+c', 'sk\\/a"b+c']
    with hiding(secret, "no", ""):
        assert [without_secrets(f"<{form}>") for form in forms] == ["<***>"] * len(forms)
        assert without_secrets("no") == "no"
        with hiding("inner-one"):
            assert without_secrets(f"{secret} inner-one") == "*** ***"
        assert without_secrets("inner-one") == "inner-one"
    assert without_secrets(secret) == secret


def test_the_longer_of_two_secrets_is_cut_first() -> None:
    with hiding("abcd", "abcdefgh"):
        assert without_secrets("abcdefgh") == "***"


def test_every_error_is_safe_to_show() -> None:
    with hiding("hush-hush"):
        error = MediaError(
            FailKind.CORRUPT, "hush-hush \x1b[31m https://u:p@h/x?k=v", log_tail="hush-hush\x07"
        )
    assert str(error) == r"*** \x1b[31m https://h/x"
    assert error.log_tail == r"***\x07"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.log_tail, again.kind) == (str(error), error.log_tail, error.kind)
    assert str(RunError("a\nb\ud800")) == "a\nb\\ud800"


def test_log_records_are_safe_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("avipipe")
    before = (logger.level, logger.handlers, logger.propagate)
    try:
        log.configure(1)
        with hiding("hush-hush"):
            try:
                raise ValueError("hush-hush at https://u:p@h/x?token=t")
            except ValueError:
                logging.getLogger("avipipe.some.part").exception("%s\x1b[2J", "hush-hush")
    finally:
        logger.setLevel(before[0])
        logger.handlers, logger.propagate = before[1:]
    err = capsys.readouterr().err
    assert "***\\x1b[2J" in err
    assert "ValueError: *** at https://h/x" in err
    assert not any(secret in err for secret in ("hush-hush", "u:p@", "token"))
