"""At which size a video is edited."""

from collections.abc import Sequence

from avipipe.errors import ConfigError

NEARLY_ALL = 0.95
"""Share of a picture, or of a size's tokens, that is as good as all of it."""


def check_sizes(sizes: Sequence[tuple[int, int]], cell_px: int, setting: str) -> None:
    """Refuse widths and heights that no whole number of cells fills.

    Args:
        setting: where they are set, beside `output.size`.
    Raises:
        ConfigError: there is one.
    """
    for width, height in sizes:
        if width % cell_px or height % cell_px:
            raise ConfigError(
                f"expected pictures with sides that {cell_px} divides, got {width}x{height}; "
                f"change output.size or {setting}"
            )


def choose_size(
    shape: tuple[float, float], sizes: Sequence[tuple[int, int]], cell_px: int
) -> tuple[int, int]:
    """Width and height to edit a picture at.

    The largest size that the model was trained at of those that cut off next to nothing; else one
    of the picture's shape with about as many tokens.

    Args:
        shape: width and height of the picture.
        sizes: widths and heights that the model was trained at.
        cell_px: sides of a token, of which sides of pictures are multiples.
    """
    trained = [
        (width * height // cell_px**2, kept, (width, height))
        for width, height in sizes
        if (kept := _kept(shape, (width, height))) >= NEARLY_ALL
    ]
    if trained:
        return max(trained)[2]
    most = max(width * height // cell_px**2 for width, height in sizes)
    shaped = []
    for rows in range(1, most + 1):
        columns = min(most // rows, max(1, round(rows * shape[0] / shape[1])))
        if rows * columns >= NEARLY_ALL * most:
            size = (columns * cell_px, rows * cell_px)
            shaped.append((_kept(shape, size), size))
    return max(shaped)[1]


def _kept(shape: tuple[float, float], size: tuple[int, int]) -> float:
    """Share of a picture that is left when it is cut to the shape of a size."""
    ratio = shape[0] * size[1] / (shape[1] * size[0])
    return min(ratio, 1 / ratio)
