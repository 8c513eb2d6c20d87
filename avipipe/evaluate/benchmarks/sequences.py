"""Sequences of images, as benchmarks keep videos and masks, in forms that are measured."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from avipipe.errors import FailKind, MediaError
from avipipe.evaluate.cases import AskedEdit
from avipipe.files import written_whole
from avipipe.manifests.rle import MAX_PIXELS, Mask, encode, write_masks
from avipipe.media.container import open_media
from avipipe.media.decode import num_ticks
from avipipe.media.normalize import FPS

SEQUENCE_FPS = Fraction(24)
"""Of images without times: DAVIS, of which FiVE-Bench takes most, was published at 24 a second."""

Levels = npt.NDArray[np.uint8]


def sequence_case(
    name: str,
    group: str,
    video: Path,
    masks: Path,
    is_inside: Callable[[Levels], Mask],
    files: Path,
) -> AskedEdit:
    """A case of a video with a mask for each of its pictures.

    Args:
        group: of all cases of the video.
        video: a file, or a folder of JPEGs.
        masks: a folder of images.
        is_inside: from an image of a mask, as `read_levels` reads it, to the mask, both (H, W).
        files: folder for what is written: `GROUP.mkv`, `NAME.masks.json`.
    """
    source, mask, problem, fps = video, masks, "", SEQUENCE_FPS
    try:
        if video.is_file():
            fps = _rate_of(video)
        elif pictures := images_of(video):
            source = _write_video(files / f"{group}.mkv", pictures)
        if images := images_of(masks):
            mask = _write_mask(files / f"{name}.masks.json", images, is_inside, fps)
    except MediaError as error:
        problem = str(error)
    return AskedEdit(name=name, source=source, mask=mask, group=group, problem=problem)


def images_of(folder: Path) -> list[Path]:
    """The images of a sequence in order; none where there is no such folder."""
    found = [*folder.glob("*.jpg"), *folder.glob("*.png")]
    return sorted(path for path in found if not path.name.startswith("."))


def read_levels(path: Path) -> Levels:
    """An image of a mask, (H, W) uint8: its indices where it has a palette, else its grey levels.

    Raises:
        MediaError: it is no image.
    """
    image = _read_image(path)
    return np.asarray(image if image.mode == "P" else image.convert("L"))


def _read_image(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MediaError(FailKind.TOO_LARGE, f"{path}: more than {MAX_PIXELS} pixels")
            image.load()
            return image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(FailKind.CORRUPT, f"{path}: expected an image: {error}") from error


def _write_video(path: Path, images: list[Path]) -> Path:
    """Put JPEGs into a video at `SEQUENCE_FPS` as they are: nothing is encoded anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = _read_image(images[0]).size
    with written_whole(path) as draft, av.open(str(draft), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=SEQUENCE_FPS)
        (stream.width, stream.height), stream.pix_fmt = size, "yuvj420p"
        for number, image in enumerate(images):
            found = _read_image(image)
            if (found.format, found.size) != ("JPEG", size):
                raise MediaError(FailKind.CORRUPT, f"{image}: expected a JPEG of size {size}")
            packet = av.Packet(image.read_bytes())
            packet.stream, packet.time_base = stream, 1 / SEQUENCE_FPS
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)
    return path


def _write_mask(
    path: Path, images: list[Path], is_inside: Callable[[Levels], Mask], fps: Fraction
) -> Path:
    """Write `masks.json`, which has 24 masks a second, of images at another rate."""
    counts: list[str] = []
    sizes: set[tuple[int, ...]] = set()
    for image in images:
        mask_HW = is_inside(read_levels(image))
        counts.append(encode(mask_HW))
        sizes.add(mask_HW.shape)
    if len(sizes) > 1:
        raise MediaError(FailKind.CORRUPT, f"{images[0].parent}: expected images of one size")
    height, width = sizes.pop()
    ticks = range(max(1, num_ticks(float(len(counts) / fps), FPS)))
    shown = (min(int((tick + Fraction(1, 2)) * fps / FPS), len(counts) - 1) for tick in ticks)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_masks(path, [counts[number] for number in shown], size=(height, width))
    return path


def _rate_of(video: Path) -> Fraction:
    with open_media(video) as container:
        rate = container.streams.video[0].average_rate if container.streams.video else None
    if not rate:
        raise MediaError(FailKind.CORRUPT, f"{video}: expected pictures at a rate, found none")
    return rate
