"""The ways in which a file comes to harm."""

from collections.abc import Callable, Mapping


def flipped(content: bytes, place: int) -> bytes:
    """With one bit changed."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


SPOILT: Mapping[str, Callable[[bytes], bytes | None]] = {
    "flipped": lambda content: flipped(content, len(content) // 2),
    "flipped at the end": lambda content: flipped(content, len(content) - 2),
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "foreign": lambda content: b"<html>not found</html>",
    "wrong JSON": lambda content: b'[{"a": 1}]',
    "deep JSON": lambda content: b"[" * 100_000,
    "deleted": lambda content: None,
}
"""Kind -> what is left of a file's content; None where it is gone."""
