"""Text from outside, as it may be stored and shown: no control characters, no secrets.

File names, page titles, captions, URLs and what servers say come from people and machines that
nobody knows. What is kept of them goes through `safe_text`, what is said goes through `said`; every
`AvipipeError` and every log record does so by itself.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

MAX_NAME_CHARS = 300
"""Of a title or a label: longer than any that people read, and short enough for a table."""

MASK = "***"
"""What stands for a secret that was cut out."""

# Control characters, halves of surrogate pairs, line and paragraph separators, and the marks that
# turn the direction of what follows: what terminals obey, or what UTF-8 cannot hold.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)  # fmt: skip
_SPACES = frozenset("\t\n\v\f\r\x85\u2028\u2029")
_BYTES = range(0xDC80, 0xDD00)
"""Stand for the bytes of a file name that are not UTF-8 (PEP 383)."""


def is_safe(text: str) -> bool:
    """Whether `safe_text` would leave a text as it is."""
    return _UNSAFE.search(text) is None


def safe_text(text: str, *, max_chars: int | None = None) -> str:
    r"""A text in one line, as it may be stored: `\x1b` stands for an escape, `\ud800` for a half.

    Args:
        max_chars: a longer one is cut, and ends in `…`.
    """
    safe = _UNSAFE.sub(lambda match: " " if match[0] in _SPACES else _escape(match[0]), text)
    if max_chars is not None and len(safe) > max_chars:
        return safe[: max_chars - 1] + "…"
    return safe


def said(text: str) -> str:
    """A message as it may be shown and stored: as `safe_text` but in lines, and without secrets."""
    return _UNSAFE.sub(
        lambda match: match[0] if match[0] in "\t\n" else _escape(match[0]),
        without_secrets(text.replace("\r\n", "\n")),
    )


def storable(value: Any) -> Any:
    """A JSON value with every text in it made safe."""
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, dict):
        return {storable(name): storable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [storable(part) for part in value]
    return value


def percent_encoded(text: str) -> str:
    """A URL or path with its unsafe characters as `%xx`, which says the same bytes."""
    return _UNSAFE.sub(lambda match: quote(to_bytes(match[0]), safe=""), text)


def to_bytes(text: str) -> bytes:
    """UTF-8 of a text, with the bytes of a file name that were none, and halves as they are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _escape(character: str) -> str:
    code = ord(character)
    if code in _BYTES:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


# What names a video, a part or a rendition of it in the URLs of sites that people list. Everything
# else in a query may be a secret, whatever it is called, and is not shown.
_PUBLIC = frozenset(
    "ab_channel clip curid download dl end episode feature file filename format height id index "
    "lang list name oldid page part quality res resolution start t title v version vid video "
    "video_id videoid width".split()
)
_PUBLIC_IN_FRAGMENT = frozenset({"t"})
_PLAIN = re.compile(r"[\w .,:/()'!~*+-]{0,64}")
"""A value that may be shown; signed tokens and whole URLs are longer or hold other signs."""

# Who may have a file and for how long, never which one: what storages sign their URLs with.
_SIGNING = re.compile(
    "x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|key-pair-id|policy|expires|sig|signature"
)
_SECRET_NAME = (
    r"(?:[\w-]*[_-])?(?:token|secret|pass|passwd|password|pwd|pin|key|apikey|auth|sig|signature|"
    r"credential|session|jwt|hmac)"
)
_SECRET_PIECE = re.compile(rf"(?i)([?&]{_SECRET_NAME})=[^\s&;,\"'<>`]+")
_HIDDEN_HASH = re.compile("hidden=[0-9a-f]{16}")

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<authority>[^/?#]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(\[[^\]@]*\]|[^:@\[\]]*)(:\d*)?")
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s<>\"'`\\]+")
_PUNCTUATION = ".,;:!?)]"

MIN_SECRET_CHARS = 4
"""A shorter text is cut out of no message: it would be found in every other word."""
MIN_UNNAMED_CHARS = 8
"""The same for a part of a query whose name does not say that it is secret."""


@dataclass(frozen=True, slots=True)
class SplitUrl:
    """What may be shown of a URL, and what may not.

    Attributes:
        shown: without user info, and without all of query and fragment that may be secret.
        user, password: as they stand there.
        hidden: parts of query and fragment, `name=value`, that may say which file is meant.
        signing: parts that say who may have it, and for how long.
    """

    shown: str
    user: str = ""
    password: str = ""
    hidden: tuple[str, ...] = ()
    signing: tuple[str, ...] = ()


def split_url(url: str) -> SplitUrl:
    """Take a URL apart; a text that is none is shown as it is. Never raises."""
    match = _URL.fullmatch(url)
    if match is None:
        return SplitUrl(url)
    info, host, match = _user_info(url, match)
    user, _, password = info.partition(":")
    shown = match["scheme"] + host + match["path"]
    hidden: list[str] = []
    signing: list[str] = []
    for sign, text, public in (
        ("?", match["query"], _PUBLIC),
        ("#", match["fragment"], _PUBLIC_IN_FRAGMENT),
    ):
        kept = []
        for piece in (text or "").split("&"):
            name, _, value = piece.partition("=")
            name = unquote_plus(name).lower()
            if (name in public and _PLAIN.fullmatch(unquote_plus(value))) or (
                sign == "#" and _HIDDEN_HASH.fullmatch(piece)
            ):
                kept.append(piece)
            elif piece:
                (signing if _SIGNING.fullmatch(name) else hidden).append(piece)
        shown += sign + "&".join(kept) if kept else ""
    return SplitUrl(shown, user, password, tuple(hidden), tuple(signing))


def _user_info(url: str, match: re.Match[str]) -> tuple[str, str, re.Match[str]]:
    """User info, host, and the parts. A password may hold signs that should have been encoded: what
    is doubtful is taken for a part of it."""
    authority, rest = match["authority"], url[len(match["scheme"]) :]
    if "@" in authority:
        end = rest.rfind("@", 0, len(authority + match["path"]))
    else:
        end = -1 if _HOST.fullmatch(authority) else rest.rfind("@")
    if end < 0:
        return "", authority, match
    again = _URL.fullmatch(match["scheme"] + rest[end + 1 :])
    assert again is not None
    return rest[:end], again["authority"], again


def shown_url(url: str) -> str:
    """A URL as it may be stored and shown; a text that is none as it is."""
    return split_url(url).shown


def secrets_of(url: str) -> tuple[str, ...]:
    """The texts in a URL that a message about it must not hold, as a server may repeat them."""
    parts = split_url(url)
    user, password = unquote(parts.user), unquote(parts.password)
    found = {parts.user, parts.password, user, password}
    if user or password:
        found.add(base64.b64encode(to_bytes(f"{user}:{password}")).decode())
    for piece in (*parts.hidden, *parts.signing):
        name, equals, value = piece.partition("=")
        is_named = re.fullmatch(_SECRET_NAME, unquote_plus(name), re.IGNORECASE)
        least = MIN_SECRET_CHARS if is_named else MIN_UNNAMED_CHARS
        said_values = (value, unquote(value), unquote_plus(value)) if equals else (name,)
        found |= {value for value in said_values if len(value) >= least}
    return tuple(sorted(filter(None, found)))


def forms_of(secret: str) -> tuple[str, ...]:
    """A secret as it stands in plain text, in a URL, and in JSON."""
    return (
        secret,
        quote(to_bytes(secret), safe=""),
        json.dumps(secret)[1:-1],
        secret.replace("/", "\\/"),
    )


_cut: ContextVar[tuple[str, ...]] = ContextVar("_cut", default=())


@contextmanager
def hiding(*secrets: str) -> Iterator[None]:
    """Inside, messages lose these texts too, in every way that servers repeat them."""
    long = (secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS)
    forms = {form for secret in long for form in forms_of(secret)}
    before = _cut.get()
    # The longest first, as one secret may be a part of another.
    token = _cut.set(tuple(sorted({*before, *forms}, key=lambda form: (-len(form), form))))
    try:
        yield
    finally:
        _cut.reset(token)


def without_secrets(text: str) -> str:
    """A text with what `hiding` names cut out, and every URL in it as it may be shown."""
    for secret in _cut.get():
        text = text.replace(secret, MASK)
    text = _URL_IN_TEXT.sub(_shown_match, text)
    return _SECRET_PIECE.sub(rf"\1={MASK}", text)


def _shown_match(match: re.Match[str]) -> str:
    url = match[0].rstrip(_PUNCTUATION)
    return shown_url(url) + match[0][len(url) :]


def title_of(dataset: str) -> str:
    """What a dataset is called: the last part of its folder or URL."""
    name = safe_text(without_secrets(dataset)).rstrip("/").rsplit("/", 1)[-1]
    return name if name.strip(".") else safe_text(Path(dataset).resolve().name)
